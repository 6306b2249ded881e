/*
 * wait.c
 *		wait(): blocks until a deployment has ended.
 *
 * The session enters itself as a waiter first and looks at the row afterwards, so an end that
 * commits in between sets its latch.  It is woken for this deployment only.  Locks nothing.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "db.h"
#include "deployment.h"
#include "fmgr.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tenant.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/shmem.h"
#include "worker/waiter.h"

PG_FUNCTION_INFO_V1(hotswap_wait);

static DbStatement read_status =
	DB_STATEMENT("SELECT status, xmin FROM hotswap.deployment WHERE tenant_id = $1 AND id = $2",
				 UUIDOID, UUIDOID);

/* Reads the present status; *own: the row was written by this very transaction. */
static DeploymentStatus
look(const pg_uuid_t *tenant, const pg_uuid_t *id, bool *own)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(id) };
	DeploymentStatus status;
	DbScope scope;
	bool isnull;

	db_enter(&scope);
	if (db_run(&read_status, args, NULL) == 0)
		deployment_refuse_missing(id);
	status = machine_parse(&deployment_machine, db_text(0, 1));
	*own = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(db_datum(0, 2, &isnull)));
	db_leave(&scope);
	return status;
}

/* When the waiting ends: DT_NOEND without a timeout. */
static TimestampTz
deadline(FunctionCallInfo fcinfo)
{
	Interval *timeout;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	if (PG_ARGISNULL(1))
		return DT_NOEND;
	timeout = PG_GETARG_INTERVAL_P(1);
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now),
												  IntervalPGetDatum(timeout)));
	if (end < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("timeout must not be negative")));
	return end;
}

static void
refuse_to_wait(const pg_uuid_t *id, bool own)
{
	if (own)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "cannot wait for deployment %s, which this transaction has requested or changed",
				 deployment_id_text(id)),
			 errhint("It cannot move before the transaction has committed.")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait in a transaction of this isolation level"),
						errdetail("Its snapshot would never show the end of the deployment."),
						errhint("Use READ COMMITTED.")));
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait on a standby"),
						errdetail("Nothing tells it here when a deployment has ended."),
						errhint("Wait on the primary.")));
	if (shared == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait: hotswap is not in shared_preload_libraries"),
						errhint("Add it and restart the server, or call hotswap.work().")));
}

static void
stop_waiting(int code pg_attribute_unused(), Datum arg)
{
	waiter_remove((pg_uuid_t *) DatumGetPointer(arg));
}

/* Sleeps until the latch is set or the deadline has passed; false: it has. */
static bool
snooze(TimestampTz end)
{
	long left = end == DT_NOEND ? -1 : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);

	if (left == 0 && end <= GetCurrentTimestamp())
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (left >= 0 ? WL_TIMEOUT : 0),
					 Min(left, INT_MAX), wait_event_new("HotswapWait"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

static DeploymentStatus
block(const pg_uuid_t *tenant, pg_uuid_t *id, TimestampTz end)
{
	DeploymentStatus status;
	bool own;
	volatile int wakeups = 0;

	waiter_add(id);
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(id));
	{
		while (!deployment_is_final(status = look(tenant, id, &own)) && snooze(end))
			wakeups++;
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(id));
	stop_waiting(0, PointerGetDatum(id));
	ereport(DEBUG1, (errmsg_internal("hotswap.wait() was woken %d times", wakeups)));
	return status;
}

/*
 * Puts on disk what has been committed so far, since the dispatcher commits ends asynchronously: what is
 * reported shall survive a crash.  The position may be behind the header of a page that has no record
 * yet; then there is nothing on that page to be flushed.
 */
static void
flush(void)
{
	XLogRecPtr end = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	XLogFlush(end);
}

/*
 * wait(deployment uuid, timeout interval) returns the status
 */
Datum
hotswap_wait(PG_FUNCTION_ARGS)
{
	pg_uuid_t id = arg_uuid(fcinfo, 0, "deployment");
	TimestampTz end = deadline(fcinfo);
	pg_uuid_t tenant = tenant_current();
	DeploymentStatus status;
	bool own;

	status = look(&tenant, &id, &own);
	if (!deployment_is_final(status) && end > GetCurrentTimestamp())
	{
		refuse_to_wait(&id, own);
		status = block(&tenant, &id, end);
	}
	if (deployment_is_final(status) && !RecoveryInProgress())
		flush();
	return deployment_status_datum(fcinfo, status);
}
