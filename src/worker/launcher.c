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
#include "shm/shmem.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/process.h"

#define RESTART_DELAY_MS 1000 /* before the first restart of a failed dispatcher; doubles */
#define RESTART_DELAY_MAX_MS 60000
#define STEADY_MS 60000 /* one that stayed up this long starts from the beginning */

/* A database that shall have a dispatcher, as far as the launcher knows. */
typedef struct Supervised
{
	Oid database;
	BackgroundWorkerHandle *handle; /* of the one we started last, or NULL */
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
	Oid look[MAX_DATABASES];

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

static void
start_dispatcher(Supervised *entry, TimestampTz now)
{
	BackgroundWorker worker;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool started;

	bgworker_describe(&worker, "hotswap dispatcher", "hotswap_dispatcher_main");
	worker.bgw_main_arg = ObjectIdGetDatum(entry->database);
	worker.bgw_notify_pid = MyProcPid;
	started = RegisterDynamicBackgroundWorker(&worker, &entry->handle);
	MemoryContextSwitchTo(old);
	if (!started && !shortage_reported)
		ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("no worker slot is free for a hotswap dispatcher in database \"%s\"",
							 database_name(entry->database)),
					  errhint("Consider increasing max_worker_processes.")));
	else if (started && shortage_reported)
		ereport(LOG, (errmsg("worker slots are free again for hotswap dispatchers")));
	shortage_reported = !started;
	entry->launched = started;
	entry->started_at = now;
	if (started)
		entry->wanted = false;
	if (!started)
	{
		entry->handle = NULL;
		entry->next_start = TimestampTzPlusMilliseconds(now, RESTART_DELAY_MAX_MS / 10);
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
	if (!scan_databases(entry->database))
	{
		free_slot(entry->database);
		return false;
	}
	start_dispatcher(entry, now);
	return true;
}

/* Looks after all databases and returns how long to sleep, -1: until woken. */
static long
tend_all(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long sleep = -1;

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
