/*
 * retention.c
 *		Removes what is older than the settings say.
 *
 * Rows are deleted in small batches, a transaction each, and rows that somebody else has are left
 * for the next time.  Locks: those rows, and what audit_partition.c locks to drop a partition.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/audit.h"
#include "core/audit_partition.h"
#include "operations/retention.h"
#include "postmaster/interrupt.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static DbStatement set_horizon =
	DB_STATEMENT("UPDATE hotswap.installation SET audit_horizon = greatest(audit_horizon, $1)",
				 TIMESTAMPTZOID);

static DbStatement delete_events =
	DB_STATEMENT("DELETE FROM hotswap.audit_event_default WHERE ctid = ANY(ARRAY("
				 "SELECT ctid FROM hotswap.audit_event_default WHERE at < $1 LIMIT 1000))",
				 TIMESTAMPTZOID);

/* a key that is just being claimed anew is locked, and is not expired when that has committed */
static DbStatement delete_keys = DB_STATEMENT0(
	"DELETE FROM hotswap.idempotency_key WHERE expires_at <= pg_catalog.now() AND ctid = ANY(ARRAY("
	"SELECT ctid FROM hotswap.idempotency_key WHERE expires_at <= pg_catalog.now()"
	" LIMIT 1000 FOR UPDATE SKIP LOCKED))");

/* $1: time, $2: the smallest id of that time; the primary key leads to the oldest of each tenant */
static DbStatement old_deployments = DB_STATEMENT(
	"SELECT pg_catalog.array_agg(d.tenant_id), pg_catalog.array_agg(d.id), pg_catalog.count(*)"
	" FROM (SELECT d.tenant_id, d.id FROM hotswap.tenant t CROSS JOIN LATERAL ("
	"SELECT d.tenant_id, d.id FROM hotswap.deployment d"
	" WHERE d.tenant_id = t.id AND d.id < $2 AND d.finished_at < $1"
	" ORDER BY d.id LIMIT 200 FOR UPDATE SKIP LOCKED) d LIMIT 200) d",
	TIMESTAMPTZOID, UUIDOID);

/*
 * The rows of the deployments $1, $2 are found by their keys and deleted by their places: nobody
 * changes them while their deployments are locked.  OFFSET 0 keeps the planner to that, however
 * small the tables are when it plans.
 */
#define DOOMED_DEPLOYMENT                                                                       \
	" FROM unnest($1, $2) e (tenant_id, id)"                                                    \
	" CROSS JOIN LATERAL (SELECT d.ctid, d.module, d.idempotency_key FROM hotswap.deployment d" \
	" WHERE d.tenant_id = e.tenant_id AND d.id = e.id OFFSET 0) d"

#define DOOMED_TASK                                                     \
	" CROSS JOIN LATERAL (SELECT t.ctid, t.node_id FROM hotswap.task t" \
	" WHERE t.tenant_id = e.tenant_id AND t.deployment_id = e.id OFFSET 0) t"

/* What ran on the deployments' nodes before the oldest row that is young enough to stay. */
static DbStatement delete_swaps = DB_STATEMENT(
	"DELETE FROM hotswap.node_module WHERE ctid = ANY(ARRAY(SELECT m.ctid FROM"
	" (SELECT DISTINCT e.tenant_id, t.node_id, d.module" DOOMED_DEPLOYMENT DOOMED_TASK ") k"
	" CROSS JOIN LATERAL (SELECT y.swap FROM hotswap.node_module y WHERE y.tenant_id = k.tenant_id"
	" AND y.node_id = k.node_id AND y.module = k.module AND y.swapped_at >= $3"
	" ORDER BY y.swap LIMIT 1) young"
	" CROSS JOIN LATERAL (SELECT m.ctid FROM hotswap.node_module m WHERE m.tenant_id = k.tenant_id"
	" AND m.node_id = k.node_id AND m.module = k.module AND m.swap < young.swap OFFSET 0) m))",
	UUIDARRAYOID, UUIDARRAYOID, TIMESTAMPTZOID);

static DbStatement delete_tasks =
	DB_STATEMENT("DELETE FROM hotswap.task WHERE ctid = ANY(ARRAY(SELECT t.ctid"
				 " FROM unnest($1, $2) e (tenant_id, id)" DOOMED_TASK "))",
				 UUIDARRAYOID, UUIDARRAYOID);

#define DELETE_OF_DEPLOYMENT(table)                                                           \
	DB_STATEMENT("DELETE FROM hotswap." table " WHERE ctid = ANY(ARRAY(SELECT s.ctid"         \
				 " FROM unnest($1, $2) e (tenant_id, id)"                                     \
				 " CROSS JOIN LATERAL (SELECT s.ctid FROM hotswap." table " s"                \
				 " WHERE s.tenant_id = e.tenant_id AND s.deployment_id = e.id OFFSET 0) s))", \
				 UUIDARRAYOID, UUIDARRAYOID)

static DbStatement delete_stages = DELETE_OF_DEPLOYMENT("stage");
static DbStatement delete_failed_rollbacks = DELETE_OF_DEPLOYMENT("failed_rollback");
static DbStatement delete_votes = DELETE_OF_DEPLOYMENT("approval_vote");
static DbStatement delete_approvals = DELETE_OF_DEPLOYMENT("approval");
static DbStatement delete_notifications = DELETE_OF_DEPLOYMENT("notification");

/* a key may live longer than its deployment; it must not name one that is gone */
static DbStatement delete_keys_of = DB_STATEMENT(
	"DELETE FROM hotswap.idempotency_key WHERE ctid = ANY(ARRAY(SELECT k.ctid" DOOMED_DEPLOYMENT
	" CROSS JOIN LATERAL (SELECT k.ctid FROM hotswap.idempotency_key k"
	" WHERE k.tenant_id = e.tenant_id AND k.scope = 'deploy' AND k.key = d.idempotency_key"
	" AND k.deployment_id = e.id FOR UPDATE SKIP LOCKED) k))",
	UUIDARRAYOID, UUIDARRAYOID);

static DbStatement delete_deployments = DB_STATEMENT(
	"DELETE FROM hotswap.deployment WHERE ctid = ANY(ARRAY(SELECT d.ctid" DOOMED_DEPLOYMENT "))",
	UUIDARRAYOID, UUIDARRAYOID);

static TimestampTz
minutes_ago(int minutes)
{
	return GetCurrentTimestamp() - (int64) minutes * USECS_PER_MINUTE;
}

static bool
purge_deployments(void)
{
	TimestampTz cutoff = minutes_ago(hotswap_deployment_retention);
	pg_uuid_t floor;
	Datum find[] = { TimestampTzGetDatum(cutoff), UUIDPGetDatum(&floor) };
	Datum args[3]; /* tenants, deployments; for delete_swaps the time */
	bool isnull;

	uuid7_floor(cutoff, &floor);
	(void) db_run(&old_deployments, find, NULL);
	if (db_int64(0, 3) == 0)
		return false;
	args[0] = db_datum(0, 1, &isnull);
	args[1] = db_datum(0, 2, &isnull);
	args[2] = find[0];
	(void) db_run(&delete_swaps, args, NULL);
	(void) db_run(&delete_tasks, args, NULL);
	(void) db_run(&delete_stages, args, NULL);
	(void) db_run(&delete_failed_rollbacks, args, NULL);
	(void) db_run(&delete_votes, args, NULL);
	(void) db_run(&delete_approvals, args, NULL);
	(void) db_run(&delete_notifications, args, NULL);
	(void) db_run(&delete_keys_of, args, NULL);
	(void) db_run(&delete_deployments, args, NULL);
	return true;
}

static bool
purge_default_partition(TimestampTz cutoff)
{
	Datum args[] = { TimestampTzGetDatum(cutoff) };
	volatile uint64 count = 0;

	audit_retention_running = true;
	PG_TRY();
	{
		count = db_run(&delete_events, args, NULL);
	}
	PG_FINALLY();
	{
		audit_retention_running = false;
	}
	PG_END_TRY();
	if (count > 0)
		(void) db_run(&set_horizon, args, NULL);
	return count > 0;
}

static bool
drop_old_partition(TimestampTz cutoff)
{
	TimestampTz until;
	Datum args[1];

	if (!audit_partition_drop(cutoff, &until))
		return false;
	args[0] = TimestampTzGetDatum(until);
	(void) db_run(&set_horizon, args, NULL);
	return true;
}

/*
 * Removes one batch of what is too old: keys, deployments, audit events.  True when there may be
 * more.
 */
static bool
retention_step(void)
{
	TimestampTz audit_cutoff = minutes_ago(hotswap_audit_retention);
	DbScope scope;
	bool more;

	db_enter(&scope);
	more = db_run(&delete_keys, NULL, NULL) > 0 || purge_deployments() ||
		   purge_default_partition(audit_cutoff) || drop_old_partition(audit_cutoff);
	db_leave(&scope);
	return more;
}

/*
 * Keeps house: one transaction after the other, until nothing is left to do or the worker is to
 * leave.
 */
void
retention_run(const DispatchMode *mode)
{
	bool more = true;

	mode->begin();
	audit_partition_make();
	mode->commit();
	while (more && !ShutdownRequestPending)
	{
		mode->begin();
		more = retention_step();
		mode->commit();
	}
}
