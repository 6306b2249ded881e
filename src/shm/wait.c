/*
 * wait.c
 *		The one way in which a session waits for a committed change: no polling, no NOTIFY.
 *
 * The session enters itself as a waiter for a key first and looks afterwards, so a change that
 * commits in between sets its latch.  It is woken for this key only.  Cancel, terminate and the
 * session's statement_timeout end the waiting as usual, and whatever ends it takes the session off
 * the list.  Locks nothing.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/time.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "shm/executors.h"
#include "shm/give_way.h"
#include "shm/shmem.h"
#include "shm/wait.h"
#include "shm/waiter.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define POLITE_WAIT USECS_PER_SEC

/*
 * When the time of the argument "timeout" is over: DT_NOEND where it is NULL.  Raises 22023 when it
 * is negative.
 */
TimestampTz
wait_deadline(FunctionCallInfo fcinfo, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	if (PG_ARGISNULL(n))
		return DT_NOEND;
	end = time_after(now, PG_GETARG_INTERVAL_P(n));
	if (end < now)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"timeout\" must not be negative")));
	return end;
}

bool
wait_deadline_passed(TimestampTz end)
{
	return end != DT_NOEND && end <= GetCurrentTimestamp();
}

/*
 * Raises 55000 where waiting could not end.  instead: the hint on a server without the preload.
 */
void
wait_require(const char *instead)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait in a transaction of this isolation level"),
						errdetail("Its snapshot would never show the end that is waited for."),
						errhint("Use READ COMMITTED.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait on a standby"), errdetail("Nothing wakes a session there."),
				 errhint("Wait on the primary.")));
	if (shared == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait without hotswap in shared_preload_libraries"),
						errhint("%s", instead)));
}

static void
stop_waiting(int code pg_attribute_unused(), Datum arg)
{
	waiter_remove((pg_uuid_t *) DatumGetPointer(arg));
}

/*
 * By the steady clock: whoever sets the server's makes no wait longer.  PG_INT64_MAX: without
 * limit.
 */
static int64
steady_deadline(TimestampTz end)
{
	return end == DT_NOEND ? PG_INT64_MAX : clock_steady() + (end - GetCurrentTimestamp());
}

/* Sleeps until the latch is set or the deadline has passed; false: it has. */
static bool
snooze(int64 end)
{
	int64 left = end == PG_INT64_MAX ? -1 : (end - clock_steady() + 999) / 1000;

	if (end <= clock_steady())
		return false;
	/* what catalog look-ups left behind must not hold back vacuum meanwhile */
	InvalidateCatalogSnapshot();
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (left >= 0 ? WL_TIMEOUT : 0),
					 Min(left, INT_MAX), wait_event_new("HotswapWait"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

/*
 * The same, in steps while there is a statement that others shall not keep waiting: whoever sleeps has been woken
 * when it began.  Raises 55P03 where it waits for this very process.
 */
static bool
snooze_considerately(int64 end)
{
	if (!executors_wait_for_snapshots(MyDatabaseId))
		return snooze(end);
	if (!snooze(Min(end, clock_steady() + POLITE_WAIT)))
		return false;
	if (give_way_is_due())
		give_way();
	return true;
}

/* Does the session keep a snapshot that a statement of a task waits for, maybe of the very one that it awaits? */
static bool
is_in_the_way(void *arg pg_attribute_unused())
{
	InvalidateCatalogSnapshot();
	return TransactionIdIsValid(MyProc->xmin) && executors_wait_for_snapshots(MyDatabaseId);
}

static bool
wait_for(const pg_uuid_t *key, WaitCheck check, void *arg, int64 deadline, WaitCheck yields,
		 bool (*sleep)(int64 end))
{
	volatile bool done = false;
	volatile int wakeups = 0;
	pg_uuid_t copy = *key;

	if (!waiter_add(&copy))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many sessions wait in this database"),
				 errdetail("At most %d may wait (hotswap.max_waiters).", hotswap_max_waiters),
				 errhint("Ask again later with timeout => '0', which does not wait.")));
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(&copy));
	{
		while (!(done = check(arg)) && !(yields && yields(NULL)) && sleep(deadline))
			wakeups++;
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(&copy));
	stop_waiting(0, PointerGetDatum(&copy));
	ereport(DEBUG1, (errmsg_internal("woken %d times while waiting", wakeups)));
	return done;
}

/*
 * Waits until check(arg) returns true, or until end (DT_NOEND: without limit): then false.  The
 * check is made at the start, whenever somebody wakes the waiters of this key, and once more at the
 * end.  The caller has made sure by wait_require() that it can come true.  Raises 55P03 where a
 * statement of a task waits for the session meanwhile.
 */
bool
wait_until(const pg_uuid_t *key, WaitCheck check, void *arg, TimestampTz end)
{
	return wait_for(key, check, arg, steady_deadline(end), NULL, snooze_considerately);
}

/* The same, and false as well where the session's snapshot is in the way of a statement of a task. */
bool
wait_politely(const pg_uuid_t *key, WaitCheck check, void *arg, TimestampTz end)
{
	int64 deadline = steady_deadline(end);

	if (!is_in_the_way(NULL))
		return wait_for(key, check, arg, deadline, is_in_the_way, snooze);
	/* it comes again, as often as that takes, but keeps its snapshot for a moment only */
	return wait_for(key, check, arg, Min(deadline, clock_steady() + POLITE_WAIT), NULL, snooze);
}

/*
 * Between wait_enter_call() and wait_leave_call(): ends the transaction with its snapshots; the next one takes none by
 * itself.
 */
void
wait_start_anew(void)
{
	SPI_commit();
	XactIsoLevel = XACT_READ_COMMITTED;
}

typedef struct Look
{
	WaitCheck check;
	void *arg;
} Look;

static bool
look_and_commit(void *arg)
{
	Look *look = arg;
	bool done = look->check(look->arg);

	wait_start_anew();
	return done;
}

/*
 * The same as wait_until(), between wait_enter_call() and wait_leave_call().  Each check is a
 * transaction of its own: an index build that meets its snapshot waits for the end of the
 * transaction, not of the snapshot (WaitForOlderSnapshots()).
 */
bool
wait_in_call(const pg_uuid_t *key, WaitCheck check, void *arg, TimestampTz end)
{
	Look look = { check, arg };

	return wait_for(key, look_and_commit, &look, steady_deadline(end), NULL, snooze);
}

/*
 * Puts on disk what has been committed so far, since the dispatcher commits asynchronously: what is
 * reported shall survive a crash.  The position may be behind the header of a page that has no
 * record yet; then there is nothing on that page to be flushed.
 */
void
wait_flush(void)
{
	XLogRecPtr end = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	XLogFlush(end);
}

/*
 * Gives up the snapshot that the statement has; the next transaction takes none.  Raises 2D000 inside a
 * transaction block, with the hint.
 */
void
wait_enter_call(FunctionCallInfo fcinfo, const char *hint)
{
	CallContext *call = fcinfo->context && IsA(fcinfo->context, CallContext) ?
							(CallContext *) fcinfo->context :
							NULL;

	if (call == NULL || call->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("%s() cannot be called inside a transaction block",
							   get_func_name(fcinfo->flinfo->fn_oid)),
						errhint("%s", hint)));
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	wait_start_anew();
}

/* The row that it returns. */
TupleDesc
wait_leave_call(FunctionCallInfo fcinfo)
{
	TupleDesc row;

	SPI_finish();
	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(row);
}
