/*
 * make_way.c
 *		Makes way for commands that need a database without sessions.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME or SET TABLESPACE and CREATE DATABASE ... TEMPLATE fail
 * while a worker is connected.  Before one of them runs, the session puts a hold on the database
 * and sends the dispatcher and the executors away.  None starts there until the hold is released,
 * which happens at the end of the command whether it failed or not: the launcher starts none, and a
 * dispatcher that was asked for just before leaves as soon as it can be found.  A task that is
 * running is broken off; should the database live on, the task is repeated and the attempt does not
 * count.
 *
 * Only who owns the database can send the workers away.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/options.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "shm/executors.h"
#include "shm/shmem.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"
#include "worker/process.h"

#define EVICT_LIMIT_MS 5000 /* after that the command itself says who is in the way */
#define EVICT_STEP_MS 10

static ProcessUtility_hook_type previous_utility = NULL;

static Oid
option_template(List *options)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, "template") == 0 && option->arg)
			return get_database_oid(defGetString(option), true);
	}
	return InvalidOid;
}

/* The database that a command needs for itself, or InvalidOid. */
static Oid
database_needed(Node *statement)
{
	if (IsA(statement, DropdbStmt))
		return get_database_oid(((DropdbStmt *) statement)->dbname, true);
	if (IsA(statement, CreatedbStmt))
		return option_template(((CreatedbStmt *) statement)->options);
	if (IsA(statement, RenameStmt) && ((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
		return get_database_oid(((RenameStmt *) statement)->subname, true);
	if (IsA(statement, AlterDatabaseStmt) &&
		options_have(((AlterDatabaseStmt *) statement)->options, "tablespace"))
		return get_database_oid(((AlterDatabaseStmt *) statement)->dbname, true);
	return InvalidOid;
}

static void
put_hold(Oid database)
{
	bool done = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_HOLDS && !done; i++)
		if (!OidIsValid(shared->holds[i].database))
		{
			shared->holds[i].database = database;
			shared->holds[i].pid = MyProcPid;
			done = true;
		}
	LWLockRelease(shared->lock);
	if (!done)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many databases are being dropped or renamed at once")));
}

static void
release_hold(int code pg_attribute_unused(), Datum arg)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_HOLDS; i++)
		if (shared->holds[i].pid == MyProcPid && shared->holds[i].database == DatumGetObjectId(arg))
		{
			shared->holds[i].database = InvalidOid;
			shared->holds[i].pid = 0;
			break;
		}
	if (shared->launcher_pid != 0)
		shmem_wake_proc(shared->launcher_proc);
	LWLockRelease(shared->lock);
}

/* Does a command need the database for itself?  Then no worker may start there. */
bool
database_is_held(Oid database)
{
	bool held;

	LWLockAcquire(shared->lock, LW_SHARED);
	held = shmem_database_held(database);
	LWLockRelease(shared->lock);
	return held;
}

/* Signals the dispatcher and, once it has gone, the executors; true while any is left. */
static bool
send_away(Oid database)
{
	DatabaseSlot *slot = shmem_lock_database(database);
	bool left = false;

	if (slot)
	{
		left = slot->dispatcher_pid != 0;
		if (left)
		{
			slot->evicted = true;
			kill(slot->dispatcher_pid, SIGTERM);
		}
		LWLockRelease(slot->lock);
	}
	/* the dispatcher ends its executors and gives their attempts back, if it is there to do so */
	if (left)
		return true;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	foreach_executor (executor, database)
	{
		left = true;
		executor_stop(executor);
		if (executor->pid != 0)
			kill(executor->pid, SIGTERM);
	}
	LWLockRelease(shared->lock);
	return left;
}

static void
evict(Oid database)
{
	TimestampTz limit = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), EVICT_LIMIT_MS);

	while (send_away(database) && GetCurrentTimestamp() < limit)
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, EVICT_STEP_MS,
						 wait_event_new("HotswapEvict"));
		ResetLatch(MyLatch);
	}
}

static void
run_utility(PlannedStmt *pstmt, const char *query, bool read_only, ProcessUtilityContext context,
			ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
			QueryCompletion *qc)
{
	if (previous_utility)
		previous_utility(pstmt, query, read_only, context, params, environment, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only, context, params, environment, dest, qc);
}

static void
make_way_utility(PlannedStmt *pstmt, const char *query, bool read_only,
				 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
				 DestReceiver *dest, QueryCompletion *qc)
{
	Oid database = database_needed(pstmt->utilityStmt);

	if (!OidIsValid(database) || database == MyDatabaseId ||
		!database_ownercheck(database, GetUserId()))
	{
		run_utility(pstmt, query, read_only, context, params, environment, dest, qc);
		return;
	}
	put_hold(database);
	PG_ENSURE_ERROR_CLEANUP(release_hold, ObjectIdGetDatum(database));
	{
		evict(database);
		run_utility(pstmt, query, read_only, context, params, environment, dest, qc);
	}
	PG_END_ENSURE_ERROR_CLEANUP(release_hold, ObjectIdGetDatum(database));
	release_hold(0, ObjectIdGetDatum(database));
}

/* Called by _PG_init in the postmaster. */
void
make_way_init(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = make_way_utility;
}
