/*
 * pin.c
 *		A transaction gets one state of the route, at its first call of an entry, for all modules.
 *
 * Which one:
 *
 *	- REPEATABLE READ and SERIALIZABLE: that of its snapshot, so that it has code and data of one
 *	  time, also when its first call comes after a change.
 *	- READ COMMITTED: the newest that is committed.
 *	- A parallel worker: that of its leader, who writes it into the setting hotswap.pin before a
 *	  query that may have workers.  Where nothing was handed over, since the library came later, that
 *	  of the snapshot that all of them have.
 *
 * With it comes who the callers are taken for: roles and share are decided once.
 *
 * The pin is the top transaction's.  A savepoint that is rolled back does not end it: what was
 * called before has been called.  A procedure that commits has another transaction, and another pin.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "base/guc.h"
#include "base/spread.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "route/epoch.h"
#include "route/pin.h"
#include "route/tester.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

Pin pin = { .transaction = InvalidLocalTransactionId };

static ExecutorStart_hook_type previous_start = NULL;

/* ---- who the callers are taken for ---- */

/* The place of a key among ROUTE_ALL; a caller stays where it is while the share grows. */
static int
bucket_of(const char *key)
{
	return spread_end(spread_bytes(SPREAD_START, key, strlen(key))) % ROUTE_ALL;
}

/* Who says nothing has a place of its session's. */
static int
bucket_of_session(void)
{
	static int bucket = -1;
	char session[64];

	if (bucket < 0)
	{
		snprintf(session, sizeof(session), "%d " INT64_FORMAT, MyProcPid, MyStartTimestamp);
		bucket = bucket_of(session);
	}
	return bucket;
}

static void
take_caller(Oid role, int bucket)
{
	pin.role = role;
	pin.bucket = bucket;
}

/* ---- the pin ---- */

static void
take(int64 epoch)
{
	pin.epoch = epoch;
	pin.used = false;
	pin.serial++;
	pin.transaction = my_transaction_number();
}

static void
take_handed_over(void)
{
	long long epoch;
	Oid role;
	int bucket;

	if (sscanf(hotswap_pin, "%lld %u %d", &epoch, &role, &bucket) != 3)
		elog(ERROR, "unexpected hand-over \"%s\"", hotswap_pin);
	take_caller(role, bucket);
	take(epoch);
}

static int64
own_epoch(void)
{
	if (IsolationUsesXactSnapshot())
		return epoch_of_snapshot(GetTransactionSnapshot());
	if (IsInParallelMode())
		return epoch_of_snapshot(GetActiveSnapshot());
	return epoch_newest();
}

/* Gives the transaction its pin, unless it has one. */
void
pin_ensure(void)
{
	if (pin_is_current())
		return;
	if (IsParallelWorker() && *hotswap_pin)
	{
		take_handed_over();
		return;
	}
	take_caller(GetOuterUserId(),
				*hotswap_route_key ? bucket_of(hotswap_route_key) : bucket_of_session());
	take(own_epoch());
}

/* Takes the newest state instead, if nothing was called by the present one and it may change. */
bool
pin_renew(void)
{
	if (pin.used || IsolationUsesXactSnapshot() || IsInParallelMode())
		return false;
	take(epoch_newest());
	return true;
}

/* ---- handing over ---- */

static void
hand_over(void)
{
	char *value;

	pin_ensure();
	/* workers may call by it what nobody else will */
	pin.used = true;
	value = psprintf(INT64_FORMAT " %u %d", pin.epoch, pin.role, pin.bucket);
	if (strcmp(value, hotswap_pin) != 0)
		(void) set_config_option("hotswap.pin", value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
								 true, 0, false);
	pfree(value);
}

/* The plan may be used by others, so it is copied. */
static void
do_without_workers(QueryDesc *query)
{
	PlannedStmt *copy = palloc(sizeof(PlannedStmt));

	*copy = *query->plannedstmt;
	copy->parallelModeNeeded = false;
	query->plannedstmt = copy;
}

/* Workers call entries with what their leader has, so it has it before they are there. */
static void
start_executor(QueryDesc *query, int eflags)
{
	if (query->plannedstmt->parallelModeNeeded && !(eflags & EXEC_FLAG_EXPLAIN_ONLY) &&
		!IsInParallelMode() && epoch_is_possible())
	{
		if (tester_asks())
			do_without_workers(query);
		else
			hand_over();
	}
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

/* Called by _PG_init. */
void
pin_init(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
}
