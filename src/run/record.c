/*
 * record.c
 *		Reads a task and records how it has ended, as the owner of the extension.
 *
 * Success is recorded in the transaction of the scripts, failure in a new one.  Only the task's row and
 * the node's are written, which nobody else writes while the task is running: whoever has the
 * deployment's row, and for however long, does not keep a finished swap from its commit.  The audit
 * event is the dispatcher's, at its next visit (stage_tasks_load()), and so is everything that follows.
 *
 * A cancel() that has committed is seen here; one that has not finds a task that succeeded, and the
 * dispatcher takes that back.  A task that was settled without its executor is not running any more,
 * and so cannot be recorded.
 *
 * Of a task that an agent has done, the agent's transaction records the end, and holds the lock on its row.
 *
 * Locks: the task's row.
 */
#include "postgres.h"

#include "base/backoff.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/columns.h"
#include "core/deployment.h"
#include "core/machine.h"
#include "core/release.h"
#include "route/route.h"
#include "run/record.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

/*
 * Each row by its whole key, and every part of the key a parameter: a join on tenant_id could be
 * planned as a walk through all versions of the tenant.
 */
static DbStatement load_task = DB_STATEMENT(
	"SELECT t.kind, t.attempt, t.reverts, t.node_id, t.hook, t.previous_version, d.module, d.version,"
	" d.release IS NULL AND (SELECT m.is_graph FROM hotswap.module m"
	" WHERE m.tenant_id = $1 AND m.name = d.module),"
	" t.plan_digest, t.swap_from, d.allow_revert, d.environment, d.kind = 'rollback', d.rolls_back,"
	" d.heads, d.requested_at, d.release, d.kind = 'rehearsal',"
	" (SELECT (1000 * extract(epoch FROM e.rehearse_max_lock))::integer FROM hotswap.node n"
	" JOIN hotswap.environment e ON e.tenant_id = $1 AND e.name = n.environment"
	" WHERE n.tenant_id = $1 AND n.id = t.node_id), t.action,"
	" d.release IS NULL AND (SELECT m.routed FROM hotswap.module m WHERE m.tenant_id = $1"
	" AND m.name = d.module) AND EXISTS (SELECT FROM hotswap.route_slot s WHERE s.tenant_id = $1"
	" AND s.node_id = t.node_id AND s.module = d.module), t.wave"
	" FROM hotswap.task t, hotswap.deployment d"
	" WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.stage = $3 AND t.ordinal = $4"
	" AND t.status = 'running' AND d.tenant_id = $1 AND d.id = $2",
	UUIDOID, UUIDOID, INT2OID, INT4OID);

enum
{
	LOADED_KIND = 1,
	LOADED_ATTEMPT,
	LOADED_REVERTS,
	LOADED_NODE,
	LOADED_HOOK,
	LOADED_PREVIOUS_VERSION,
	LOADED_MODULE,
	LOADED_VERSION,
	LOADED_IS_GRAPH,
	LOADED_PLAN_DIGEST,
	LOADED_SWAP_FROM,
	LOADED_ALLOW_REVERT,
	LOADED_ENVIRONMENT,
	LOADED_IS_ROLLBACK,
	LOADED_ROLLS_BACK,
	LOADED_HEADS,
	LOADED_REQUESTED_AT,
	LOADED_RELEASE,
	LOADED_IS_REHEARSAL,
	LOADED_MAX_LOCK,
	LOADED_ACTION,
	LOADED_IS_BESIDE, /* what is installed there is called by nobody yet */
	LOADED_WAVE
};

static DbStatement load_node = DB_STATEMENT(
	"SELECT name, environment, schema, search_path FROM hotswap.node WHERE tenant_id = $1 AND id = $2",
	UUIDOID, UUIDOID);

enum
{
	NODE_NAME = 1,
	NODE_ENVIRONMENT,
	NODE_SCHEMA,
	NODE_SEARCH_PATH
};

/* All that versions of these modules ask for, or ask to be without. */
static DbStatement asked_for_query =
	DB_STATEMENT("SELECT m.requires FROM unnest($2) n (name) JOIN hotswap.module m"
				 " ON m.tenant_id = $1 AND m.name = n.name WHERE m.requires IS NOT NULL",
				 UUIDOID, TEXTARRAYOID);

static DbStatement read_deployment =
	DB_STATEMENT("SELECT status, cancel_requested_at IS NOT NULL FROM hotswap.deployment"
				 " WHERE tenant_id = $1 AND id = $2",
				 UUIDOID, UUIDOID);

static DbStatement update_succeeded = DB_STATEMENT(
	"UPDATE hotswap.task SET status = 'succeeded', audited_status = status, finished_at = $6, sqlstate = NULL, message = NULL,"
	" detail = NULL, hint = NULL, context = NULL, script = NULL, position = NULL, step = NULL, line = NULL,"
	" \"column\" = NULL, excerpt = NULL, lease_until = NULL, installed_digest = $7, result = $8,"
	" verdict = $9::hotswap.gate_result,"
	" reported = CASE WHEN action IS NOT NULL THEN true END"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4 AND attempt = $5"
	" AND status = 'running'",
	UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID, TIMESTAMPTZOID, BYTEAOID, JSONBOID, TEXTOID);

static DbStatement update_reverted =
	DB_STATEMENT("UPDATE hotswap.task SET status = 'reverted', audited_status = status"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4"
				 " AND status = 'reverting'",
				 UUIDOID, UUIDOID, INT2OID, INT4OID);

static DbStatement lock_task = DB_STATEMENT(
	"SELECT 1 FROM hotswap.task WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3"
	" AND ordinal = $4 AND attempt = $5 AND status = 'running' FOR NO KEY UPDATE",
	UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID);

/* A version whose script outside of transactions did not come to its end, on a node that is as it was then. */
static DbStatement partial_query = DB_STATEMENT(
	"SELECT s.version, v.digest FROM hotswap.statement s JOIN hotswap.module_version v"
	" ON v.tenant_id = $1 AND v.module = $4 AND v.version = s.version"
	" WHERE s.tenant_id = $1 AND s.deployment_id = $2 AND s.node_id = $3"
	" AND s.script IN ('deploy', 'install') AND s.version <> ALL ($5)"
	" AND (s.started_at IS NOT NULL OR s.finished_at IS NOT NULL)"
	" AND s.swap = coalesce((SELECT m.swap FROM hotswap.node_module m WHERE m.tenant_id = $1"
	" AND m.node_id = $3 AND m.module = $4 ORDER BY m.swap DESC LIMIT 1), 0) LIMIT 1",
	UUIDOID, UUIDOID, UUIDOID, TEXTOID, TEXTARRAYOID);

static DbStatement latest_swap = DB_STATEMENT(
	"SELECT deployment_id FROM hotswap.node_module"
	" WHERE tenant_id = $1 AND node_id = $2 AND module = $3 ORDER BY swap DESC LIMIT 1",
	UUIDOID, UUIDOID, TEXTOID);

static DbStatement share_query = DB_STATEMENT(
	"SELECT least(10000, first_share::bigint + (greatest(wave, 1) - 1) * share_step::bigint)::integer"
	" FROM hotswap.rollout WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3"
	" AND first_share IS NOT NULL",
	UUIDOID, UUIDOID, INT2OID);

/* The rows get their swaps in the order of the steps. */
static DbStatement insert_node_module = DB_STATEMENT(
	"INSERT INTO hotswap.node_module (tenant_id, node_id, deployment_id, swapped_at, module, version,"
	" digest, step, direction, heads, brought_up) SELECT $1, $2, $3, $4, e.module, e.version, e.digest, e.step,"
	" e.direction::hotswap.step_direction, e.heads::text[], EXISTS (SELECT FROM hotswap.deployment d"
	" LEFT JOIN hotswap.deployment b ON b.tenant_id = $1 AND b.id = d.rolls_back"
	" WHERE d.tenant_id = $1 AND d.id = $3 AND 'bring_up' IN (d.kind, b.kind))"
	" FROM unnest($5, $6, $7, $8, $9, $10) e (module, version, digest, step, direction, heads)",
	UUIDOID, UUIDOID, UUIDOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID, BYTEAARRAYOID,
	TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID);

static DbStatement update_failed = DB_STATEMENT(
	"UPDATE hotswap.task SET status = $6::hotswap.task_status, audited_status = status,"
	" finished_at = $7, due_at = $8,"
	" sqlstate = $9, message = $10, detail = $11, hint = $12, context = $13, script = $14, position = $15, step = $16,"
	" line = $17, \"column\" = $18, excerpt = $19, lease_until = NULL, result = $20,"
	" reported = CASE WHEN action IS NOT NULL THEN true END"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4 AND attempt = $5"
	" AND status = 'running'",
	UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, INT4OID, INT4OID, TEXTOID,
	JSONBOID);

static void
arg_task(DbArgs *args, const TaskKey *key)
{
	db_arg_uuid(args, &key->tenant);
	db_arg_uuid(args, &key->deployment);
	db_arg_int16(args, key->stage);
	db_arg_int32(args, key->ordinal);
}

/* ---- loading ---- */

static void
read_node(TaskRun *run)
{
	DbArgs args = db_args(&load_node);

	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->node);
	if (db_run_args(&args) != 1)
		elog(ERROR, "the node has disappeared");
}

/* The search_path of the node: its schema, and others after it; NULL: as the role has it. */
static char *
node_search_path(void)
{
	char *schema = db_text(0, NODE_SCHEMA);
	bool isnull;
	Datum others = db_datum(0, NODE_SEARCH_PATH, &isnull);
	StringInfoData path;
	ListCell *cell;

	if (schema == NULL)
		return NULL;
	initStringInfo(&path);
	appendStringInfoString(&path, quote_identifier(schema));
	foreach (cell, isnull ? NIL : db_text_list(others))
		appendStringInfo(&path, ", %s", quote_identifier(lfirst(cell)));
	return path.data;
}

List *
record_modules(const TaskRun *run)
{
	return run->release ? target_modules(run->targets) : list_make1(run->module);
}

/* Other modules are looked at by what brings something: what a failure takes back goes back whatever they ask. */
static void
read_asked_for(TaskRun *run, MemoryContext context)
{
	Datum args[] = { UUIDPGetDatum(&run->key.tenant), db_text_array(record_modules(run)) };
	uint64 n;

	if (run->kind != TASK_SWAP)
		return;
	n = db_run(&asked_for_query, args, NULL);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;

		run->asked_for = list_concat(run->asked_for, db_text_list(db_datum(i, 1, &isnull)));
	}
}

/* The versions that the task is about, unless each step reads its own.  An agent has no use for their scripts. */
static void
read_versions(TaskRun *run, const char *previous)
{
	int64 limit = run->action == AGENT_NONE ? VERSION_WHOLE : -1;

	if (run->has_path || run->kind == TASK_GATE ||
		((run->is_graph || run->release) && run->kind == TASK_HOOK))
		return;
	run->version = version_read_existing(&run->key.tenant, run->module, run->target, limit);
	if (run->kind == TASK_REVERT && previous)
		run->previous = version_read_existing(&run->key.tenant, run->module, previous, limit);
}

/*
 * Inside a scope: reads the task, its version and its node into a context; false if it is not to be
 * run.
 */
static bool
read_task(TaskRun *run, MemoryContext context)
{
	DbArgs args = db_args(&load_task);
	char *previous;
	char *environment;
	bool allow_revert;
	Datum heads;
	bool isnull;

	arg_task(&args, &run->key);
	if (db_run_args(&args) == 0)
		return false;
	MemoryContextSwitchTo(context);
	run->kind = label_parse(db_text(0, LOADED_KIND), task_kind_names, TASK_KIND_COUNT);
	if (!db_isnull(0, LOADED_ACTION))
		run->action = label_parse(db_text(0, LOADED_ACTION), agent_action_names,
								  lengthof(agent_action_names));
	run->attempt = db_int32(0, LOADED_ATTEMPT);
	run->reverts = db_isnull(0, LOADED_REVERTS) ? -1 : db_int32(0, LOADED_REVERTS);
	run->has_node = !db_isnull(0, LOADED_NODE);
	if (run->has_node)
		run->node = db_uuid(0, LOADED_NODE);
	run->hook = db_text(0, LOADED_HOOK);
	run->wave = db_int32(0, LOADED_WAVE);
	run->module = db_text(0, LOADED_MODULE);
	run->target = db_text(0, LOADED_VERSION);
	run->is_graph = db_bool(0, LOADED_IS_GRAPH);
	run->is_rollback = db_bool(0, LOADED_IS_ROLLBACK);
	if (run->is_rollback)
		run->rolls_back = db_uuid(0, LOADED_ROLLS_BACK);
	run->is_rehearsal = run->kind == TASK_SWAP && db_bool(0, LOADED_IS_REHEARSAL);
	/* on a database node it is a swap that is taken back, unless versions can be beside each other */
	if (run->kind == TASK_PREPARE && run->action == AGENT_NONE && !db_bool(0, LOADED_IS_BESIDE))
	{
		run->kind = TASK_SWAP;
		run->is_rehearsal = true;
	}
	if (run->is_rehearsal)
		run->max_lock = db_int32(0, LOADED_MAX_LOCK);
	heads = db_datum(0, LOADED_HEADS, &isnull);
	run->heads = isnull ? NIL : db_text_list(heads);
	run->requested_at = db_time(0, LOADED_REQUESTED_AT, 0);
	run->release = db_text(0, LOADED_RELEASE);
	run->has_path = ((run->is_graph || run->is_rollback || run->heads != NIL) &&
					 (run->kind == TASK_SWAP || run->kind == TASK_REVERT)) ||
					(run->release && run->kind != TASK_HOOK && run->kind != TASK_GATE);
	if (db_digest(0, LOADED_PLAN_DIGEST, run->plan_digest))
		run->swap_from = db_int64(0, LOADED_SWAP_FROM);
	previous = db_text(0, LOADED_PREVIOUS_VERSION);
	environment = db_text(0, LOADED_ENVIRONMENT);
	allow_revert = db_bool(0, LOADED_ALLOW_REVERT);
	if (run->has_node)
	{
		read_node(run);
		MemoryContextSwitchTo(context);
		run->node_name = db_text(0, NODE_NAME);
		run->search_path = node_search_path();
		run->environment = db_text(0, NODE_ENVIRONMENT);
		run->is_target = strcmp(run->environment, environment) == 0;
		run->take_down = allow_revert && run->is_target;
	}
	if (run->release)
		run->targets = release_targets(&run->key.tenant, run->release);
	MemoryContextSwitchTo(context);
	read_asked_for(run, context);
	read_versions(run, previous);
	return true;
}

/* Reads the task into the current context and checks its scripts; false if it is not to be run. */
bool
record_load(TaskRun *run)
{
	DbScope scope;
	bool found;

	db_enter(&scope);
	found = read_task(run, scope.context);
	db_leave(&scope);
	if (!found)
		return false;
	if (run->action != AGENT_NONE)
		return true;
	if (run->version)
		version_require_intact(run->version);
	if (run->previous && run->version &&
		(run->version->is_routed || run->version->scripts[SCRIPT_REVERT] == NULL))
		version_require_intact(run->previous);
	return true;
}

/* ---- the path ---- */

/* The steps that this deployment has done before; complete versions have no piece that is not the last. */
static List *
done_steps(const TaskRun *run)
{
	if (!run->is_graph || run->heads != NIL)
		return NIL; /* so it is with a release, too */
	return plan_done(&run->key.tenant, &run->node, run->module, &run->key.deployment,
					 run->swap_from);
}

void
record_refuse_blocked(const NodePlan *plan)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg_internal("%s", plan->reason),
			 plan->hint ? errhint("%s", plan->hint) : 0));
}

/* What the stage has planned is for this node, and what is held may come. */
static List *
plan_release(const TaskRun *run)
{
	Datum node = UUIDPGetDatum(&run->node);
	PlanRequest request = { .tenant = &run->key.tenant,
							.release = run->release,
							.targets = run->targets,
							.environment = run->environment,
							.is_target = run->is_target,
							.allow_revert = run->take_down,
							.reapply = true,
							.nodes = uuid_array(&node, 1) };

	return plan_environment(&request);
}

static List *
left_steps(const TaskRun *run)
{
	List *plans;
	NodePlan *plan;

	if (!run->is_rollback && run->heads == NIL && run->release == NULL)
		return plan_remaining(&run->key.tenant, &run->node, run->module, run->target,
							  run->take_down);
	if (run->is_rollback)
		plans = plan_rollback(&run->key.tenant, &run->rolls_back, &run->node);
	else if (run->release)
		plans = plan_release(run);
	else
		plans = plan_declaration(&run->key.tenant, run->module, &run->node, run->heads,
								 run->requested_at);
	plan = plans == NIL ? NULL : linitial(plans);
	if (plan && plan->outcome == NODE_BLOCKED)
		record_refuse_blocked(plan);
	return plan ? plan->steps : NIL;
}

/* What is left of the steps that were planned; they must still be the same. */
static List *
remaining_steps(const TaskRun *run)
{
	List *done = done_steps(run);
	List *left = left_steps(run);
	uint8 digest[DIGEST_LENGTH];

	plan_digest(list_concat(done, left), digest);
	if (memcmp(digest, run->plan_digest, DIGEST_LENGTH) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("node \"%s\" is not as it was when its steps were planned", run->node_name),
				 errhint("Use hotswap.retry() to have them planned again.")));
	return left;
}

/*
 * Inside a scope: what takes back a script outside of transactions that did not come to its end; NULL: there is
 * none.  What is being deployed by these versions' own steps is not meant.
 */
static Step *
partial_step(const TaskRun *run, List *versions)
{
	MemoryContext context = CurrentMemoryContext;
	DbArgs args = db_args(&partial_query);
	Step *step = NULL;

	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->key.deployment);
	db_arg_uuid(&args, &run->node);
	db_arg_text(&args, run->module);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(versions), false);
	if (db_run_args(&args) > 0)
	{
		MemoryContextSwitchTo(context);
		step = palloc0(sizeof(Step));
		step->module = run->module;
		step->version = db_text(0, 1);
		step->direction = STEP_DOWN;
		(void) db_digest(0, 2, step->digest);
		step->is_partial = step->is_graph = true;
	}
	MemoryContextSwitchTo(context);
	return step;
}

/* Has a version been deployed in part only? */
bool
record_is_partial(const TaskRun *run)
{
	DbScope scope;
	bool result;

	db_enter(&scope);
	result = partial_step(run, run->previous ? list_make1(run->previous->name) : NIL) != NULL;
	db_leave(&scope);
	return result;
}

/* What takes back a release; who has been there since is not undone. */
static List *
release_back(const TaskRun *run)
{
	const NodePlan *p =
		plan_undo(&run->key.tenant, &run->key.deployment, &run->node, run->swap_from);

	if (p->outcome == NODE_BLOCKED)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("release \"%s\" cannot be reverted: %s", run->release, p->reason)));
	return p->steps;
}

/* The verify scripts of the versions of a release. */
static List *
release_verify(const TaskRun *run)
{
	List *steps = NIL;
	ListCell *cell;

	foreach (cell, run->targets)
	{
		const PlanTarget *target = lfirst(cell);
		const Version *v =
			version_read_existing(&run->key.tenant, target->module, target->version, 0);
		Step *step = palloc0(sizeof(Step));

		step->module = target->module;
		step->version = target->version;
		step->direction = STEP_DECLARED;
		step->transactional = true;
		memcpy(step->digest, v->digest, DIGEST_LENGTH);
		if (v->has_verify)
			steps = lappend(steps, step);
	}
	return steps;
}

/* What takes back what the deployment has done. */
static List *
steps_back(const TaskRun *run)
{
	Datum id = UUIDPGetDatum(&run->key.deployment);
	List *steps =
		plan_back(&run->key.tenant, &run->node, run->module, uuid_array(&id, 1), run->swap_from);
	Step *partial = partial_step(run, plan_versions(steps));
	List *missing;

	if (partial)
		steps = lcons(partial, steps);
	missing = run->action == AGENT_NONE ? plan_missing_reverts(&run->key.tenant, steps) : NIL;

	if (missing != NIL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("version \"%s\" of module \"%s\" cannot be reverted",
							   (char *) linitial(missing), run->module),
						errdetail("It has no revert script.")));
	return steps;
}

/* Under the lock of the lane, in each transaction: which steps are left, and which of them are done now. */
void
record_plan(TaskRun *run)
{
	DbScope scope;
	ListCell *cell;

	db_enter(&scope);
	MemoryContextSwitchTo(scope.context);
	if (run->kind == TASK_VERIFY)
		run->path = release_verify(run);
	else if (run->kind == TASK_SWAP)
		run->path = remaining_steps(run);
	else
		run->path = run->release ? release_back(run) : steps_back(run);
	db_leave(&scope);
	run->piece = 0;
	foreach (cell, run->path)
	{
		if (!((Step *) lfirst(cell))->transactional)
			break;
		run->piece++;
	}
	if (run->piece == 0 && run->path != NIL)
		run->piece = 1;
	/* an agent takes them all at once */
	if (run->action != AGENT_NONE)
		run->piece = list_length(run->path);
}

/* Reads the version of a step into the current context; what runs must be what was planned. */
Version *
record_read_step(const TaskRun *run, const Step *step)
{
	DbScope scope;
	Version *version;
	uint8 digest[DIGEST_LENGTH];

	db_enter(&scope);
	MemoryContextSwitchTo(scope.context);
	version = version_read_existing(&run->key.tenant, step->module, step->version, VERSION_WHOLE);
	db_leave(&scope);
	version_require_intact(version);
	if (step->direction == STEP_INSTALL)
		digest_installer(version->digest, version->scripts[SCRIPT_INSTALL], digest);
	else
		memcpy(digest, version->digest, DIGEST_LENGTH);
	if (memcmp(digest, step->digest, DIGEST_LENGTH) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("version \"%s\" of module \"%s\" is not the one that was planned",
							   step->version, step->module)));
	return version;
}

/* ---- recording ---- */

/* A row for each step, in their order. */
static void
record_steps(const TaskRun *run, List *steps, int count, TimestampTz now)
{
	static const Oid types[] = { TEXTOID, TEXTOID, BYTEAOID, TEXTOID, TEXTOID, TEXTOID };
	Columns *rows = columns_make(types, lengthof(types));
	DbArgs args = db_args(&insert_node_module);

	for (int i = 0; i < count; i++)
	{
		const Step *step = list_nth(steps, i);
		char *version = step->heads != NIL ? llast(step->heads) : NULL;

		columns_add_row(rows);
		columns_put_text(rows, 0, step->module);
		columns_put_text(rows, 1, version);
		columns_put(rows, 2, digest_datum(step->head_digest), version == NULL);
		columns_put_text(rows, 3, step->version);
		columns_put_text(rows, 4, step_direction_names[step->direction]);
		columns_put_text(rows, 5,
						 step->is_graph ?
							 OidOutputFunctionCall(F_ARRAY_OUT, db_text_array(step->heads)) :
							 NULL);
	}
	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->node);
	db_arg_uuid(&args, &run->key.deployment);
	db_arg_time(&args, now);
	for (int i = 0; i < rows->ncolumns; i++)
		db_arg_datum(&args, get_array_type(types[i]), columns_array(rows, i), false);
	(void) db_run_args(&args);
}

/* The step that a swap or revert of a complete version is. */
static Step *
complete_step(const TaskRun *run)
{
	bool reverts = run->kind == TASK_REVERT;
	const Version *after = reverts ? run->previous : run->version;
	bool down = reverts && (after == NULL ||
							(!run->version->is_routed && run->version->scripts[SCRIPT_REVERT]));
	Step *step = palloc0(sizeof(Step));

	step->module = run->module;
	step->version = down || after == NULL ? run->target : after->name;
	step->direction = down ? STEP_DOWN : STEP_UP;
	if (after)
	{
		step->heads = list_make1(after->name);
		memcpy(step->head_digest, after->digest, DIGEST_LENGTH);
	}
	return step;
}

static void
record_swap(const TaskRun *run, TimestampTz now)
{
	if (!run->has_path)
		record_steps(run, list_make1(complete_step(run)), 1, now);
	else if (run->piece > 0 && !((Step *) linitial(run->path))->is_partial)
		record_steps(run, run->path, run->piece, now);
}

/* The part of the callers that get what a wave of its rollout brings; ROUTE_ALL: all of them. */
static int
share_of_wave(const TaskRun *run)
{
	DbArgs args = db_args(&share_query);

	if (run->kind != TASK_SWAP || run->release)
		return ROUTE_ALL;
	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->key.deployment);
	db_arg_int16(&args, run->key.stage);
	return db_run_args(&args) > 0 ? db_int32(0, 1) : ROUTE_ALL;
}

/*
 * The last thing of all: who changes the route after it waits for the commit.  Nobody is sent to what is installed
 * beside, or was rehearsed, and is not there any more.
 */
static void
record_routes(TaskRun *run)
{
	bool is_called = run->kind != TASK_PREPARE && !run->is_rehearsal;
	List *routes = is_called ? run->routes : NIL;
	ListCell *cell;

	foreach (cell, routes)
	{
		const RouteChange *change = lfirst(cell);
		RingKey key = { &run->key.tenant, &run->node, change->module };
		int share = share_of_wave(run);
		const RingSlot *other = share < ROUTE_ALL ? ring_current(&key) : NULL;

		if (other && other->generation != change->slot->generation)
			ring_share(&key, change->slot, other, share, NIL, &run->key.deployment);
		else
			ring_activate(&key, change->slot, &run->key.deployment);
	}
	run->routes = NIL;
}

static void
mark_reverted(const TaskRun *run)
{
	DbArgs args = db_args(&update_reverted);
	TaskKey swap = run->key;

	swap.ordinal = run->reverts;
	arg_task(&args, &swap);
	if (db_run_args(&args) != 1)
		elog(ERROR, "the swap to be reverted is not there");
}

/* Is the deployment being cancelled?  Waits for nobody. */
static bool
is_cancelled(const TaskRun *run)
{
	DbArgs args = db_args(&read_deployment);

	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->key.deployment);
	return db_run_args(&args) == 1 && db_bool(0, 2) &&
		   machine_parse(&deployment_machine, db_text(0, 1)) == DEPLOYMENT_RUNNING;
}

static void
require_mine(uint64 nrows)
{
	if (nrows != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("task no longer belongs to this executor")));
}

static void
begin_record(DbScope *scope, const TaskRun *run)
{
	db_enter(scope);
	/* whatever the script has made of it */
	db_limit_lock_wait(hotswap_lock_timeout);
	if (is_cancelled(run))
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("deployment was cancelled")));
}

/*
 * In a transaction: raises 55000 if the task is not this executor's any more, and 57014, where that shall count,
 * if the deployment is being cancelled.
 */
void
record_require_running(const TaskRun *run, bool cancel)
{
	DbScope scope;
	DbArgs args = db_args(&lock_task);

	db_enter(&scope);
	db_limit_lock_wait(hotswap_lock_timeout);
	if (cancel && is_cancelled(run))
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("deployment was cancelled")));
	arg_task(&args, &run->key);
	db_arg_int32(&args, run->attempt);
	require_mine(db_run_args(&args));
	db_leave(&scope);
}

/* In the transaction of a piece that is not the last: its steps, or an error that undoes them. */
void
record_piece(TaskRun *run)
{
	DbScope scope;
	DbArgs args = db_args(&lock_task);

	begin_record(&scope, run);
	arg_task(&args, &run->key);
	db_arg_int32(&args, run->attempt);
	require_mine(db_run_args(&args));
	record_swap(run, GetCurrentTimestamp());
	record_routes(run);
	db_leave(&scope);
}

/* In the transaction of the scripts: success, or an error that undoes them. */
void
record_success(TaskRun *run)
{
	TimestampTz now = GetCurrentTimestamp();
	DbScope scope;
	DbArgs args = db_args(&update_succeeded);

	begin_record(&scope, run);
	arg_task(&args, &run->key);
	db_arg_int32(&args, run->attempt);
	db_arg_time(&args, now);
	db_arg_digest(&args, NULL);
	db_arg_jsonb(&args, NULL);
	db_arg_text(&args, run->verdict);
	require_mine(db_run_args(&args));
	if ((run->kind == TASK_SWAP && !run->is_rehearsal) || run->kind == TASK_REVERT)
		record_swap(run, now);
	if (run->kind == TASK_REVERT)
		mark_reverted(run);
	record_routes(run);
	db_leave(&scope);
}

/* Which deployment has changed the module on the node last; false: none has, or it was declared. */
bool
record_latest(const TaskRun *run, pg_uuid_t *deployment)
{
	DbArgs args = db_args(&latest_swap);
	DbScope scope;
	bool found;

	db_enter(&scope);
	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->node);
	db_arg_text(&args, run->module);
	found = db_run_args(&args) > 0 && !db_isnull(0, 1);
	if (found)
		*deployment = db_uuid(0, 1);
	db_leave(&scope);
	return found;
}

/* Is there a swap to be recorded?  What an agent takes back it may not have done, or not have said so. */
static bool
is_swap(const TaskRun *run)
{
	pg_uuid_t latest;

	if (run->action == AGENT_UNINSTALL)
		return false;
	if (run->kind == TASK_REVERT)
		return record_latest(run, &latest) && uuid_equal(&latest, &run->key.deployment);
	return run->kind == TASK_SWAP;
}

/* In the transaction of an agent that has done a task and has its lock. */
void
record_agent_success(TaskRun *run, const AgentReport *report)
{
	TimestampTz now = GetCurrentTimestamp();
	DbScope scope;
	DbArgs args = db_args(&update_succeeded);
	bool is_recorded = is_swap(run);

	if (run->has_path && run->action != AGENT_UNINSTALL)
		record_plan(run);
	db_enter(&scope);
	arg_task(&args, &run->key);
	db_arg_int32(&args, run->attempt);
	db_arg_time(&args, now);
	db_arg_digest(&args, report->is_installed ? report->digest : NULL);
	db_arg_jsonb(&args, report->details);
	db_arg_text(&args, NULL);
	require_mine(db_run_args(&args));
	if (is_recorded)
		record_swap(run, now);
	if (run->kind == TASK_REVERT)
		mark_reverted(run);
	db_leave(&scope);
}

/*
 * May the next attempt succeed?  A revert is waited for longer: where it is given up, the node is left
 * with what should not be there.
 */
static bool
worth_another(const TaskRun *run, const Failure *failure)
{
	int code = failure->sqlerrcode;

	/* outside of transactions each statement has its own attempts */
	if ((run->statement_number > 0 ? run->statement_attempts + 1 : run->attempt) >=
			hotswap_retry_limit ||
		run->in_doubt)
		return false;
	return failure->collided || backoff_is_transient(code) || backoff_is_listed(code) ||
		   (run->kind == TASK_REVERT && backoff_is_shortage(code));
}

/* What the failure means for the task. */
static TaskEvent
judge(const TaskRun *run, const Failure *failure, bool cancelled, TimestampTz now, TimestampTz *due)
{
	if ((cancelled || failure->sqlerrcode == ERRCODE_QUERY_CANCELED) && is_cancelled(run))
		return TASK_CANCEL;
	if (!worth_another(run, failure))
		return TASK_FAIL;
	*due = TimestampTzPlusMilliseconds(now, backoff_retry_delay(run->attempt));
	return TASK_RETRY_LATER;
}

static void
record_end(TaskRun *run, const Failure *failure, bool cancelled, Jsonb *details)
{
	const ScriptPlace *place = &failure->place;
	DbScope scope;
	DbArgs args = db_args(&update_failed);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = TIME_NULL;
	TaskStatus after;

	db_enter(&scope);
	db_limit_lock_wait(hotswap_lock_timeout);
	after = machine_next(&task_machine, TASK_RUNNING, judge(run, failure, cancelled, now, &due));
	arg_task(&args, &run->key);
	db_arg_int32(&args, run->attempt);
	db_arg_text(&args, task_machine.statuses[after]);
	db_arg_time(&args, now);
	db_arg_time(&args, due);
	db_arg_text(&args, unpack_sql_state(failure->sqlerrcode));
	db_arg_text(&args, failure->message);
	db_arg_text(&args, failure->detail);
	db_arg_text(&args, failure->hint);
	db_arg_text(&args, failure->context);
	db_arg_text(&args, run->script);
	db_arg_datum(&args, INT4OID, Int32GetDatum(place->position), place->position == 0);
	db_arg_text(&args, failure->step);
	db_arg_datum(&args, INT4OID, Int32GetDatum(place->line), place->position == 0);
	db_arg_datum(&args, INT4OID, Int32GetDatum(place->column), place->position == 0);
	db_arg_text(&args, place->excerpt);
	db_arg_jsonb(&args, details);
	(void) db_run_args(&args);
	db_leave(&scope);
}

/* In a new transaction.  A task that is not this executor's any more stays as it is. */
void
record_failure(TaskRun *run, const Failure *failure, bool cancelled)
{
	record_end(run, failure, cancelled, NULL);
}

/* In the transaction of an agent that has its lock: it could not do the task, or did something else. */
void
record_agent_failure(TaskRun *run, char *message, const AgentReport *report)
{
	Failure failure = { .sqlerrcode = ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, .message = message };

	record_end(run, &failure, true, report->details);
}
