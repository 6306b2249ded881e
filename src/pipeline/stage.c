/*
 * stage.c
 *		What each stage of the pipeline does when it starts: it succeeds, is skipped, fails there and
 * then, or has tasks.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/subxact.h"
#include "catalog/pg_type.h"
#include "pipeline/gate.h"
#include "pipeline/strategy.h"
#include "pipeline/visit.h"
#include "utils/builtins.h"

static DbStatement nodes_query = DB_STATEMENT(
	"SELECT n.id, n.name, m.version, m.digest = v.digest AND m.version = v.version, e.strategy,"
	" e.require_signature"
	" FROM hotswap.node n"
	" JOIN hotswap.environment e ON e.tenant_id = n.tenant_id AND e.name = n.environment"
	" JOIN hotswap.module_version v ON v.tenant_id = $1 AND v.module = $3 AND v.version = $4"
	" LEFT JOIN LATERAL (SELECT nm.version, nm.digest FROM hotswap.node_module nm"
	" WHERE nm.tenant_id = n.tenant_id AND nm.node_id = n.id AND nm.module = $3"
	" ORDER BY nm.swap DESC LIMIT 1) m ON true"
	" WHERE n.tenant_id = $1 AND n.environment = $2 AND n.removed_at IS NULL ORDER BY n.name",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

static DbStatement hooks_query = DB_STATEMENT(
	"SELECT function FROM hotswap.hook WHERE tenant_id = $1 AND stage = $2 AND module IN ('', $3)"
	" ORDER BY module, function",
	UUIDOID, TEXTOID, TEXTOID);

/* The scripts, which are read once in a visit. */
static VersionScripts *
scripts_of(Walk *w)
{
	if (w->scripts == NULL)
		w->scripts = scan_read(&w->d.tenant, w->d.module, w->d.version);
	if (w->scripts == NULL)
		elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", w->d.version, w->d.module);
	return w->scripts;
}

/* build: does every script parse on this server? */
static void
start_build(Walk *w)
{
	VersionScripts *scripts = scripts_of(w);

	for (int i = 0; i < SCRIPT_COUNT; i++)
		if (scripts->sql[i])
			script_check(script_labels[i], scripts->sql[i]);
	stage_apply(w->stage, STAGE_SUCCEED, NULL);
}

/* scan: may these scripts go all the way? */
static void
start_scan(Walk *w)
{
	stage_apply(w->stage, STAGE_SUCCEED, scan_version(&w->d, scripts_of(w), gate_path(w)));
}

static int
add_hooks(Walk *w)
{
	Datum args[] = { UUIDPGetDatum(&w->d.tenant),
					 CStringGetTextDatum(stage_kind_names[w->stage->kind]),
					 CStringGetTextDatum(w->d.module) };
	uint64 n = db_run(&hooks_query, args, NULL);

	for (uint64 i = 0; i < n; i++)
		plan_add_task(&w->tasks, w->stage, TASK_HOOK)->hook = db_text(i, 1);
	return (int) n;
}

/* test: the user's hooks */
static void
start_test(Walk *w)
{
	if (add_hooks(w) == 0)
		stage_apply(w->stage, STAGE_SKIP, "no test hook is registered");
}

static uint64
query_nodes(Walk *w, const char *environment)
{
	Datum args[] = { UUIDPGetDatum(&w->d.tenant), CStringGetTextDatum(environment),
					 CStringGetTextDatum(w->d.module), CStringGetTextDatum(w->d.version) };

	return db_run(&nodes_query, args, NULL);
}

/* deploy: a swap for each node that does not run the version already */
static void
start_deploy(Walk *w)
{
	uint64 n = query_nodes(w, w->stage->environment);
	bool is_target = strcmp(w->stage->environment, w->d.environment) == 0;
	bool requires_signature = n > 0 && db_bool(0, 6);
	int to_do = 0;

	if (n == 0 && is_target)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("environment \"%s\" has no nodes", w->stage->environment),
						errhint("Nodes are added by hotswap.register_node().")));
	if (n == 0)
	{
		stage_apply(w->stage, STAGE_SKIP, "the environment has no nodes");
		return;
	}
	for (uint64 i = 0; i < n; i++)
	{
		Task *task = plan_add_task(&w->tasks, w->stage, TASK_SWAP);

		task->has_node = true;
		task->node = db_uuid(i, 1);
		task->previous_version = db_text(i, 3);
		task->wave = strategy_wave(strategy_parse(db_text(i, 5)), (int) i, (int) n);
		if (!db_isnull(i, 4) && db_bool(i, 4))
		{
			task->message =
				psprintf("node \"%s\" already runs version \"%s\"", db_text(i, 2), w->d.version);
			task_apply(task, TASK_SKIP);
		}
		else
			to_do++;
	}
	if (to_do == 0)
		stage_apply(w->stage, STAGE_SKIP,
					psprintf("every node already runs version \"%s\"", w->d.version));
	else if (requires_signature)
		scan_signature(&w->d, scripts_of(w), w->stage->environment);
}

/* validate: the verify script on every node of the target, and the user's hooks */
static void
start_validate(Walk *w)
{
	uint64 n;
	bool has_verify = scripts_of(w)->sql[SCRIPT_VERIFY] != NULL;

	n = has_verify ? query_nodes(w, w->d.environment) : 0;
	for (uint64 i = 0; i < n; i++)
	{
		Task *task = plan_add_task(&w->tasks, w->stage, TASK_VERIFY);

		task->has_node = true;
		task->node = db_uuid(i, 1);
	}
	if (add_hooks(w) + n == 0)
		stage_apply(w->stage, STAGE_SKIP, "there is no verify script and no validate hook");
}

static void
begin_stage(void *arg)
{
	Walk *w = arg;

	switch (w->stage->kind)
	{
		case STAGE_BUILD:
			start_build(w);
			break;
		case STAGE_SCAN:
			start_scan(w);
			break;
		case STAGE_TEST:
			start_test(w);
			break;
		case STAGE_DEPLOY:
			start_deploy(w);
			break;
		case STAGE_VALIDATE:
			start_validate(w);
			break;
	}
}

/* Starts a stage; what goes wrong is the stage's failure and is returned. */
ErrorData *
stage_start(Walk *w)
{
	ErrorData *error;

	w->tasks = NIL;
	stage_apply(w->stage, STAGE_START, NULL);
	error = subxact_run(begin_stage, w);
	if (error && backoff_is_outside(error->sqlerrcode))
		ReThrowError(error);
	return error;
}
