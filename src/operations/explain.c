/*
 * explain.c
 *		explain(): every reason why a deployment is not moving now.
 *
 * Reads the tables and, with the preload, what the processes share; locks nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/approval.h"
#include "core/deployment.h"
#include "core/freeze.h"
#include "core/installation.h"
#include "core/node_health.h"
#include "core/release.h"
#include "core/tenant.h"
#include "deployment/rollout_row.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "operations/blocker.h"
#include "pipeline/gate.h"
#include "route/staying.h"
#include "shm/executors.h"
#include "shm/shmem.h"
#include "shm/trouble.h"
#include "shm/worker_line.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(hotswap_explain);

#define SAME_MODULE SHARES_MODULE("o", "d")
#define OTHERS_SUBJECT SUBJECT("o")

static DbStatement read_deployment = DB_STATEMENT(
	"SELECT status, run_at, finished_at, cancel_requested_at, message, rollback_message,"
	" nodes_behind, module, kind, release FROM hotswap.deployment"
	" WHERE tenant_id = $1 AND id = $2",
	UUIDOID, UUIDOID);

static DbStatement behind_query =
	DB_STATEMENT("SELECT string_agg(quote_ident(n.name), ', ' ORDER BY n.name) FROM hotswap.task t"
				 " JOIN hotswap.node n ON n.tenant_id = $1 AND n.id = t.node_id"
				 " WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.kind = 'swap'"
				 " AND (t.status = 'failed' OR t.status = 'skipped' AND t.steps > 0)",
				 UUIDOID, UUIDOID);

/*
 * Deployments that may be in the lanes of one, or go first there, the first $3 of them: what their work items
 * say, which is enough to leave out almost all of a long queue.
 */
static DbStatement lane_candidates = DB_STATEMENT(
	"SELECT pg_catalog.array_agg(c.deployment_id), pg_catalog.count(*) FROM (SELECT w.deployment_id"
	" FROM (SELECT d.priority, ARRAY(SELECT x.module FROM " TARGETS_OF(
		"d") " x) AS modules"
			 " FROM hotswap.deployment d WHERE d.tenant_id = $1 AND d.id = $2 OFFSET 0) d"
			 " JOIN hotswap.work_item w ON w.tenant_id = $1 AND w.deployment_id <> $2"
			 " WHERE " WORK_ITEM_MAY_BE_ABOUT(
				 "w",
				 "d.modules") " AND (w.status IS NULL"
							  " OR w.status IN " STARTED_STATUSES " OR w.status = 'queued'"
							  " AND (w.priority > d.priority OR w.priority = d.priority AND w.deployment_id < $2))"
							  " ORDER BY w.status IN " STARTED_STATUSES
							  " DESC, w.priority DESC, w.deployment_id LIMIT $3) c",
	UUIDOID, UUIDOID, INT8OID);

/*
 * Of $3, deployments of the same module whose lanes are among those of this one, and which go first.
 * OFFSET 0 keeps the planner to look-ups by key, however small the tables are when it plans.
 */
static DbStatement lane_holders = DB_STATEMENT(
	"SELECT o.id, o.status, " OTHERS_SUBJECT ", o.environment, o.status IN " STARTED_STATUSES ""
	" FROM hotswap.deployment d"
	" JOIN hotswap.environment de ON de.tenant_id = d.tenant_id AND de.name = d.environment"
	" CROSS JOIN unnest($3) w (deployment_id)"
	" CROSS JOIN LATERAL (SELECT * FROM hotswap.deployment o"
	" WHERE o.tenant_id = $1 AND o.id = w.deployment_id OFFSET 0) o"
	" JOIN hotswap.environment oe ON oe.tenant_id = o.tenant_id AND oe.name = o.environment"
	" WHERE d.tenant_id = $1 AND d.id = $2 AND o.id <> d.id AND " SAME_MODULE
	" AND (NOT d.only_target OR de.rank = oe.rank OR NOT o.only_target AND de.rank < oe.rank)"
	" AND (NOT o.only_target OR oe.rank <= de.rank)"
	" AND (o.status = 'queued' AND (o.priority > d.priority OR o.priority = d.priority AND o.id < d.id)"
	" OR o.status IN " STARTED_STATUSES " AND (oe.rank <= de.rank OR NOT EXISTS ("
	"SELECT 1 FROM hotswap.stage s JOIN hotswap.environment se ON se.tenant_id = s.tenant_id"
	" AND se.name = s.environment WHERE s.tenant_id = o.tenant_id AND s.deployment_id = o.id"
	" AND s.kind = 'deploy' AND se.rank = de.rank AND s.status IN ('succeeded', 'skipped'))))"
	" ORDER BY 5 DESC, o.priority DESC, o.id LIMIT 100",
	UUIDOID, UUIDOID, UUIDARRAYOID);

#define LANE_HOLDERS_SHOWN 100 /* as lane_holders says */
#define LANE_CANDIDATES 1000   /* looked at first */

static DbStatement open_tasks = DB_STATEMENT(
	"SELECT t.stage::integer, t.ordinal, t.kind, t.status, coalesce(n.name, t.hook), t.due_at,"
	" t.started_at, t.message, t.attempt, t.lease_until, t.token IS NOT NULL, t.claimed_by, t.percent"
	" FROM hotswap.task t"
	" LEFT JOIN hotswap.node n ON n.tenant_id = t.tenant_id AND n.id = t.node_id"
	" WHERE t.tenant_id = $1 AND t.deployment_id = $2"
	" AND t.status IN ('pending', 'ready', 'running', 'retry_wait') ORDER BY t.stage, t.ordinal LIMIT 100",
	UUIDOID, UUIDOID);

enum
{
	OPEN_STAGE = 1,
	OPEN_ORDINAL,
	OPEN_KIND,
	OPEN_STATUS,
	OPEN_ON,
	OPEN_DUE_AT,
	OPEN_STARTED_AT,
	OPEN_MESSAGE,
	OPEN_ATTEMPT,
	OPEN_LEASE_UNTIL,
	OPEN_IS_CLAIMED,
	OPEN_CLAIMED_BY,
	OPEN_PERCENT
};

/* What failed for good, as the server has said it. */
static DbStatement failed_tasks = DB_STATEMENT(
	"SELECT pg_catalog.concat('The ', t.kind, ' on ', coalesce(n.name, t.hook), ' failed', ' in line ' || t.line"
	" || ' of the ' || t.script || ' script', ' (SQLSTATE ' || t.sqlstate || ')', ': ' || t.message,"
	" '; detail: ' || t.detail, '; hint: ' || t.hint)"
	" FROM hotswap.task t"
	" LEFT JOIN hotswap.node n ON n.tenant_id = t.tenant_id AND n.id = t.node_id"
	" WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.status = 'failed'"
	" ORDER BY t.stage, t.ordinal LIMIT 100",
	UUIDOID, UUIDOID);

static DbStatement outside_query = DB_STATEMENT(
	"SELECT v.version FROM hotswap.deployment d JOIN hotswap.module_version v ON v.tenant_id = $1"
	" AND v.module = d.module AND v.version = d.version WHERE d.tenant_id = $1 AND d.id = $2"
	" AND NOT v.transactional",
	UUIDOID, UUIDOID);

static DbStatement waits_for_standby = DB_STATEMENT(
	"SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'", INT4OID);

static DbStatement stop_reason =
	DB_STATEMENT0("SELECT stop_reason, stopped_by, stopped_at FROM hotswap.installation");

static DbStatement tenant_query = DB_STATEMENT(
	"SELECT t.status, t.status_reason, l.amount FROM hotswap.tenant t CROSS JOIN LATERAL"
	" (SELECT amount FROM hotswap.quota_limits WHERE tenant_id = $1"
	" AND resource = 'concurrent_deployments' OFFSET 0) l WHERE t.id = $1",
	UUIDOID);

static DbStatement started_query =
	DB_STATEMENT("SELECT w.deployment_id, pg_catalog.count(*) OVER () FROM hotswap.work_item w"
				 " WHERE w.tenant_id = $1 AND " WORK_ITEM_STATUS(
					 "w") " IN " STARTED_STATUSES " ORDER BY w.deployment_id LIMIT 100",
				 UUIDOID);

static DbStatement required_query = DB_STATEMENT(
	"SELECT message FROM hotswap.stage WHERE tenant_id = $1 AND deployment_id = $2"
	" AND status = 'waiting_approval' AND message LIKE '%, which brings what it requires'",
	UUIDOID, UUIDOID);

static DbStatement rehearsal_query =
	DB_STATEMENT("SELECT message FROM hotswap.stage WHERE tenant_id = $1 AND deployment_id = $2"
				 " AND status = 'waiting_approval' AND message LIKE 'waits for a rehearsal of %'",
				 UUIDOID, UUIDOID);
static DbStatement bake_query = DB_STATEMENT(
	"SELECT r.wave, r.waves, r.bake_until, (SELECT a.reason FROM hotswap.analysis a WHERE a.tenant_id = $1"
	" AND a.deployment_id = $2 AND a.stage = r.stage AND a.wave = r.wave AND a.metric = 'health'"
	" ORDER BY a.at DESC LIMIT 1), least(10000, r.first_share::bigint + (r.wave - 1)"
	" * r.share_step::bigint)::integer, r.first_share IS NOT NULL FROM hotswap.rollout r"
	" JOIN hotswap.stage s ON s.tenant_id = r.tenant_id AND s.deployment_id = r.deployment_id"
	" AND s.ordinal = r.stage AND s.status = 'running' WHERE r.tenant_id = $1"
	" AND r.deployment_id = $2 AND r.gate IS NULL AND r.measured IS NULL AND r.bake_until IS NOT NULL",
	UUIDOID, UUIDOID);

static DbStatement between_query = DB_STATEMENT(
	"SELECT s.environment FROM hotswap.rollout r"
	" JOIN hotswap.stage s ON s.tenant_id = r.tenant_id AND s.deployment_id = r.deployment_id"
	" AND s.ordinal = r.stage AND s.status = 'running' WHERE r.tenant_id = $1"
	" AND r.deployment_id = $2 AND r.wave < r.waves AND (r.gate IS NOT NULL OR r.wave = 0"
	" AND r.strategy = 'blue_green')",
	UUIDOID, UUIDOID);

/* Of a stage whose nodes are prepared and not switched: by when they have to be healthy. */
static DbStatement prepared_query = DB_STATEMENT(
	"SELECT s.environment, pg_catalog.max(t.finished_at) + r.health_timeout FROM hotswap.rollout r"
	" JOIN hotswap.stage s ON s.tenant_id = $1 AND s.deployment_id = $2 AND s.ordinal = r.stage"
	" AND s.status = 'running' JOIN hotswap.task t ON t.tenant_id = $1 AND t.deployment_id = $2"
	" AND t.stage = r.stage AND t.kind = 'prepare' WHERE r.tenant_id = $1 AND r.deployment_id = $2"
	" AND r.wave = 0 GROUP BY s.environment, r.health_timeout"
	" HAVING pg_catalog.bool_and(t.status = 'succeeded')",
	UUIDOID, UUIDOID);

/* Where the rows go, and what they are about. */
typedef struct Explanation
{
	ReturnSetInfo *result;
	pg_uuid_t tenant;
	pg_uuid_t id;
	DeploymentStatus status;
	Oid reader;
	int rows;
} Explanation;

static void
explain_add(Explanation *e, const char *reason, const char *detail, const char *unblocked_by)
{
	const char *texts[] = { reason, detail, unblocked_by };
	Datum values[3];
	bool nulls[3];

	for (int i = 0; i < 3; i++)
	{
		nulls[i] = texts[i] == NULL;
		values[i] = texts[i] ? CStringGetTextDatum(texts[i]) : (Datum) 0;
	}
	tuplestore_putvalues(e->result->setResult, e->result->setDesc, values, nulls);
	e->rows++;
}

static void
explain_dispatching(Explanation *e)
{
	switch (installation_dispatch_state())
	{
		case DISPATCH_ALLOWED:
			break;
		case DISPATCH_STOPPED:
			(void) db_run(&stop_reason, NULL, NULL);
			explain_add(e, "dispatching is stopped",
						psprintf("by %s at %s: %s", db_text(0, 2),
								 timestamptz_to_str(db_time(0, 3, 0)), db_text(0, 1)),
						"hotswap.start_dispatching()");
			break;
		case DISPATCH_FOREIGN:
		case DISPATCH_NOTHING:
			explain_add(e, "this database is a copy",
						"Its rows were written in another database or cluster.", "hotswap.adopt()");
			break;
	}
	if (shmem_dispatcher_pid() == 0)
		explain_add(e, "no dispatcher is running",
					shared ? "The launcher has not started one in this database." :
							 "hotswap is not in shared_preload_libraries.",
					shared ? "the launcher, see hotswap.health()" :
							 "CALL hotswap.work(), or the preload and a restart");
}

static void
explain_workers(Explanation *e)
{
	if (worker_line_waits(MyDatabaseId) >= 0)
		explain_add(e, "no worker slot is free", "An executor could not be started.",
					"the end of another background worker, or a larger max_worker_processes");
}

/* The dispatcher cannot get at it, or has tried in vain. */
static void
explain_visits(Explanation *e)
{
	int count;
	Trouble *troubles = trouble_list(&count);
	char *blocker = blocker_of_deployment(&e->tenant, &e->id);

	/* it has the row itself, for a moment */
	if (blocker && strcmp(blocker, psprintf("process %d", shmem_dispatcher_pid())) != 0)
		explain_add(e, "somebody else has its row", psprintf("The row is locked by %s.", blocker),
					"the end of that transaction");
	for (int i = 0; i < count; i++)
		if (troubles[i].kind == TROUBLE_DEPLOYMENT &&
			memcmp(&troubles[i].deployment, &e->id, sizeof(e->id)) == 0)
			explain_add(e, "it is set aside",
						psprintf("A visit has failed " INT64_FORMAT " times since %s: %s",
								 troubles[i].times, timestamptz_to_str(troubles[i].since),
								 troubles[i].message),
						"the end of that error: it is tried again after a while");
}

/* Finds those that are in the lane or go first; limit: how many may be looked at, 0: all. Returns whether that was enough. */
static bool
find_lane_holders(Explanation *e, int64 limit, uint64 *count)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id), Int64GetDatum(limit) };
	bool nulls[] = { false, false, limit == 0 };
	int64 candidates;
	bool none;

	(void) db_run(&lane_candidates, args, nulls);
	candidates = db_int64(0, 2);
	args[2] = db_datum(0, 1, &none);
	*count = none ? 0 : db_run(&lane_holders, args, NULL);
	return *count == LANE_HOLDERS_SHOWN || limit == 0 || candidates < limit;
}

static void
explain_lanes(Explanation *e)
{
	uint64 n;

	if (!find_lane_holders(e, LANE_CANDIDATES, &n))
		(void) find_lane_holders(e, 0, &n);

	for (uint64 i = 0; i < n; i++)
	{
		pg_uuid_t id = db_uuid(i, 1);

		explain_add(e,
					db_bool(i, 5) ? "another deployment is in the lane" :
									"another deployment goes first",
					psprintf("%s to %s is %s.", db_text(i, 3), db_text(i, 4), db_text(i, 2)),
					psprintf("the end of deployment %s", uuid_text(&id)));
	}
}

/* All of the tenant's deployments that the limit allows are running. */
static void
explain_limit(Explanation *e, int64 limit)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant) };
	uint64 n = db_run(&started_query, args, NULL);
	StringInfoData ids;
	int64 running = n > 0 ? db_int64(0, 2) : 0;

	if (running < limit)
		return;
	initStringInfo(&ids);
	for (uint64 i = 0; i < n; i++)
	{
		pg_uuid_t id = db_uuid(i, 1);

		appendStringInfo(&ids, "%s%s", i > 0 ? ", " : "", uuid_text(&id));
	}
	explain_add(e,
				psprintf("the tenant has " INT64_FORMAT " of " INT64_FORMAT " deployments running",
						 running, limit),
				n > 0 ? psprintf("They are: %s.", ids.data) : NULL,
				n > 0 ? "the end of one of them, or a higher quota of concurrent_deployments" :
						"a higher quota of concurrent_deployments");
}

/* As many of the tenant's tasks are in hand as may be; detail: what waits because of it. */
static bool
explain_tenant_executors(Explanation *e, const char *detail)
{
	int limit = hotswap_max_tenant_executors;
	int tasks = limit > 0 ? executors_tasks_of(&e->tenant) : 0;

	if (limit == 0 || tasks < limit)
		return false;
	explain_add(e, psprintf("the tenant has %d of %d executors", tasks, limit), detail,
				"the end of one of its tasks, or a larger hotswap.max_tenant_executors");
	return true;
}

/* What the tenant's status and quota keep from moving. */
static void
explain_tenant(Explanation *e)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant) };
	char *reason;

	if (db_run(&tenant_query, args, NULL) == 0)
		return;
	reason = db_text(0, 2);
	if (strcmp(db_text(0, 1), "suspended") == 0)
		explain_add(e, "the tenant is suspended", reason, "hotswap.resume_tenant()");
	else if (e->status == DEPLOYMENT_QUEUED && !db_isnull(0, 3))
		explain_limit(e, db_int64(0, 3));
}

/*
 * Nothing of its own holds it back, so it waits for its turn.  Who else waits is other tenants'
 * business.
 */
static void
explain_turn(Explanation *e)
{
	if (e->rows > 0 || shared == NULL)
		return;
	explain_add(e, "it waits for its turn",
				psprintf("%d of at most %d executors are busy.", executors_busy(),
						 hotswap_max_executors),
				"an executor that has finished its task");
}

static void
explain_running(Explanation *e, const TaskKey *key, const char *what, TimestampTz since)
{
	int pid = executor_of(key);
	char *blocker;

	if (pid == 0)
	{
		explain_add(e, "a task is handed to an executor", what, "the executor");
		return;
	}
	if (db_run(&waits_for_standby, (Datum[]){ Int32GetDatum(pid) }, NULL) > 0)
	{
		explain_add(e, "the commit of a task waits for a synchronous standby",
					psprintf("%s, in process %d.", what, pid), "the standby, see hotswap.health()");
		return;
	}
	blocker = blocker_of_process(pid, e->reader);
	if (blocker)
		explain_add(e, "a task waits for a lock",
					psprintf("%s, in process %d, is blocked by %s.", what, pid, blocker),
					"the end of that transaction, or hotswap.lock_timeout");
	else
		explain_add(e, "a task is running",
					psprintf("%s, in process %d since %s.", what, pid, timestamptz_to_str(since)),
					"its end");
}

/* An open task, read before other queries are run. */
typedef struct OpenTask
{
	TaskKey key;
	char *what;
	char *status;
	char *message;
	TimestampTz due;
	TimestampTz started;
	int32 attempt;
	/* of one that is given out to an agent */
	TimestampTz lease_until; /* TIME_NULL: it is not */
	char *claimed_by;        /* NULL: not claimed */
	char *percent;           /* or NULL */
} OpenTask;

static OpenTask *
read_tasks(Explanation *e, uint64 *count)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };
	OpenTask *tasks;

	*count = db_run(&open_tasks, args, NULL);
	tasks = palloc0(Max(*count, 1) * sizeof(OpenTask));
	for (uint64 i = 0; i < *count; i++)
	{
		tasks[i].key.tenant = e->tenant;
		tasks[i].key.deployment = e->id;
		tasks[i].key.stage = db_int32(i, OPEN_STAGE);
		tasks[i].key.ordinal = db_int32(i, OPEN_ORDINAL);
		tasks[i].what = psprintf("The %s on %s", db_text(i, OPEN_KIND), db_text(i, OPEN_ON));
		tasks[i].status = db_text(i, OPEN_STATUS);
		tasks[i].due = db_time(i, OPEN_DUE_AT, 0);
		tasks[i].started = db_time(i, OPEN_STARTED_AT, 0);
		tasks[i].message = db_text(i, OPEN_MESSAGE);
		tasks[i].attempt = db_int32(i, OPEN_ATTEMPT);
		tasks[i].lease_until = db_time(i, OPEN_LEASE_UNTIL, TIME_NULL);
		if (db_bool(i, OPEN_IS_CLAIMED))
			tasks[i].claimed_by = db_text(i, OPEN_CLAIMED_BY);
		tasks[i].percent = db_text(i, OPEN_PERCENT);
	}
	return tasks;
}

/* A task that is given out to an agent. */
static void
explain_agent(Explanation *e, const OpenTask *t)
{
	const char *until = timestamptz_to_str(t->lease_until);

	if (t->claimed_by)
		explain_add(e, "an agent has a task",
					psprintf("%s, which \"%s\" has until %s%s%s.", t->what, t->claimed_by, until,
							 t->percent ? ", percent done: " : "", t->percent ? t->percent : ""),
					"the agent, or the end of its lease");
	else
		explain_add(e, "a task waits for its agent",
					psprintf("%s; it has to be claimed by %s.", t->what, until),
					"hotswap.claim_tasks()");
}

/* A task that an executor could run. */
static void
explain_ready(Explanation *e, const char *what)
{
	if (explain_tenant_executors(e, psprintf("%s is ready.", what)))
		return;
	explain_add(e, "a task waits for an executor",
				psprintf("%s is ready; at most %d executors work in this database.", what,
						 hotswap_max_executors),
				"an executor that has finished its task");
}

static void
explain_tasks(Explanation *e)
{
	uint64 n;
	OpenTask *tasks = read_tasks(e, &n);

	for (uint64 i = 0; i < n; i++)
	{
		OpenTask *t = &tasks[i];

		if (t->lease_until != TIME_NULL)
			explain_agent(e, t);
		else if (strcmp(t->status, "running") == 0)
			explain_running(e, &t->key, t->what, t->started);
		else if (strcmp(t->status, "retry_wait") == 0)
			explain_add(e, "a task waits for its next attempt",
						psprintf("%s failed at attempt %d: %s", t->what, t->attempt, t->message),
						psprintf("the time %s", timestamptz_to_str(t->due)));
		else if (strcmp(t->status, "ready") == 0 && shared == NULL)
			explain_add(e, "a task waits for a session of its role",
						psprintf("%s is ready.", t->what), "CALL hotswap.work() in that session");
		else if (strcmp(t->status, "ready") == 0)
			explain_ready(e, t->what);
		else
			explain_add(e, "a task waits for its wave", t->what, "the end of the wave before it");
	}
}

/* A node that is prepared and not healthy. */
static void
explain_health(Explanation *e)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };
	char *environment;
	const char *until;
	ListCell *cell;

	if (db_run(&prepared_query, args, NULL) == 0)
		return;
	environment = db_text(0, 1);
	until = pstrdup(timestamptz_to_str(db_time(0, 2, 0)));
	foreach (cell, node_health_read(&e->tenant, environment, NULL))
	{
		const NodeHealth *h = lfirst(cell);

		if (h->state == HEALTH_UNHEALTHY)
			explain_add(e, "a node is not healthy",
						psprintf("Node \"%s\" is unhealthy: %s; they have to be healthy by %s.",
								 h->name, (char *) linitial(h->reasons), until),
						"its health");
	}
}

/* Why it is paused, and what it waits for between two waves. */
static void
explain_rollout(Explanation *e)
{
	Deployment d = { .tenant = e->tenant, .id = e->id, .has_rollout = true };
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };
	List *pauses = pauses_load(&d);
	ListCell *cell;

	foreach (cell, pauses)
	{
		const PauseRow *p = lfirst(cell);

		const char *since = pstrdup(timestamptz_to_str(p->since));

		explain_add(e, "it is paused",
					psprintf("by %s at %s: %s; it is cancelled at %s.", p->paused_by, since,
							 p->reason, timestamptz_to_str(p->ends_at)),
					p->kind == PAUSE_PERSON ? "hotswap.resume()" : "hotswap.promote()");
	}
	if (db_run(&bake_query, args, NULL) > 0)
	{
		const char *share =
			db_bool(0, 6) ? psprintf(", for %d of 10000 callers", db_int32(0, 5)) : "";

		explain_add(e, "a wave bakes",
					psprintf("Wave %d of %d is swapped%s; its bake ends at %s%s%s.", db_int32(0, 1),
							 db_int32(0, 2), share, timestamptz_to_str(db_time(0, 3, 0)),
							 db_isnull(0, 4) ? "" : "; so far: ",
							 db_isnull(0, 4) ? "" : db_text(0, 4)),
					"the time, or hotswap.promote()");
	}
	explain_health(e);
}

static char *
approver_words(const ApprovalPolicy *policy)
{
	StringInfoData words;
	ListCell *cell;

	if (!policy->restricted)
		return "roles with the capability approver";
	initStringInfo(&words);
	foreach (cell, policy->approvers)
	{
		char *name = GetUserNameFromId(lfirst_oid(cell), true);

		if (name)
			appendStringInfo(&words, "%s%s", words.len > 0 ? ", " : "members of ",
							 quote_identifier(name));
	}
	return words.len > 0 ? words.data : "nobody: the roles of the policy have been dropped";
}

/* Who brings what the nodes lack: the gate has said so when it looked at them. */
static void
explain_required(Explanation *e)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };

	if (db_run(&required_query, args, NULL) > 0)
		explain_add(e, "what it requires is still to come", psprintf("It %s.", db_text(0, 1)),
					"the end of that deployment");
}

/* What was not rehearsed, as the gate has found. */
static void
explain_rehearsal(Explanation *e)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };

	if (db_run(&rehearsal_query, args, NULL) > 0)
		explain_add(e, "it was not rehearsed",
					psprintf("It %s, in the last 24 hours.", db_text(0, 1)),
					"hotswap.deploy() of the same version with \"rehearse\"");
}

/* Windows that do not let it start, and until when. */
static void
explain_freeze(Explanation *e, const Deployment *d, const char *environment)
{
	Freeze freeze;

	if (!freeze_holds(d, environment, &freeze))
		return;
	explain_add(e, psprintf("environment \"%s\" is frozen", environment),
				psprintf("By its windows: %s.", freeze_words(&freeze)),
				freeze.opens == DT_NOEND ? "hotswap.remove_window(), or hotswap.override_freeze()" :
										   psprintf("the time %s, or hotswap.override_freeze()",
													timestamptz_to_str(freeze.opens)));
}

/* Between two waves, after the bake of the first one. */
static void
explain_next_wave(Explanation *e, const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };

	if (db_run(&between_query, args, NULL) > 0)
		explain_freeze(e, d, db_text(0, 1));
}

/* At its gate: windows, and whose turn comes before its own. */
static void
explain_gate(Explanation *e, Deployment d)
{
	char *environment = steps_gate(&d);
	EarlierDeployment earlier;

	if (environment == NULL)
		return;
	explain_freeze(e, &d, environment);
	if (!gate_earlier(&d, environment, &earlier))
	{
		explain_required(e);
		explain_rehearsal(e);
		return;
	}
	explain_add(e, "a deployment that was requested before goes first",
				psprintf("%s to %s is %s.", earlier.subject, earlier.environment, earlier.status),
				psprintf("the start of deployment %s, or its end", uuid_text(&earlier.id)));
}

/* Which votes are missing, from whom. */
static void
explain_approvals(Explanation *e)
{
	Deployment d = { .tenant = e->tenant, .id = e->id };
	List *approvals = approval_load(&d);
	ListCell *cell;

	foreach (cell, approvals)
	{
		Approval *a = lfirst(cell);
		ApprovalPolicy policy;
		int quorum;
		int counted;

		if (a->status != APPROVAL_PENDING ||
			!approval_policy_load(&d.tenant, a->environment, &policy))
			continue;
		quorum = approval_quorum(&policy, a);
		counted = approval_count(&d, a, &policy);
		explain_add(e, psprintf("environment \"%s\" needs an approval", a->environment),
					psprintf("%d of %d votes are there; it expires at %s.", counted, quorum,
							 timestamptz_to_str(a->expires_at)),
					psprintf("hotswap.approve() by %d more of: %s", quorum - counted,
							 approver_words(&policy)));
	}
}

/* What it does stays, as far as it comes: nobody shall think that it can be ended without a trace. */
static void
explain_outside(Explanation *e)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };

	if (db_run(&outside_query, args, NULL) > 0)
		explain_add(
			e, "it is not all or nothing",
			psprintf("Version \"%s\" runs outside of transactions: each of its statements stays.",
					 db_text(0, 1)),
			NULL);
}

/* The nodes that stayed behind when it succeeded, or nothing. */
static char *
behind_words(Explanation *e, int behind)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };

	if (e->status != DEPLOYMENT_SUCCEEDED || behind == 0)
		return "";
	(void) db_run(&behind_query, args, NULL);
	return psprintf(behind == 1 ? "; %d node stayed behind: %s" : "; %d nodes stayed behind: %s",
					behind, db_text(0, 1));
}

static void
explain_end(Explanation *e, const char *message, const char *rollback, int behind)
{
	const Machine *machine = &deployment_machine;
	bool may_retry = machine_allows(machine, e->status, DEPLOYMENT_RETRY) ||
					 machine_allows(machine, e->status, DEPLOYMENT_RETRY_ROLLBACK);

	if (e->status == DEPLOYMENT_SUCCEEDED)
		may_retry = behind > 0;
	explain_add(e, "it has ended",
				psprintf("It is %s%s%s%s%s%s.", machine->statuses[e->status], message ? ": " : "",
						 message ? message : "", rollback ? "; its rollback failed: " : "",
						 rollback ? rollback : "", behind_words(e, behind)),
				may_retry ? "hotswap.retry()" : NULL);
}

/* Why a schema of an earlier version is still there. */
static void
explain_staying(Explanation *e, Deployment *d)
{
	ListCell *cell;

	foreach (cell, staying_versions(&e->tenant, &e->id, target_modules(deployment_targets(d))))
	{
		const Staying *s = lfirst(cell);

		explain_add(e, "an earlier version is still installed",
					psprintf("%s: %s.", s->what, s->why), s->until);
	}
}

/* What each task that failed has met. */
static void
explain_failures(Explanation *e)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };
	uint64 n = db_run(&failed_tasks, args, NULL);

	for (uint64 i = 0; i < n; i++)
		explain_add(e, "a task has failed", db_text(i, 1), NULL);
}

static void
explain_deployment(Explanation *e)
{
	Datum args[] = { UUIDPGetDatum(&e->tenant), UUIDPGetDatum(&e->id) };
	Deployment d = { .tenant = e->tenant, .id = e->id };
	char *message;
	char *rollback;

	if (db_run(&read_deployment, args, NULL) == 0)
		deployment_refuse_missing(&e->id);
	e->status = machine_parse(&deployment_machine, db_text(0, 1));
	message = db_text(0, 5);
	rollback = db_text(0, 6);
	d.module = db_text(0, 8);
	d.release = db_text(0, 10);
	d.kind = label_parse(db_text(0, 9), deployment_kind_names, KIND_DECLARE + 1);
	if (deployment_is_final(e->status))
	{
		explain_end(e, message, rollback, db_int32(0, 7));
		explain_failures(e);
		explain_staying(e, &d);
		return;
	}
	if (e->status == DEPLOYMENT_SCHEDULED)
		explain_add(e, "its time has not come",
					psprintf("It runs at %s.", timestamptz_to_str(db_time(0, 2, 0))), "the time");
	if (!db_isnull(0, 4))
		explain_add(e, "it is being cancelled", "The statements that run are being cancelled.",
					"their end");
	explain_dispatching(e);
	explain_workers(e);
	explain_visits(e);
	explain_approvals(e);
	if (e->status == DEPLOYMENT_PENDING_APPROVAL)
		explain_gate(e, d);
	explain_tenant(e);
	if (e->status == DEPLOYMENT_QUEUED)
	{
		(void) explain_tenant_executors(e, NULL);
		explain_lanes(e);
		explain_turn(e);
	}
	else
	{
		explain_rollout(e);
		explain_next_wave(e, &d);
		explain_tasks(e);
		explain_failures(e);
	}
	explain_outside(e);
}

/*
 * explain(deployment uuid) returns (reason, detail, unblocked_by)
 *
 * Errors: P0002 no such deployment, 42501. Locks nothing.
 */
Datum
hotswap_explain(PG_FUNCTION_ARGS)
{
	Explanation e;
	DbScope scope;

	memset(&e, 0, sizeof(e));
	e.id = arg_uuid(fcinfo, 0, "deployment");
	e.tenant = tenant_current();
	e.reader = GetUserId();
	InitMaterializedSRF(fcinfo, 0);
	e.result = (ReturnSetInfo *) fcinfo->resultinfo;
	db_enter(&scope);
	access_require(&e.tenant, scope.caller, CAPABILITY_VIEWER, "look at a deployment");
	explain_deployment(&e);
	db_leave(&scope);
	return (Datum) 0;
}
