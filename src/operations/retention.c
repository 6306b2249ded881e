/*
 * retention.c
 *		Makes the months' partitions of the audit log and removes what is older than the settings
 * say.
 *
 * Locks: to make a partition, hotswap.audit_event against other changes of its shape and the
 * default partition, where nobody writes as a rule; to drop one, all of hotswap.audit_event, which
 * every transition writes to, so that the wait is short and is given up.  Rows are deleted in small
 * batches, a transaction each, and rows that somebody else has are left for the next time.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/audit.h"
#include "lib/stringinfo.h"
#include "operations/retention.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define LOCK_WAIT_MS 200 /* how long others may have to queue behind us */

/* The current month and the next one, in UTC, as far as they are missing and can be made. */
static DbStatement missing_partitions = DB_STATEMENT0(
	"SELECT pg_catalog.to_char(m.month, '\"audit_event_\"YYYYMM'),"
	" pg_catalog.to_char(m.month, 'YYYY-MM-DD 00:00:00+00'),"
	" pg_catalog.to_char(m.month + '1 month'::interval, 'YYYY-MM-DD 00:00:00+00')"
	" FROM (SELECT pg_catalog.date_trunc('month', pg_catalog.now() AT TIME ZONE 'UTC') + i * '1 month'::interval"
	" FROM pg_catalog.generate_series(0, 1) i) m (month)"
	" WHERE pg_catalog.to_regclass('hotswap.' || pg_catalog.to_char(m.month, '\"audit_event_\"YYYYMM')) IS NULL"
	" AND NOT EXISTS (SELECT 1 FROM hotswap.audit_event_default d WHERE d.at >= m.month AT TIME ZONE 'UTC'"
	" AND d.at < (m.month + '1 month'::interval) AT TIME ZONE 'UTC')");

/* The oldest month that ended before $1. */
static DbStatement old_partition = DB_STATEMENT(
	"SELECT p.relname::text, p.until FROM (SELECT c.relname,"
	" (pg_catalog.to_date(pg_catalog.right(c.relname, 6), 'YYYYMM')::timestamp + '1 month'::interval)"
	" AT TIME ZONE 'UTC' AS until"
	" FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
	" WHERE i.inhparent = 'hotswap.audit_event'::regclass AND c.relname ~ '^audit_event_[0-9]{6}$'"
	" AND c.relnamespace = 'hotswap'::regnamespace) p"
	" WHERE p.until <= $1 ORDER BY p.until LIMIT 1",
	TIMESTAMPTZOID);

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
 * The rows of the deployments $1, $2 are found by their keys and deleted by their places: nobody changes
 * them while their deployments are locked.  OFFSET 0 keeps the planner to that, however small the tables
 * are when it plans.
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

static void
utility(const char *sql)
{
	int rc = SPI_execute(sql, false, 0);

	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(rc));
}

/* ATTACH takes a weaker lock than CREATE TABLE ... PARTITION OF. */
static void
make_partition(const char *name, const char *from, const char *until)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(
		&sql,
		"CREATE TABLE hotswap.%s (LIKE hotswap.audit_event_default INCLUDING DEFAULTS INCLUDING INDEXES);"
		"CREATE TRIGGER audit_guard_truncate BEFORE TRUNCATE ON hotswap.%s"
		" FOR EACH STATEMENT EXECUTE FUNCTION hotswap.audit_guard();"
		"ALTER TABLE hotswap.audit_event ATTACH PARTITION hotswap.%s FOR VALUES FROM ('%s') TO ('%s');",
		name, name, name, from, until);
	utility(sql.data);
}

/*
 * Makes the partitions of this month and the next.  A month of which the default partition has
 * events already stays there.
 */
void
retention_partitions(void)
{
	DbScope scope;
	uint64 count;
	char *names[2][3];

	db_enter(&scope);
	count = db_run(&missing_partitions, NULL, NULL);
	for (uint64 i = 0; i < count; i++)
		for (int column = 1; column <= 3; column++)
			names[i][column - 1] = db_text(i, column);
	db_limit_lock_wait(LOCK_WAIT_MS);
	for (uint64 i = 0; i < count; i++)
		make_partition(names[i][0], names[i][1], names[i][2]);
	db_leave(&scope);
}

static bool
purge_deployments(void)
{
	TimestampTz cutoff = minutes_ago(hotswap_deployment_retention);
	pg_uuid_t floor;
	Datum find[2];
	Datum args[3];
	bool isnull;

	uuid7_floor(cutoff, &floor);
	find[0] = TimestampTzGetDatum(cutoff);
	find[1] = UUIDPGetDatum(&floor);
	(void) db_run(&old_deployments, find, NULL);
	if (db_int64(0, 3) == 0)
		return false;
	args[0] = db_datum(0, 1, &isnull);
	args[1] = db_datum(0, 2, &isnull);
	args[2] = find[0];
	(void) db_run(&delete_swaps, args, NULL);
	(void) db_run(&delete_tasks, args, NULL);
	(void) db_run(&delete_stages, args, NULL);
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
	Datum args[] = { TimestampTzGetDatum(cutoff) };
	Datum until[1];
	char *name;

	if (db_run(&old_partition, args, NULL) == 0)
		return false;
	name = db_text(0, 1);
	until[0] = TimestampTzGetDatum(db_time(0, 2, 0));
	db_limit_lock_wait(LOCK_WAIT_MS);
	utility(psprintf("DROP TABLE hotswap.%s", name));
	(void) db_run(&set_horizon, until, NULL);
	return true;
}

/*
 * Removes one batch of what is too old: keys, deployments, audit events.  True when there may be
 * more.
 */
bool
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
