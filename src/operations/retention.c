/*
 * retention.c
 *		Removes what is older than the settings say.
 *
 * Done in small steps, a transaction each, between which the dispatcher does what is due: a step is bounded
 * in rows, and in time by having so many rows that it takes STEP_MS or so.  One that fails does not end
 * the others; health() tells of it until it has been done.  Rows that somebody else has are left for the
 * next time.  Locks: those rows, and what audit_partition.c locks to make or drop a partition.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/audit.h"
#include "core/audit_partition.h"
#include "core/metric_slot.h"
#include "core/release.h"
#include "operations/retention.h"
#include "run/surplus.h"
#include "shm/trouble.h"
#include "storage/itemptr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* While there is work the dispatcher takes a step a second, and does nothing else meanwhile. */
#define STEP_MS 25
#define TRUNCATE_WAIT_MS 200 /* how long others may have to queue behind us */

static DbStatement set_horizon =
	DB_STATEMENT("UPDATE hotswap.installation SET audit_horizon = greatest(audit_horizon, $1)",
				 TIMESTAMPTZOID);

static DbStatement delete_events =
	DB_STATEMENT("DELETE FROM hotswap.audit_event_default WHERE ctid = ANY(ARRAY("
				 "SELECT ctid FROM hotswap.audit_event_default WHERE at < $1 LIMIT $2))",
				 TIMESTAMPTZOID, INT8OID);

/*
 * The keys of some pages: a table that has been emptied is walked through once, not once a batch.  No index
 * shall be used for it, hence IS TRUE.  A key that is just being claimed anew is locked, and is not expired
 * when that has committed.
 */
static DbStatement delete_keys = DB_STATEMENT(
	"DELETE FROM hotswap.idempotency_key WHERE expires_at <= pg_catalog.now() AND ctid = ANY(ARRAY("
	"SELECT ctid FROM hotswap.idempotency_key WHERE (expires_at <= pg_catalog.now()) IS TRUE"
	" AND ctid >= $1 AND ctid < $2 FOR UPDATE SKIP LOCKED))",
	TIDOID, TIDOID);

static DbStatement size_of_keys =
	DB_STATEMENT0("SELECT pg_catalog.pg_relation_size('hotswap.idempotency_key')");

/*
 * $1: time, $2: the smallest id of that time, $3: how many, $4 and $5: the tenant and the id after which they are;
 * the primary key leads to the oldest of each tenant.  What was removed just now stays in the index as long as
 * somebody has a snapshot from before, and is not walked through again.
 */
static DbStatement old_deployments = DB_STATEMENT(
	"SELECT pg_catalog.array_agg(d.tenant_id), pg_catalog.array_agg(d.id), pg_catalog.count(*),"
	" (pg_catalog.array_agg(d.tenant_id))[pg_catalog.count(*)],"
	" (pg_catalog.array_agg(d.id))[pg_catalog.count(*)]"
	" FROM (SELECT d.tenant_id, d.id FROM (SELECT id FROM hotswap.tenant WHERE id >= $4 ORDER BY id) t"
	" CROSS JOIN LATERAL (SELECT d.tenant_id, d.id FROM hotswap.deployment d"
	" WHERE d.tenant_id = t.id AND d.id > CASE WHEN t.id = $4 THEN $5"
	" ELSE '00000000-0000-0000-0000-000000000000'::uuid END AND d.id < $2 AND d.finished_at < $1"
	" ORDER BY d.id LIMIT $3 FOR UPDATE SKIP LOCKED) d LIMIT $3) d",
	TIMESTAMPTZOID, UUIDOID, INT8OID, UUIDOID, UUIDOID);

/*
 * The rows of the deployments $1, $2 are found by their keys and deleted by their places: nobody
 * changes them while their deployments are locked.  OFFSET 0 keeps the planner to that, however
 * small the tables are when it plans.
 */
#define DOOMED_DEPLOYMENT                                                              \
	" FROM unnest($1, $2) e (tenant_id, id)"                                           \
	" CROSS JOIN LATERAL (SELECT d.ctid, d.tenant_id, d.module, d.version, d.release," \
	" d.idempotency_key FROM hotswap.deployment d"                                     \
	" WHERE d.tenant_id = e.tenant_id AND d.id = e.id OFFSET 0) d"

#define DOOMED_TARGETS TARGETS_OF("d")

#define DOOMED_TASK                                                     \
	" CROSS JOIN LATERAL (SELECT t.ctid, t.node_id FROM hotswap.task t" \
	" WHERE t.tenant_id = e.tenant_id AND t.deployment_id = e.id OFFSET 0) t"

/*
 * What ran on the deployments' nodes before, but for the last of it: that is what the oldest swap which stays came
 * upon, and where taking it back leads to, or what the node runs.  A row is of old as long as none before it is of
 * a deployment that stays, however long that took.
 */
static DbStatement delete_swaps = DB_STATEMENT(
	"DELETE FROM hotswap.node_module WHERE ctid = ANY(ARRAY(SELECT m.ctid FROM"
	" (SELECT DISTINCT e.tenant_id, t.node_id, x.module" DOOMED_DEPLOYMENT DOOMED_TASK
	" CROSS JOIN LATERAL " DOOMED_TARGETS " x) k"
	" LEFT JOIN LATERAL (SELECT y.swap FROM hotswap.node_module y WHERE y.tenant_id = k.tenant_id"
	" AND y.node_id = k.node_id AND y.module = k.module AND (y.swapped_at >= $3"
	" OR EXISTS (SELECT FROM hotswap.deployment o WHERE o.tenant_id = k.tenant_id"
	" AND o.id = y.deployment_id AND o.id <> ALL ($2))) ORDER BY y.swap LIMIT 1) young ON true"
	" CROSS JOIN LATERAL (SELECT y.swap FROM hotswap.node_module y WHERE y.tenant_id = k.tenant_id"
	" AND y.node_id = k.node_id AND y.module = k.module"
	" AND (young.swap IS NULL OR y.swap < young.swap) ORDER BY y.swap DESC LIMIT 1) last"
	" CROSS JOIN LATERAL (SELECT m.ctid FROM hotswap.node_module m WHERE m.tenant_id = k.tenant_id"
	" AND m.node_id = k.node_id AND m.module = k.module AND m.swap < last.swap OFFSET 0) m))",
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
static DbStatement delete_statements = DELETE_OF_DEPLOYMENT("statement");
static DbStatement delete_rollouts = DELETE_OF_DEPLOYMENT("rollout");
static DbStatement delete_rollout_gates = DELETE_OF_DEPLOYMENT("rollout_gate");
static DbStatement delete_analyses = DELETE_OF_DEPLOYMENT("analysis");
static DbStatement delete_pauses = DELETE_OF_DEPLOYMENT("pause");
static DbStatement delete_rehearsals = DELETE_OF_DEPLOYMENT("rehearsal");
static DbStatement delete_failed_rollbacks = DELETE_OF_DEPLOYMENT("failed_rollback");
static DbStatement delete_overrides = DELETE_OF_DEPLOYMENT("freeze_override");
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

static DbStatement size_of_slot =
	DB_STATEMENT("SELECT pg_catalog.pg_relation_size($1::regclass)", TEXTOID);

/* Those that are over or were removed, and held up nothing that is still there. */
static DbStatement delete_windows = DB_STATEMENT(
	"DELETE FROM hotswap.environment_window WHERE ctid = ANY(ARRAY(SELECT w.ctid"
	" FROM hotswap.environment_window w WHERE least(w.removed_at, upper(w.during)) < $1 LIMIT $2))",
	TIMESTAMPTZOID, INT8OID);

static DbStatement delete_pins = DB_STATEMENT(
	"DELETE FROM hotswap.node_pin WHERE ctid = ANY(ARRAY(SELECT p.ctid FROM hotswap.node_pin p"
	" WHERE p.until < $1 LIMIT $2))",
	TIMESTAMPTZOID, INT8OID);

/*
 * Rows of the route behind which there is a newer one that is older than $1: whoever has a state of the route
 * from before that began earlier, so as long as there is a transaction that has, all stay.  A snapshot sees
 * what is removed.  On a standby nobody asks who is there: a transaction of READ COMMITTED that comes to
 * the module late is told to repeat.  What is installed keeps the rows that say since when.
 */
static DbStatement delete_routes = DB_STATEMENT(
	"DELETE FROM hotswap.route WHERE ctid = ANY(ARRAY(SELECT r.ctid FROM hotswap.route r"
	" WHERE r.created_at < $1 AND EXISTS (SELECT FROM hotswap.route n"
	" WHERE n.tenant_id = r.tenant_id AND n.node_id = r.node_id AND n.module = r.module"
	" AND n.epoch > r.epoch AND n.created_at < $1)"
	" AND NOT EXISTS (SELECT FROM hotswap.route_slot s"
	" WHERE s.tenant_id = r.tenant_id AND s.node_id = r.node_id AND s.module = r.module"
	" AND s.generation IN (r.generation, r.other_generation))"
	" AND NOT EXISTS (SELECT FROM pg_stat_get_activity(NULL) a"
	" WHERE a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())"
	" AND a.xact_start < $1) LIMIT $2))",
	TIMESTAMPTZOID, INT8OID);

static TimestampTz
minutes_ago(int minutes)
{
	return GetCurrentTimestamp() - (int64) minutes * USECS_PER_MINUTE;
}

/* ---- the steps: each does a part of its work, and returns whether there may be more ---- */

static BlockNumber next_page; /* of the keys */

static bool
make_partitions(int limit pg_attribute_unused())
{
	audit_partition_make();
	return false;
}

static bool
purge_keys(int pages)
{
	ItemPointerData from;
	ItemPointerData until;
	Datum args[] = { PointerGetDatum(&from), PointerGetDatum(&until) };

	ItemPointerSet(&from, next_page, 0);
	next_page += pages;
	ItemPointerSet(&until, next_page, 0);
	(void) db_run(&delete_keys, args, NULL);
	(void) db_run(&size_of_keys, NULL, NULL);
	return (int64) next_page * BLCKSZ < db_int64(0, 1);
}

/* The last one that was removed. */
static pg_uuid_t last_tenant;
static pg_uuid_t last_deployment;

static bool
purge_deployments(int limit)
{
	TimestampTz cutoff = minutes_ago(hotswap_deployment_retention);
	pg_uuid_t floor;
	Datum find[] = { TimestampTzGetDatum(cutoff), UUIDPGetDatum(&floor), Int64GetDatum(limit),
					 UUIDPGetDatum(&last_tenant), UUIDPGetDatum(&last_deployment) };
	pg_uuid_t tenant;
	pg_uuid_t id;
	Datum args[3]; /* tenants, deployments; for delete_swaps the time */
	bool isnull;

	uuid7_floor(cutoff, &floor);
	(void) db_run(&old_deployments, find, NULL);
	if (db_int64(0, 3) == 0)
		return false;
	args[0] = db_datum(0, 1, &isnull);
	args[1] = db_datum(0, 2, &isnull);
	args[2] = find[0];
	tenant = db_uuid(0, 4);
	id = db_uuid(0, 5);
	(void) db_run(&delete_swaps, args, NULL);
	(void) db_run(&delete_tasks, args, NULL);
	(void) db_run(&delete_stages, args, NULL);
	(void) db_run(&delete_statements, args, NULL);
	(void) db_run(&delete_rollouts, args, NULL);
	(void) db_run(&delete_rollout_gates, args, NULL);
	(void) db_run(&delete_analyses, args, NULL);
	(void) db_run(&delete_pauses, args, NULL);
	(void) db_run(&delete_rehearsals, args, NULL);
	(void) db_run(&delete_failed_rollbacks, args, NULL);
	(void) db_run(&delete_overrides, args, NULL);
	(void) db_run(&delete_votes, args, NULL);
	(void) db_run(&delete_approvals, args, NULL);
	(void) db_run(&delete_notifications, args, NULL);
	(void) db_run(&delete_keys_of, args, NULL);
	(void) db_run(&delete_deployments, args, NULL);
	last_tenant = tenant;
	last_deployment = id;
	return true;
}

static bool
purge_windows(int limit)
{
	Datum args[] = { TimestampTzGetDatum(minutes_ago(hotswap_deployment_retention)),
					 Int64GetDatum(limit) };

	return db_run(&delete_windows, args, NULL) + db_run(&delete_pins, args, NULL) > 0;
}

static bool
purge_routes(int limit)
{
	Datum args[] = { TimestampTzGetDatum(minutes_ago(hotswap_deployment_retention)),
					 Int64GetDatum(limit) };

	return db_run(&delete_routes, args, NULL) > 0;
}

/* Empties the partition that the next day comes to, of what was there nine days before. */
static bool
empty_slot(int limit pg_attribute_unused())
{
	char *table =
		psprintf("hotswap.node_metric_%d", metric_slot(GetCurrentTimestamp() + USECS_PER_DAY));
	Datum args[] = { CStringGetTextDatum(table) };

	if (db_run(&size_of_slot, args, NULL) == 0 || db_int64(0, 1) == 0)
		return false;
	db_limit_lock_wait(TRUNCATE_WAIT_MS);
	db_utility(psprintf("TRUNCATE %s", table));
	return false;
}

static bool
purge_default_partition(int limit)
{
	Datum args[] = { TimestampTzGetDatum(minutes_ago(hotswap_audit_retention)),
					 Int64GetDatum(limit) };
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
drop_old_partition(int limit pg_attribute_unused())
{
	TimestampTz until;
	Datum args[1];

	if (!audit_partition_drop(minutes_ago(hotswap_audit_retention), &until))
		return false;
	args[0] = TimestampTzGetDatum(until);
	(void) db_run(&set_horizon, args, NULL);
	return true;
}

typedef struct Step
{
	const char *what;
	bool (*run)(int limit);
	int most;  /* of the limit: rows, or pages */
	int limit; /* so many take STEP_MS or so */
} Step;

static Step steps[] = {
	{ "make partitions of the audit log", make_partitions, 1, 1 },
	{ "remove idempotency keys", purge_keys, 256, 8 },
	{ "remove deployments", purge_deployments, 200, 20 },
	{ "remove reports of nodes", empty_slot, 1, 1 },
	{ "remove windows and pins", purge_windows, 1000, 100 },
	{ "drop slots of routed modules", surplus_drop, 50, 5 },
	{ "remove rows of the route", purge_routes, 1000, 100 },
	{ "remove audit events", purge_default_partition, 1000, 100 },
	{ "drop partitions of the audit log", drop_old_partition, 1, 1 },
};

/* ---- one after the other ---- */

static int current = lengthof(steps);
static bool failed;

/* A part of a step, in a scope and a subtransaction. */
typedef struct Part
{
	Step *step;
	bool more;
} Part;

static void
run_part(void *arg)
{
	Part *part = arg;
	DbScope scope;

	db_enter(&scope);
	part->more = part->step->run(part->step->limit);
	db_leave(&scope);
}

/* The limit for the next part, after one took so long. */
static void
adapt(Step *step, long ms)
{
	if (ms > 2 * STEP_MS)
		step->limit = Max(step->limit / 2, 1);
	else if (ms < STEP_MS / 2)
		step->limit = Min(step->limit * 2, step->most);
}

static void
report_failure(const DispatchMode *mode, int number, const ErrorData *error)
{
	const char *what = steps[number].what;

	failed = true;
	trouble_note(TROUBLE_HOUSEKEEPING + number, NULL,
				 psprintf("could not %s: %s", what, error->message));
	ereport(mode->background ? LOG : WARNING,
			(errcode(error->sqlerrcode), errmsg("hotswap could not %s: %s", what, error->message),
			 error->context ? errcontext("%s", error->context) : 0));
}

/* Everything is to be done. */
void
retention_begin(void)
{
	current = 0;
	next_page = 0;
	memset(&last_tenant, 0, sizeof(last_tenant));
	memset(&last_deployment, 0, sizeof(last_deployment));
	surplus_begin();
	failed = false;
}

/* Does a part of it, in a transaction of its own. */
RetentionState
retention_step(const DispatchMode *mode)
{
	TimestampTz start = GetCurrentTimestamp();
	int number = current;
	Part part = { .more = false };
	ErrorData *error;

	if (number == lengthof(steps))
		return failed ? RETENTION_FAILED : RETENTION_DONE;
	part.step = &steps[number];
	/* an error that is not caught here ends this step, too */
	current++;
	mode->begin();
	error = subxact_run(run_part, &part);
	if (error && ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
		ReThrowError(error);
	if (error)
		report_failure(mode, number, error);
	mode->commit();
	adapt(part.step, TimestampDifferenceMilliseconds(start, GetCurrentTimestamp()));
	if (error == NULL && part.more)
		current = number;
	else if (error == NULL)
		trouble_over(TROUBLE_HOUSEKEEPING + number, NULL);
	return RETENTION_MORE;
}
