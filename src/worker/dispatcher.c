/*
 * dispatcher.c
 *		The background dispatcher: one a database, started by the launcher.
 *
 * It sleeps until a commit announces something (wakeup.c), an executor has ended, or a time has
 * come.  A sleep is measured by another clock than the times are, so it looks once a second whether
 * somebody has set the clock; if so, everything is loaded anew.  When it is idle it runs no query.
 * It commits asynchronously what can be done again after a crash, all but some starts of tasks (stage_tasks.c),
 * and wait() returns no end that is not on disk.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "commands/async.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "core/agent_task.h"
#include "core/installation.h"
#include "dispatch/batch.h"
#include "dispatch/due_set.h"
#include "dispatch/placement.h"
#include "dispatch/pool.h"
#include "dispatch/reading.h"
#include "lock/lease.h"
#include "operations/measure.h"
#include "operations/retention.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "shm/shmem.h"
#include "shm/trouble.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "worker/process.h"

#define FAILED_PAUSE_MS 1000  /* after an error of a whole batch */
#define DISMISS_LIMIT_MS 5000 /* how long to wait for executors at the end */
#define HOUSEKEEPING_MS (60 * 60 * 1000)
#define HOUSEKEEPING_RETRY_MS (60 * 1000) /* when something of it failed */
#define HOUSEKEEPING_PAUSE_MS 1000        /* between two steps of it, while there is work */
#define CLOCK_LOOK_MS 1000                /* the longest sleep without a look at the clock */
#define CLOCK_LEAP_USECS (500 * 1000)
#define OWN_LOCK_TIMEOUT "1s" /* of the dispatcher's own statements */
#define OWN_DEADLOCK_TIMEOUT \
	"100ms" /* short: of two that deadlock, say with DROP EXTENSION, it gives way */

static DatabaseSlot *slot;
static Dispatch *dispatch;
static Oid extension; /* as it was found last */
static TimestampTz next_housekeeping = DT_NOBEGIN;
static TimestampTz next_step = DT_NOBEGIN; /* of it, while there is work */
static bool keeping_house = false;
static TimestampTz next_lease = DT_NOEND;
static TimestampTz next_measure = DT_NOEND; /* of nodes; DT_NOEND: nobody wants it */

/*
 * SIGTERM: leave, and do not finish waiting for a lock first.  Only the first one breaks anything
 * off.
 */
static void
request_shutdown(SIGNAL_ARGS)
{
	int save_errno = errno;

	if (!ShutdownRequestPending)
		QueryCancelPending = InterruptPending = true;
	ShutdownRequestPending = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

/* SIGINT: so a lock_timeout ends the wait for the lock.  Nobody else's is heard. */
static void
end_lock_wait(SIGNAL_ARGS)
{
	if (get_timeout_indicator(LOCK_TIMEOUT, false))
		StatementCancelHandler(postgres_signal_arg);
}

static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	/* whatever the database's settings are */
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
}

static void
commit(void)
{
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

static const DispatchMode background_mode = { true, begin, commit };

/* ---- shared memory ---- */

static void
dispatcher_detach(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	if (slot == NULL)
		return;
	LWLockAcquire(slot->lock, LW_EXCLUSIVE);
	if (slot->dispatcher_pid == MyProcPid)
		slot->dispatcher_pid = 0;
	LWLockRelease(slot->lock);
	LWLockAcquire(shared->lock, LW_SHARED);
	if (shared->launcher_pid != 0)
		shmem_wake_proc(shared->launcher_proc);
	LWLockRelease(shared->lock);
}

/* Takes the database's slot; what was announced before is in the tables that are loaded next. */
static void
dispatcher_attach(Oid database)
{
	before_shmem_exit(dispatcher_detach, (Datum) 0);
	slot = shmem_claim_database(database);
	/* a launcher before the one that started us has started another one */
	if (slot == NULL)
		proc_exit(0);
	LWLockAcquire(slot->lock, LW_EXCLUSIVE);
	slot->started_at = GetCurrentTimestamp();
	slot->head = slot->tail = 0;
	slot->overflow = slot->check_extension = false;
	slot->reload = slot->leases = true;
	slot->next_lease = DT_NOEND;
	memset(slot->troubles, 0, sizeof(slot->troubles));
	LWLockRelease(slot->lock);
}

/*
 * Leaves if somebody needs the database for a command (make_way.c).  The hold may have come after
 * the launcher had started us and before our slot named us, when nobody could send us away; who
 * puts one now finds us there.
 */
static void
dispatcher_make_way(Oid database)
{
	if (!database_is_held(database))
		return;
	LWLockAcquire(slot->lock, LW_EXCLUSIVE);
	slot->evicted = true;
	LWLockRelease(slot->lock);
	proc_exit(0);
}

/* There is nothing to dispatch here: the launcher shall not start another one. */
static void
give_up_slot(void)
{
	LWLockAcquire(slot->lock, LW_EXCLUSIVE);
	slot->database = InvalidOid;
	LWLockRelease(slot->lock);
}

/* ---- the extension ---- */

/* Is the extension there, in the version that this library speaks? */
static bool
extension_fits(void)
{
	char *version;
	bool fits;

	begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	version = db_extension_version(true);
	fits = version && db_version_fits(version, LOG);
	extension = get_extension_oid("hotswap", true);
	PopActiveSnapshot();
	commit();
	return fits;
}

/* Sends the executors away and waits for them, within reason. */
static void
dismiss_executors(void)
{
	TimestampTz limit = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), DISMISS_LIMIT_MS);

	while (pool_dismiss() && GetCurrentTimestamp() < limit)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
						 wait_event_new("HotswapDismiss"));
		ResetLatch(MyLatch);
	}
}

static void
leave_for_good(void)
{
	dismiss_executors();
	give_up_slot();
	proc_exit(0);
}

/* ---- what was announced ---- */

typedef struct Announced
{
	bool reload;
	bool overflow;
	bool check_extension;
	bool notify;
	bool leases;
	int count;
	RingEntry entries[RING_BATCH];
} Announced;

static void
take_announced(Announced *a)
{
	LWLockAcquire(slot->lock, LW_EXCLUSIVE);
	a->reload = slot->reload;
	a->overflow = slot->overflow;
	a->check_extension = slot->check_extension;
	/* whatever made a reload necessary may have kept the wake-up from us */
	a->notify = slot->notify || a->reload || a->overflow;
	a->leases = slot->leases;
	slot->reload = slot->leases = slot->overflow = slot->check_extension = slot->notify = false;
	for (a->count = 0; a->count < RING_BATCH && slot->head != slot->tail; a->count++)
		a->entries[a->count] = slot->ring[slot->head++ % RING_SIZE];
	LWLockRelease(slot->lock);
}

/*
 * Tells those who listen that there is something in the outbox: one NOTIFY for whatever came
 * together.
 */
static void
notify_listeners(void)
{
	if (hotswap_notify_channel[0] == '\0')
		return;
	begin();
	Async_Notify(hotswap_notify_channel, "");
	commit();
}

/*
 * Leaves where there is no extension that fits.  Of what was known of one that has been dropped and created again,
 * nothing is there.
 */
static void
follow_extension(Announced *a)
{
	Oid before = extension;

	if (!extension_fits())
		leave_for_good();
	if (extension == before)
		return;
	dispatch_forget(dispatch);
	a->reload = true;
}

/* ---- leases ---- */

static void
set_next_lease(TimestampTz next)
{
	LWLockAcquire(slot->lock, LW_EXCLUSIVE);
	slot->next_lease = next_lease = next;
	LWLockRelease(slot->lock);
}

/* Ends the leases whose time is over, those of agents as well.  What commits while it looks makes it look again. */
static void
end_leases(void)
{
	TimestampTz next;

	set_next_lease(DT_NOEND);
	begin();
	next = Min(lease_expire(), agent_leases_over(dueset_touch_id));
	commit();
	set_next_lease(next);
}

/* ---- housekeeping ---- */

/* Does one step of it. */
static void
keep_house(DispatchState state)
{
	RetentionState kept = RETENTION_DONE;

	/* in a database that is being restored the partitions are about to come with the dump */
	if (state == DISPATCH_ALLOWED || state == DISPATCH_STOPPED)
	{
		if (!keeping_house)
			retention_begin();
		keeping_house = true;
		kept = retention_step(&background_mode);
	}
	next_step = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), HOUSEKEEPING_PAUSE_MS);
	if (kept == RETENTION_MORE)
		return;
	keeping_house = false;
	next_housekeeping = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													kept == RETENTION_DONE ? HOUSEKEEPING_MS :
																			 HOUSEKEEPING_RETRY_MS);
}

/* While there is work, housekeeping gets a step now and then. */
static bool
house_is_due(bool worked)
{
	TimestampTz now = GetCurrentTimestamp();

	return next_housekeeping != DT_NOBEGIN && next_housekeeping <= now &&
		   (!worked || next_step <= now);
}

static void
forgive(MemoryContext context, bool quiet)
{
	MemoryContextSwitchTo(context);
	if (!quiet)
		EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	QueryCancelPending = false;
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Measures the nodes whose environments want it; without any, not again before something has changed. */
static void
try_to_measure(MemoryContext context)
{
	next_measure = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), MEASURE_MS);
	PG_TRY();
	{
		begin();
		if (!measure_nodes())
			next_measure = DT_NOEND;
		commit();
	}
	PG_CATCH();
	{
		forgive(context, false);
	}
	PG_END_TRY();
}

static void
try_to_keep_house(DispatchState state, MemoryContext context)
{
	PG_TRY();
	{
		keep_house(state);
	}
	PG_CATCH();
	{
		forgive(context, false);
	}
	PG_END_TRY();
}

/* ---- the loop ---- */

/* Does everything that can be done now; false when there was nothing. */
static bool
one_round(Announced *a, DispatchState *state)
{
	bool worked = false;

	take_announced(a);
	if (a->check_extension)
		follow_extension(a);
	if (a->reload || a->overflow)
	{
		*state = dispatch_load(dispatch, a->reload);
		if (next_housekeeping == DT_NOBEGIN || next_housekeeping == DT_NOEND)
			next_housekeeping = GetCurrentTimestamp();
		if (next_measure == DT_NOEND && (*state == DISPATCH_ALLOWED || *state == DISPATCH_STOPPED))
			next_measure = GetCurrentTimestamp();
		worked = true;
	}
	if (a->count > 0)
	{
		dispatch_announced(dispatch, a->entries, a->count);
		worked = true;
	}
	if (a->notify)
	{
		notify_listeners();
		worked = true;
	}
	if (a->leases || next_lease <= GetCurrentTimestamp())
	{
		end_leases();
		worked = true;
	}
	placement_reap(dispatch, false);
	if (*state == DISPATCH_ALLOWED || *state == DISPATCH_STOPPED)
		worked = dispatch_step(dispatch) || worked;
	return worked;
}

/*
 * The work as a whole fails, and it is not known because of which deployment: everything is read again, after
 * a pause.
 */
static void
start_anew(const char *message)
{
	trouble_note(TROUBLE_DISPATCHER, NULL, message);
	LWLockAcquire(slot->lock, LW_EXCLUSIVE);
	slot->reload = slot->leases = true;
	LWLockRelease(slot->lock);
	(void) WaitLatch(MyLatch,
					 WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | (ShutdownRequestPending ? WL_LATCH_SET : 0),
					 FAILED_PAUSE_MS, wait_event_new("HotswapDispatcherPause"));
	SetLatch(MyLatch);
}

/* The same; an error is logged once. */
static bool
try_round(Announced *a, DispatchState *state, MemoryContext context)
{
	static char last[TROUBLE_BYTES] = "";
	volatile bool worked = true;

	PG_TRY();
	{
		worked = one_round(a, state);
		if (!worked && last[0] != '\0')
		{
			last[0] = '\0';
			trouble_over(TROUBLE_DISPATCHER, NULL);
		}
	}
	PG_CATCH();
	{
		ErrorData *error;
		bool known;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		known = strncmp(last, error->message, TROUBLE_BYTES - 1) == 0;
		strlcpy(last, error->message, TROUBLE_BYTES);
		forgive(context, known || ShutdownRequestPending);
		/* whatever it was, the extension may be another one now */
		LWLockAcquire(slot->lock, LW_EXCLUSIVE);
		slot->check_extension = true;
		LWLockRelease(slot->lock);
		if (ShutdownRequestPending || !dispatch_failed(dispatch, error))
			start_anew(error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	return worked;
}

/* Has somebody set the clock since the last look, or was the machine suspended? */
static bool
clock_was_set(void)
{
	static int64 offset = 0;
	int64 old = offset;

	offset = GetCurrentTimestamp() - clock_steady();
	return old != 0 && llabs((long long) (offset - old)) > CLOCK_LEAP_USECS;
}

/* Times that were counted from a clock that is no more are forgotten. */
static void
start_times_anew(void)
{
	next_housekeeping = GetCurrentTimestamp();
	next_measure = DT_NOEND;
	LWLockAcquire(slot->lock, LW_EXCLUSIVE);
	slot->reload = slot->leases = true;
	LWLockRelease(slot->lock);
}

/* When there is something to do without any event; DT_NOEND: never. */
static TimestampTz
next_time(void)
{
	TimestampTz next = Min(dispatch_next(dispatch), pool_shrink());

	next = Min(Min(next, next_lease), next_measure);
	if (next_housekeeping != DT_NOBEGIN)
		next = Min(next, next_housekeeping);
	return next;
}

static void
sleep_until_something_happens(void)
{
	TimestampTz next = next_time();
	long ms;

	pgstat_report_activity(STATE_IDLE, NULL);
	/* counters that were too young to be sent; idle has to show what was done */
	pgstat_report_stat(true);
	while ((ms = next == DT_NOEND ?
					 CLOCK_LOOK_MS :
					 TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next)) > 0)
	{
		if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					  Min(ms, CLOCK_LOOK_MS), wait_event_new("HotswapDispatcherMain")) &
			WL_LATCH_SET)
			break;
		if (clock_was_set())
		{
			start_times_anew();
			break;
		}
	}
}

/* Breaks off what the executors do and gives their attempts back. */
static void
shut_down(MemoryContext context)
{
	QueryCancelPending = false;
	dismiss_executors();
	PG_TRY();
	{
		placement_reap(dispatch, true);
		dispatch_give_back(dispatch);
	}
	PG_CATCH();
	{
		forgive(context, false);
	}
	PG_END_TRY();
}

void
hotswap_dispatcher_main(Datum arg)
{
	Announced *announced;
	DispatchState state = DISPATCH_NOTHING;
	MemoryContext context;
	bool worked;

	pqsignal(SIGTERM, request_shutdown);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, end_lock_wait);
	BackgroundWorkerUnblockSignals();
	dispatcher_attach(DatumGetObjectId(arg));
	dispatcher_make_way(DatumGetObjectId(arg));
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	pgstat_report_appname("hotswap dispatcher");
	SetConfigOption("lock_timeout", OWN_LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("deadlock_timeout", OWN_DEADLOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION);
	if (!extension_fits())
		leave_for_good();
	context = AllocSetContextCreate(TopMemoryContext, "hotswap dispatcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	announced = palloc(sizeof(Announced));
	dispatch = dispatch_begin(&background_mode);
	begin();
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	(void) dispatch_lock(true);
	SetConfigOption("lock_timeout", OWN_LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	commit();

	while (!ShutdownRequestPending)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		worked = try_round(announced, &state, context);
		if (next_measure <= GetCurrentTimestamp())
			try_to_measure(context);
		if (house_is_due(worked))
			try_to_keep_house(state, context);
		else if (!worked)
			sleep_until_something_happens();
	}
	shut_down(context);
}
