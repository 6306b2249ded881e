/*
 * stage.c
 *		What each stage of the pipeline does when it starts: it succeeds, is skipped, fails there
 *		and then, or has tasks.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/subxact.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "module/examination.h"
#include "module/scan.h"
#include "pipeline/stage.h"
#include "pipeline/strategy.h"
#include "utils/builtins.h"

static DbStatement nodes_query = DB_STATEMENT(
	"SELECT n.id, n.name, m.version, m.digest = v.digest AND m.version = v.version, e.strategy,"
	" e.require_signature, m.deployment_id"
	" FROM hotswap.node n"
	" JOIN hotswap.environment e ON e.tenant_id = n.tenant_id AND e.name = n.environment"
	" JOIN hotswap.module_version v ON v.tenant_id = $1 AND v.module = $3 AND v.version = $4"
	" LEFT JOIN LATERAL (SELECT nm.version, nm.digest, nm.deployment_id FROM hotswap.node_module nm"
	" WHERE nm.tenant_id = n.tenant_id AND nm.node_id = n.id AND nm.module = $3"
	" ORDER BY nm.swap DESC LIMIT 1) m ON true"
	" WHERE n.tenant_id = $1 AND n.environment = $2 AND n.removed_at IS NULL ORDER BY n.name",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

enum
{
	NODE_ID = 1,
	NODE_NAME,
	NODE_RUNS,
	NODE_RUNS_THE_SAME,
	NODE_STRATEGY,
	NODE_REQUIRE_SIGNATURE,
	NODE_SWAPPED_BY
};

static DbStatement hooks_query = DB_STATEMENT(
	"SELECT function FROM hotswap.hook WHERE tenant_id = $1 AND stage = $2 AND module IN ('', $3)"
	" ORDER BY module, function",
	UUIDOID, TEXTOID, TEXTOID);

/*
 * Scripts that together have more bytes than this are not read by the dispatcher, which works for everybody.
 */
#define SCRIPTS_LIMIT (64 * 1024)

/* The version, which is read once in a visit. */
static Version *
version_of(Visit *v)
{
	if (v->version == NULL)
		v->version = version_read_existing(&v->d.tenant, v->d.module, v->d.version, SCRIPTS_LIMIT);
	return v->version;
}

/*
 * build: does every script parse on this server?  What was found in them when they were published, or the
 * deployment requested, says so; it is missing only where they have changed, or the server has since.
 */
static void
start_build(Visit *v)
{
	Version *version = version_of(v);

	if (version->findings == NULL)
	{
		version_read_scripts(&v->d.tenant, version);
		(void) examine_scripts(version->scripts, true);
	}
	stage_apply(v->stage, STAGE_SUCCEED, NULL);
}

/* scan: may these scripts go all the way? */
static void
start_scan(Visit *v)
{
	stage_apply(v->stage, STAGE_SUCCEED, scan_version(&v->d.tenant, version_of(v), visit_path(v)));
}

static int
add_hooks(Visit *v)
{
	Datum args[] = { UUIDPGetDatum(&v->d.tenant),
					 CStringGetTextDatum(stage_kind_names[v->stage->kind]),
					 CStringGetTextDatum(v->d.module) };
	uint64 n = db_run(&hooks_query, args, NULL);

	for (uint64 i = 0; i < n; i++)
		steps_add_task(&v->tasks, v->stage, TASK_HOOK)->hook = db_text(i, 1);
	return (int) n;
}

/* test: the user's hooks */
static void
start_test(Visit *v)
{
	if (add_hooks(v) == 0)
		stage_apply(v->stage, STAGE_SKIP, "no test hook is registered");
}

static uint64
query_nodes(Visit *v, const char *environment)
{
	DbArgs args = db_args(&nodes_query);

	db_arg_uuid(&args, &v->d.tenant);
	db_arg_text(&args, environment);
	db_arg_text(&args, v->d.module);
	db_arg_text(&args, v->d.version);
	return db_run_args(&args);
}

/* deploy: a swap for each node that does not run the version already */
static void
start_deploy(Visit *v)
{
	uint64 n = v->without_nodes ? 0 : query_nodes(v, v->stage->environment);
	bool is_target = strcmp(v->stage->environment, v->d.environment) == 0;
	bool requires_signature = n > 0 && db_bool(0, NODE_REQUIRE_SIGNATURE);
	int to_do = 0;

	if (n == 0 && is_target)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("environment \"%s\" has no nodes", v->stage->environment),
						errhint("Add one with hotswap.register_node().")));
	if (n == 0)
	{
		stage_apply(v->stage, STAGE_SKIP, "the environment has no nodes");
		return;
	}
	for (uint64 i = 0; i < n; i++)
	{
		Task *task = steps_add_task(&v->tasks, v->stage, TASK_SWAP);

		task->has_node = true;
		task->node = db_uuid(i, NODE_ID);
		task->previous_version = db_text(i, NODE_RUNS);
		task->wave = strategy_wave(strategy_parse(db_text(i, NODE_STRATEGY)), (int) i, (int) n);
		if (!db_isnull(i, NODE_RUNS_THE_SAME) && db_bool(i, NODE_RUNS_THE_SAME))
		{
			pg_uuid_t by = db_uuid(i, NODE_SWAPPED_BY);

			task->message = psprintf("node \"%s\" already runs version \"%s\" from deployment %s",
									 db_text(i, NODE_NAME), v->d.version, uuid_text(&by));
			task_apply(task, TASK_SKIP);
		}
		else
			to_do++;
	}
	if (to_do == 0)
		stage_apply(v->stage, STAGE_SKIP,
					psprintf("every node already runs version \"%s\"", v->d.version));
	else if (requires_signature)
		scan_signature(&v->d.tenant, version_of(v), v->stage->environment);
}

/* validate: the verify script on every node of the target, and the user's hooks */
static void
start_validate(Visit *v)
{
	uint64 n;
	bool has_verify = version_of(v)->has_verify;

	n = has_verify ? query_nodes(v, v->d.environment) : 0;
	for (uint64 i = 0; i < n; i++)
	{
		Task *task = steps_add_task(&v->tasks, v->stage, TASK_VERIFY);

		task->has_node = true;
		task->node = db_uuid(i, NODE_ID);
	}
	if (add_hooks(v) + n == 0)
		stage_apply(v->stage, STAGE_SKIP, "there is no verify script and no validate hook");
}

static void
begin_stage(void *arg)
{
	Visit *v = arg;

	switch (v->stage->kind)
	{
		case STAGE_BUILD:
			start_build(v);
			break;
		case STAGE_SCAN:
			start_scan(v);
			break;
		case STAGE_TEST:
			start_test(v);
			break;
		case STAGE_DEPLOY:
			start_deploy(v);
			break;
		case STAGE_VALIDATE:
			start_validate(v);
			break;
	}
}

/* Starts a stage; what goes wrong is the stage's failure and is returned. */
ErrorData *
stage_start(Visit *v)
{
	ErrorData *error;

	v->tasks = NIL;
	stage_apply(v->stage, STAGE_START, NULL);
	error = subxact_run(begin_stage, v);
	if (error && backoff_is_outside(error->sqlerrcode))
		ReThrowError(error);
	return error;
}
