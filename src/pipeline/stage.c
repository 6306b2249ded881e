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
#include "base/kept.h"
#include "base/subxact.h"
#include "catalog/pg_type.h"
#include "core/plan.h"
#include "core/rehearsal_right.h"
#include "core/release.h"
#include "deployment/rollout_row.h"
#include "module/examination.h"
#include "module/scan.h"
#include "pipeline/held.h"
#include "pipeline/stage.h"
#include "pipeline/task_set.h"
#include "pipeline/waves.h"
#include "utils/builtins.h"

static DbStatement hooks_query =
	DB_STATEMENT("SELECT function FROM hotswap.hook WHERE tenant_id = $1 AND stage = $2"
				 " AND (module = '' OR module = ANY ($3)) GROUP BY function"
				 " ORDER BY pg_catalog.min(module), function",
				 UUIDOID, TEXTOID, TEXTARRAYOID);

static Kept hooks = KEPT(hooks_query, "hook");

/*
 * Scripts that together have more bytes than this are not read by the dispatcher, which works for everybody.
 */
#define SCRIPTS_LIMIT (64 * 1024)

/* The versions, which are read once in a visit: one, or those of a release. */
static List *
versions_of(Visit *v)
{
	ListCell *cell;

	if (v->versions == NIL)
		foreach (cell, deployment_targets(&v->d))
		{
			const PlanTarget *target = lfirst(cell);

			v->versions =
				lappend(v->versions, version_read_existing(&v->d.tenant, target->module,
														   target->version, SCRIPTS_LIMIT));
		}
	return v->versions;
}

/*
 * build: does every script parse on this server?  What was found in them when they were published, or the
 * deployment requested, says so; it is missing only where they have changed, or the server has since.
 */
static void
start_build(Visit *v)
{
	ListCell *cell;

	foreach (cell, versions_of(v))
	{
		Version *version = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (version->findings)
			continue;
		version_read_scripts(&v->d.tenant, version);
		(void) examine_scripts(version, EXAMINE_REFUSE);
	}
	stage_apply(v->stage, STAGE_SUCCEED, NULL);
}

/* Where an environment requires signatures, the installers that a node begins with have one, too. */
static void
scan_installers(Visit *v, const NodePlan *p, const char *environment)
{
	ListCell *cell;

	foreach (cell, p->require_signature ? p->steps : NIL)
	{
		const Step *step = lfirst(cell);

		if (step->direction == STEP_INSTALL)
			scan_installer(&v->d.tenant, step->module, step->version, environment);
	}
}

/* The versions of a module whose scripts are among steps. */
static List *
versions_of_module(List *steps, const char *module)
{
	List *versions = NIL;
	ListCell *cell;

	foreach (cell, steps)
	{
		const Step *step = lfirst(cell);

		if (strcmp(step->module, module) == 0)
			versions = lappend(versions, step->version);
	}
	return versions;
}

/* Of what a node is declared to run, the verify scripts are run, and nothing else. */
static void
scan_declared(Visit *v, const NodePlan *p, char *environment)
{
	ListCell *cell;

	foreach (cell, p->steps)
	{
		const Step *step = lfirst(cell);
		Version *version =
			version_read_existing(&v->d.tenant, step->module, step->version, SCRIPTS_LIMIT);

		if (p->require_signature)
			scan_signature(&v->d.tenant, version, environment);
		scan_verify(&v->d.tenant, version, environment);
	}
}

/* Scans what the nodes of an environment would run on their way to the version, each version once. */
static void
scan_plans(Visit *v, List *plans, char *environment)
{
	List *steps = NIL;
	ListCell *cell;

	/* without a wait in between, the stage scan has done it */
	if (plans == v->scanned)
		return;
	v->scanned = plans;
	if (v->d.kind == KIND_DECLARE)
	{
		scan_declared(v, linitial(plans), environment);
		return;
	}
	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);
		ListCell *s;

		if (p->outcome != NODE_RUNS)
			continue;
		scan_installers(v, p, environment);
		/* a complete version is the deployment's own, which is scanned, unless it goes back to one */
		foreach (s, p->steps)
			if (((Step *) lfirst(s))->is_graph || v->d.kind == KIND_ROLLBACK)
				steps = lappend(steps, lfirst(s));
	}
	foreach (cell, target_modules(deployment_targets(&v->d)))
		scan_steps(&v->d.tenant, lfirst(cell), versions_of_module(steps, lfirst(cell)),
				   environment);
}

/* scan: may these scripts go all the way, and those of the versions that lead there? */
static void
start_scan(Visit *v)
{
	List *path = visit_path(v);
	StringInfoData message;
	bool any_graph = false;
	ListCell *cell;

	initStringInfo(&message);
	foreach (cell, versions_of(v))
	{
		Version *version = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (v->d.release)
			appendStringInfo(&message, "%s%s ", message.len > 0 ? "; " : "", version->module);
		appendStringInfoString(&message, scan_version(&v->d.tenant, version, path));
		any_graph = any_graph || version->is_graph;
	}
	if (any_graph)
		foreach (cell, path)
			scan_plans(v, visit_plan_of(v, lfirst(cell)), lfirst(cell));
	stage_apply(v->stage, STAGE_SUCCEED, message.data);
}

static int
add_hooks(Visit *v)
{
	Datum args[] = { UUIDPGetDatum(&v->d.tenant),
					 CStringGetTextDatum(stage_kind_names[v->stage->kind]),
					 db_text_array(target_modules(deployment_targets(&v->d))) };
	uint64 n = kept_run(&hooks, args);

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

/* Refuses a plan that a node has no way for, before anything is touched. */
static void
require_unblocked(Visit *v, List *plans)
{
	StringInfoData words;
	const char *hint = NULL;
	ListCell *cell;

	initStringInfo(&words);
	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);

		if (p->outcome != NODE_BLOCKED)
			continue;
		appendStringInfo(&words, "%s%s", words.len > 0 ? "; " : "", p->reason);
		if (hint == NULL)
			hint = p->hint;
	}
	/* the hint is part of it: of what a stage has raised, only the message is kept */
	if (words.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s cannot go to environment \"%s\": %s%s%s", deployment_words(&v->d),
						v->stage->environment, words.data, hint ? ". " : "", hint ? hint : "")));
}

/* What the agent of a node is told to do. */
static void
set_action(Visit *v, const NodePlan *p, Task *task)
{
	bool back = v->d.kind == KIND_ROLLBACK;

	task->version_after = plan_version_after(p->steps);
	if (v->d.kind == KIND_DECLARE)
		task->action = AGENT_VERIFY;
	else if (task->version_after)
		task->action = back ? AGENT_REVERT : AGENT_ACTIVATE;
	else
		task->action = AGENT_REMOVE;
}

/* A task for a node, of a wave. */
static Task *
add_node_task(Visit *v, const NodePlan *p, TaskKind kind, int wave)
{
	Task *task = steps_add_task(&v->tasks, v->stage, kind);

	task->has_node = true;
	task->node = p->node;
	task->previous_version = p->previous_version;
	task->wave = wave;
	return task;
}

/* What it runs. */
static void
set_steps(const NodePlan *p, Task *task)
{
	task->steps = list_length(p->steps);
	plan_digest(p->steps, task->plan_digest);
	task->swap_from = p->swap_from;
}

/*
 * Before any node is switched: an agent installs the version beside what runs, and on a database node the steps are
 * run and taken back.  In the order of the swaps.
 */
static void
add_preparation(Visit *v, const NodePlan *p)
{
	Task *task;

	if (p->outcome != NODE_RUNS)
		return;
	task = add_node_task(v, p, TASK_PREPARE, 0);
	set_steps(p, task);
	if (p->is_agent)
	{
		task->action = AGENT_INSTALL;
		task->version_after = plan_version_after(p->steps);
	}
}

/* A task for a node: its swap, or why there is none. */
static void
add_swap(Visit *v, const NodePlan *p, int wave)
{
	Task *task = add_node_task(v, p, TASK_SWAP, wave);

	if (p->outcome == NODE_SKIPPED)
	{
		task->message = p->reason;
		task_apply(task, TASK_SKIP);
		return;
	}
	set_steps(p, task);
	if (p->is_agent)
		set_action(v, p, task);
}

/* Why no node of the environment has anything to run: as it is for the first that runs another version. */
static void
skip_stage(Visit *v, List *plans)
{
	ListCell *cell;

	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);

		if (v->d.release ?
				!p->runs_target :
				(p->previous_version == NULL || strcmp(p->previous_version, v->d.version) != 0))
		{
			stage_apply(v->stage, STAGE_SKIP, p->reason);
			return;
		}
	}
	stage_apply(v->stage, STAGE_SKIP,
				psprintf("every node already runs %s", deployment_words(&v->d)));
}

static void
scan_signatures(Visit *v)
{
	ListCell *cell;

	foreach (cell, versions_of(v))
		scan_signature(&v->d.tenant, lfirst(cell), v->stage->environment);
}

/* Of its versions: has any a verify script, or is it for agents, too?  A release is not. */
static VersionChecks
checks_of(Visit *v)
{
	VersionChecks all = { 0 };
	ListCell *cell;

	foreach (cell, deployment_targets(&v->d))
	{
		const PlanTarget *target = lfirst(cell);
		VersionChecks one = version_checks(&v->d.tenant, target->module, target->version);

		all.verify = all.verify || one.verify;
		all.artifact = v->d.release == NULL && one.artifact;
	}
	return all;
}

/* Refuses what would wait for its rehearsal for ever, since nothing here waits for an approval. */
static void
require_rehearsed(Visit *v, List *plans)
{
	char *node = NULL;

	if (v->d.kind == KIND_REHEARSAL)
		rehearsal_require_possible(plans);
	else if (!v->was_rehearsed)
		node = rehearsal_missing(&v->d, v->stage->environment, plans);
	/* the hint is part of it, as above */
	if (node)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version \"%s\" was not rehearsed on node \"%s\" in the last 24 hours"
						" as the node is now. Use hotswap.deploy() with \"rehearse\", then"
						" hotswap.retry()",
						v->d.version, node)));
}

/* The tasks stand in the order in which they begin: who looks for the next ones need not look at all. */
static List *
in_order_of_waves(List *plans, const int *waves)
{
	List *order = NIL;
	int last = 0;

	for (int i = 0; i < list_length(plans); i++)
		last = Max(last, waves[i]);
	for (int wave = 1; wave <= last; wave++)
		for (int i = 0; i < list_length(plans); i++)
			if (waves[i] == wave)
				order = lappend_int(order, i);
	return order;
}

/* deploy: a swap for each node that has steps to run */
static void
start_deploy(Visit *v)
{
	List *plans = v->without_nodes ? NIL : visit_plan(v);
	const NodePlan *first = plans != NIL ? linitial(plans) : NULL;
	List *order;
	ListCell *cell;
	int *waves;
	int to_do = 0;

	if (first == NULL && strcmp(v->stage->environment, v->d.environment) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("environment \"%s\" has no nodes%s", v->stage->environment,
							   checks_of(v).artifact ? " that the version is for" : ""),
						errhint("Add one with hotswap.register_node().")));
	if (first == NULL)
	{
		stage_apply(v->stage, STAGE_SKIP, "the environment has no nodes");
		return;
	}
	require_unblocked(v, plans);
	require_rehearsed(v, plans);
	waves = waves_begin(v, plans);
	order = in_order_of_waves(plans, waves);
	if (v->rollout && v->rollout->plan.prepares)
		foreach (cell, order)
			add_preparation(v, list_nth(plans, lfirst_int(cell)));
	foreach (cell, order)
	{
		const NodePlan *p = list_nth(plans, lfirst_int(cell));

		add_swap(v, p, waves[lfirst_int(cell)]);
		to_do += p->outcome == NODE_RUNS;
	}
	if (to_do == 0)
		skip_stage(v, plans);
	else if (first->require_signature)
		scan_signatures(v);
	if (to_do == 0)
		return;
	scan_plans(v, plans, v->stage->environment);
	if (v->d.kind == KIND_ROLLBACK)
		held_add(&v->d, plans);
	else if (v->d.reapply && v->d.kind != KIND_REHEARSAL)
		held_remove(&v->d, v->stage->environment);
}

/*
 * validate: on every node of the target that runs the version the verify script, or its agent's look, and the user's
 * hooks
 */
static void
start_validate(Visit *v)
{
	VersionChecks checks = checks_of(v);
	List *plans =
		checks.verify || checks.artifact ? plan_of_deployment(&v->d, v->d.environment) : NIL;
	ListCell *cell;
	int count = 0;

	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);
		Task *task;

		if (!p->runs_target || (!p->is_agent && !checks.verify))
			continue;
		task = steps_add_task(&v->tasks, v->stage, TASK_VERIFY);
		task->has_node = true;
		task->node = p->node;
		if (p->is_agent)
		{
			task->action = AGENT_VERIFY;
			task->version_after = task->previous_version = p->previous_version;
		}
		count++;
	}
	if (add_hooks(v) + count == 0)
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

	task_set_begin(v, v->stage);
	v->rollout = NULL;
	stage_apply(v->stage, STAGE_START, NULL);
	error = subxact_run(begin_stage, v);
	if (error && backoff_is_outside(error->sqlerrcode))
		ReThrowError(error);
	return error;
}
