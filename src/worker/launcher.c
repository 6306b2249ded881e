/*
 * launcher.c
 *		The launcher: keeps a dispatcher running in every database that has the extension.
 *
 * It sees only the shared catalogs, so it cannot know which databases those are: at its start it
 * starts a dispatcher in every database, and those that find no extension leave again, giving back
 * their slot in shared memory.  Later it is told where an extension was made (wakeup.c).  It reads
 * no table of hotswap's, so no row can end it.
 *
 * A dispatcher that leaves with its slot kept has failed or was sent away: it is started again,
 * with a delay that grows while it does not stay up.  While somebody holds the database
 * (make_way.c) none is started there.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/backoff.h"
#include "base/bgworker.h"
#include "base/compat.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "common/pg_prng.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "shm/executors.h"
#include "shm/shmem.h"
#include "shm/worker_line.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/process.h"

#define RESTART_DELAY_MS 1000 /* before the first restart of a failed dispatcher; doubles */
#define RESTART_DELAY_MAX_MS 60000
#define SHORT_RETRY_MS 100 /* after no worker slot was free, for a while */
#define SHORT_RETRY_MAX_MS 2000
#define STEADY_MS 60000 /* one that stayed up this long starts from the beginning */

/* A database that shall have a dispatcher, as far as the launcher knows. */
typedef struct Supervised
{
	Oid database;
	BackgroundWorkerHandle *handle; /* of the one we started last, or NULL */
	bool short_of_worker;           /* there was no slot for one */
	bool launched;                  /* one has been started, by us or by the launcher before us */
	bool wanted;                    /* somebody asked for one since the last was started */
	int failures;                   /* in a row */
	TimestampTz started_at;
	TimestampTz next_start;
} Supervised;

static Supervised *supervised; /* in TopMemoryContext */
static int nsupervised = 0;
static int space = 0;
static bool shortage_reported = false;
static bool no_slot = false; /* one was refused in this round: the others need not ask */

/* Called by _PG_init in the postmaster. */
void
launcher_register(void)
{
	BackgroundWorker worker;

	bgworker_describe(&worker, "hotswap launcher", "hotswap_launcher_main");
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}

static void
launcher_leave(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->launcher_pid == MyProcPid)
		shared->launcher_pid = 0;
	LWLockRelease(shared->lock);
}

static Supervised *
supervise(Oid database)
{
	Supervised *entry;

	for (int i = 0; i < nsupervised; i++)
		if (supervised[i].database == database)
			return &supervised[i];
	if (nsupervised == space)
	{
		space = Max(16, 2 * space);
		supervised = supervised ? repalloc(supervised, space * sizeof(Supervised)) :
								  MemoryContextAlloc(TopMemoryContext, space * sizeof(Supervised));
	}
	entry = &supervised[nsupervised++];
	memset(entry, 0, sizeof(*entry));
	entry->database = database;
	entry->wanted = true;
	return entry;
}

/*
 * Reads pg_database: adds every database one can work in, or tells whether a certain one is there.
 */
static bool
scan_databases(Oid wanted)
{
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* a connection limit of -2 marks a database whose DROP was interrupted */
		if (!form->datallowconn || form->datistemplate || form->datconnlimit == -2)
			continue;
		if (OidIsValid(wanted))
			found = found || form->oid == wanted;
		else
			(void) supervise(form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return found;
}

/* Takes the requests out of shared memory. */
static void
take_requests(void)
{
	bool everywhere;
	int nlook;
	Oid look[MAX_LOOKS];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	everywhere = shared->look_everywhere;
	nlook = shared->nlook;
	memcpy(look, shared->look, sizeof(look));
	shared->look_everywhere = false;
	shared->nlook = 0;
	LWLockRelease(shared->lock);

	if (everywhere)
		(void) scan_databases(InvalidOid);
	for (int i = 0; i < nlook; i++)
		supervise(look[i])->wanted = true;
}

/* Is there a dispatcher in the database, and does the database have a slot? */
static bool
dispatcher_runs(Oid database, bool *has_slot)
{
	DatabaseSlot *slot = shmem_lock_database(database);
	bool runs = slot && slot->dispatcher_pid != 0;

	*has_slot = slot != NULL;
	if (slot)
		LWLockRelease(slot->lock);
	return runs;
}

static void
free_slot(Oid database)
{
	DatabaseSlot *slot = shmem_lock_database(database);

	if (slot == NULL)
		return;
	if (slot->dispatcher_pid == 0)
		slot->database = InvalidOid;
	LWLockRelease(slot->lock);
}

/* Was the last dispatcher of the database sent away? */
static bool
take_evicted(Oid database)
{
	DatabaseSlot *slot = shmem_lock_database(database);
	bool evicted = slot && slot->evicted;

	if (slot == NULL)
		return false;
	slot->evicted = false;
	LWLockRelease(slot->lock);
	return evicted;
}

static bool
register_worker(BackgroundWorker *worker, BackgroundWorkerHandle **handle)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool done;

	worker->bgw_notify_pid = MyProcPid;
	*handle = NULL;
	done = RegisterDynamicBackgroundWorker(worker, handle);
	MemoryContextSwitchTo(old);
	return done;
}

/*
 * Where there is no executor that could give way to another one, a dispatcher must not have the last
 * worker slot: the tasks of nobody would be run.  So a slot is held for an executor meanwhile.
 */
static bool
register_dispatcher(Supervised *entry, bool hold_one)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *held = NULL;
	bool started;

	bgworker_describe(&worker, "hotswap executor", "hotswap_executor_main");
	worker.bgw_main_arg = Int32GetDatum(EXECUTOR_NO_SLOT);
	if (hold_one && !register_worker(&worker, &held))
		return false;
	bgworker_describe(&worker, "hotswap dispatcher", "hotswap_dispatcher_main");
	worker.bgw_main_arg = ObjectIdGetDatum(entry->database);
	started = register_worker(&worker, &entry->handle);
	if (held)
	{
		TerminateBackgroundWorker(held);
		pfree(held);
	}
	return started;
}

/* Asks an executor to leave for a dispatcher, but not the last one. */
static void
stand_in_line(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	worker_line_enter(LINE_LAUNCHER);
	if (executors_living(InvalidOid) > 1)
		executors_make_room(InvalidOid, InvalidOid, true);
	LWLockRelease(shared->lock);
}

/* There is no slot: tries again soon, as long as an executor may be about to leave, and less often then. */
static void
do_without(Supervised *entry, TimestampTz now)
{
	long waits = worker_line_waits(LINE_LAUNCHER);

	entry->short_of_worker = true;
	entry->next_start =
		TimestampTzPlusMilliseconds(now, waits < SHORT_RETRY_MAX_MS ? SHORT_RETRY_MS :
																	  SHORT_RETRY_MAX_MS);
}

static void
start_dispatcher(Supervised *entry, TimestampTz now)
{
	bool turn;
	bool hold_one;
	bool started;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	turn = worker_line_turn(LINE_LAUNCHER);
	hold_one = executors_living(InvalidOid) == 0;
	LWLockRelease(shared->lock);
	started = turn && register_dispatcher(entry, hold_one);
	entry->launched = started;
	entry->short_of_worker = false;
	entry->started_at = now;
	if (started)
		entry->wanted = false;
	else
	{
		no_slot = true;
		do_without(entry, now);
		stand_in_line();
	}
}

/* Notes that the dispatcher has ended and says when the next one may start. */
static void
note_end(Supervised *entry, TimestampTz now)
{
	int64 delay;

	if (entry->handle)
		pfree(entry->handle);
	entry->handle = NULL;
	entry->launched = false;
	if (take_evicted(entry->database) ||
		TimestampDifferenceExceeds(entry->started_at, now, STEADY_MS))
		entry->failures = 0;
	entry->failures++;
	delay = backoff_delay(entry->failures, RESTART_DELAY_MS, RESTART_DELAY_MAX_MS,
						  pg_prng_double(&pg_global_prng_state));
	/* one that was steady is back at once: the first failure may be an administrator's wish */
	entry->next_start = entry->failures == 1 ? now : TimestampTzPlusMilliseconds(now, delay);
}

/*
 * Has the next start to wait?  One that is further away than any delay was counted before the clock
 * was set back.
 */
static bool
start_waits(const Supervised *entry, TimestampTz now)
{
	return now < entry->next_start &&
		   entry->next_start <= TimestampTzPlusMilliseconds(now, RESTART_DELAY_MAX_MS);
}

/* Looks after one database; false when there is nothing to look after any more. */
static bool
tend(Supervised *entry, TimestampTz now)
{
	bool has_slot;
	pid_t pid;

	if (dispatcher_runs(entry->database, &has_slot))
	{
		entry->launched = true;
		entry->short_of_worker = false;
		return true;
	}
	if (entry->handle)
	{
		BgwHandleStatus status = GetBackgroundWorkerPid(entry->handle, &pid);

		if (status == BGWH_NOT_YET_STARTED || status == BGWH_STARTED)
			return true;
	}
	if (entry->launched)
	{
		/* look again: it may have given up its slot between the two looks */
		(void) dispatcher_runs(entry->database, &has_slot);
		note_end(entry, now);
		if (!has_slot && !entry->wanted)
			return false;
	}
	if (database_is_held(entry->database) || start_waits(entry, now))
		return true;
	if (no_slot)
	{
		do_without(entry, now);
		return true;
	}
	if (!scan_databases(entry->database))
	{
		free_slot(entry->database);
		return false;
	}
	start_dispatcher(entry, now);
	return true;
}

/* The first database that lacks a dispatcher for want of a worker slot, or NULL. */
static const Supervised *
find_lacking(void)
{
	for (int i = 0; i < nsupervised; i++)
		if (supervised[i].short_of_worker)
			return &supervised[i];
	return NULL;
}

static void
leave_line(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	worker_line_leave(LINE_LAUNCHER);
	LWLockRelease(shared->lock);
}

/* The name of a database; its OID where it has been dropped meanwhile. */
static char *
database_name(Oid database)
{
	MemoryContext context = CurrentMemoryContext;
	char *name;

	StartTransactionCommand();
	name = get_database_name(database);
	name = name ? MemoryContextStrdup(context, name) : NULL;
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return name ? name : psprintf("%u", database);
}

/* The log has it once that worker slots are lacking, when that lasts, and once that they are not any more. */
static void
report_shortage(void)
{
	const Supervised *lacking = find_lacking();

	if (lacking == NULL)
	{
		leave_line();
		if (shortage_reported)
			ereport(LOG, (errmsg("worker slots are free again for hotswap dispatchers")));
		shortage_reported = false;
	}
	else if (!shortage_reported && worker_line_waits(LINE_LAUNCHER) >= WORKER_LINE_LONG_MS)
	{
		ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("no worker slot is free for a hotswap dispatcher in database \"%s\"",
							 database_name(lacking->database)),
					  errhint("Consider increasing max_worker_processes.")));
		shortage_reported = true;
	}
}

/* Looks after all databases and returns how long to sleep, -1: until woken. */
static long
tend_all(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long sleep = -1;

	no_slot = false;
	for (int i = 0; i < nsupervised;)
	{
		Supervised *entry = &supervised[i];

		if (!tend(entry, now))
		{
			if (entry->handle)
				pfree(entry->handle);
			*entry = supervised[--nsupervised];
			continue;
		}
		if (!entry->launched && start_waits(entry, now))
		{
			long left = TimestampDifferenceMilliseconds(now, entry->next_start) + 1;

			sleep = sleep < 0 ? left : Min(sleep, left);
		}
		i++;
	}
	report_shortage();
	return sleep;
}

static void
launcher_attach(void)
{
	before_shmem_exit(launcher_leave, (Datum) 0);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher_pid = MyProcPid;
	shared->launcher_proc = my_proc_number();
	shared->look_everywhere = true;
	LWLockRelease(shared->lock);
}

void
hotswap_launcher_main(Datum arg pg_attribute_unused())
{
	/*
	 * die: whatever it is doing may be broken off; the postmaster restarts it unless it shuts down
	 */
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	launcher_attach();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("hotswap launcher");

	for (;;)
	{
		long sleep;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		take_requests();
		sleep = tend_all();
		pgstat_report_activity(STATE_IDLE, NULL);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (sleep >= 0 ? WL_TIMEOUT : 0), sleep,
						 wait_event_new("HotswapLauncherMain"));
	}
}
