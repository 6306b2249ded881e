/*
 * rollback.c
 *		Takes back what a deployment has swapped in the environment it is in the middle of.
 *
 * Each swap that succeeded gets a revert, a task of the same stage.  A revert that fails leaves its
 * swap as it is, and the deployment says so, beside the reason of its rollback.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/failed_rollback.h"
#include "core/release.h"
#include "pipeline/finish.h"
#include "pipeline/rollback.h"
#include "pipeline/stage_tasks.h"
#include "pipeline/task_set.h"
#include "utils/builtins.h"

static DbStatement environment_query = DB_STATEMENT(
	"SELECT revert_on_failure FROM hotswap.environment WHERE tenant_id = $1 AND name = $2", UUIDOID,
	TEXTOID);

/* What runs outside of transactions has begun, of a step that is complete or of one that is not. */
#define BEGUN_OUTSIDE                                                \
	"EXISTS (SELECT FROM hotswap.statement s WHERE s.tenant_id = $1" \
	" AND s.deployment_id = $2 AND s.node_id = t.node_id"            \
	" AND (s.started_at IS NOT NULL OR s.finished_at IS NOT NULL))"
#define STEPS_DONE                                                                                        \
	"FROM hotswap.node_module m WHERE m.tenant_id = $1 AND m.node_id = t.node_id AND m.module = ANY ($3)" \
	" AND m.swap > t.swap_from AND m.deployment_id = $2"

static DbStatement outside_query = DB_STATEMENT(
	"SELECT FROM hotswap.task t WHERE t.tenant_id = $1"
	" AND t.deployment_id = $2 AND t.stage = $4 AND t.kind = 'swap' AND (" BEGUN_OUTSIDE
	" OR EXISTS (SELECT " STEPS_DONE " AND EXISTS (SELECT FROM hotswap.module_version v"
	" WHERE v.tenant_id = $1 AND v.module = m.module AND v.version = m.step AND NOT v.transactional))) LIMIT 1",
	UUIDOID, UUIDOID, TEXTARRAYOID, INT2OID);

static DbStatement parts_query = DB_STATEMENT(
	"SELECT t.ordinal FROM hotswap.task t WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.stage = $4"
	" AND t.kind = 'swap' AND (" BEGUN_OUTSIDE " OR EXISTS (SELECT " STEPS_DONE "))",
	UUIDOID, UUIDOID, TEXTARRAYOID, INT2OID);

static DbStatement left_query = DB_STATEMENT(
	"SELECT t.ordinal FROM hotswap.task t JOIN hotswap.node n ON n.tenant_id = $1 AND n.id = t.node_id"
	" WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.stage = $4 AND t.kind IN ('swap', 'prepare')"
	" AND n.removed_at IS NOT NULL AND $3 IS NOT NULL",
	UUIDOID, UUIDOID, TEXTARRAYOID, INT2OID);

/* Runs one of them; of the tasks it reads nothing that a visit changes. */
static uint64
ask_about_stage(Visit *v, const Stage *stage, DbStatement *statement)
{
	Datum args[] = { UUIDPGetDatum(&v->d.tenant), UUIDPGetDatum(&v->d.id),
					 db_text_array(target_modules(deployment_targets(&v->d))),
					 Int16GetDatum(stage->ordinal) };

	return db_run(statement, args, NULL);
}

/* Has something of it run outside of a transaction? */
static bool
is_begun_outside(Visit *v, const Stage *stage)
{
	return ask_about_stage(v, stage, &outside_query) > 0;
}

/* The ordinals of swaps that a query finds. */
static List *
find_swaps(Visit *v, const Stage *stage, DbStatement *statement)
{
	uint64 n = ask_about_stage(v, stage, statement);
	List *ordinals = NIL;

	for (uint64 i = 0; i < n; i++)
		ordinals = lappend_int(ordinals, db_int32(i, 1));
	return ordinals;
}

static bool
environment_reverts(Visit *v, const char *environment)
{
	Datum args[] = { UUIDPGetDatum(&v->d.tenant), CStringGetTextDatum(environment) };

	return db_run(&environment_query, args, NULL) > 0 && db_bool(0, 1);
}

/*
 * Do the nodes of a stage go back, or stay each at the last step that is complete?  As it was asked for, or as
 * the environment says; what has begun outside of a transaction only goes back when that was asked for.
 */
static bool
nodes_go_back(Visit *v, const Stage *stage)
{
	if (v->d.on_failure != ON_FAILURE_UNSAID)
		return v->d.on_failure == ON_FAILURE_BACK;
	return environment_reverts(v, stage->environment) && !is_begun_outside(v, stage);
}

/* The deploy stage whose nodes are affected when the current stage does not succeed, or NULL. */
Stage *
rollback_stage(Visit *v)
{
	const char *environment;
	ListCell *cell;

	if (v->stage->kind != STAGE_DEPLOY && v->stage->kind != STAGE_VALIDATE)
		return NULL;
	environment = v->stage->kind == STAGE_DEPLOY ? v->stage->environment : v->d.environment;
	foreach (cell, v->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->kind == STAGE_DEPLOY && strcmp(stage->environment, environment) == 0)
			return stage;
	}
	return NULL;
}

/* Has nothing but the preparation of nodes begun? */
static bool
only_prepared(const Visit *v)
{
	ListCell *cell;

	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		if (task->kind == TASK_SWAP && task->attempt > 0)
			return false;
	}
	return true;
}

/* A task that takes back what another one did. */
static Task *
add_revert(Visit *v, const Stage *stage, Task *task)
{
	Task *revert;

	task_apply(task, TASK_BEGIN_REVERT);
	revert = steps_add_task(&v->tasks, stage, TASK_REVERT);
	revert->reverts = task->ordinal;
	revert->has_node = true;
	revert->node = task->node;
	revert->previous_version = task->previous_version;
	revert->steps = task->steps;
	memcpy(revert->plan_digest, task->plan_digest, DIGEST_LENGTH);
	revert->swap_from = task->swap_from;
	return revert;
}

static void
add_revert_of_swap(Visit *v, const Stage *stage, Task *swap)
{
	Task *revert = add_revert(v, stage, swap);

	if (swap->action == AGENT_NONE)
		return;
	revert->action = swap->previous_version ? AGENT_REVERT : AGENT_REMOVE;
	revert->version_after = swap->previous_version;
}

/* Has an agent installed something beside, or may it have? */
static bool
is_installed_beside(const Task *task)
{
	return task->kind == TASK_PREPARE && task->action == AGENT_INSTALL &&
		   (task->status == TASK_SUCCEEDED || task->was_claimed);
}

/*
 * Adds a revert for every swap of the stage that succeeded, or did a part, and where none has begun for what agents
 * have installed beside; false if there is none.
 */
static bool
rollback_add_reverts(Visit *v, const Stage *stage)
{
	List *begun = find_swaps(v, stage, &parts_query);
	List *left = find_swaps(v, stage, &left_query);
	bool uninstalls;
	bool any = false;
	int planned;

	task_set_complete(v);
	uninstalls = only_prepared(v);
	planned = list_length(v->tasks);

	for (int i = 0; i < planned; i++)
	{
		Task *task = list_nth(v->tasks, i);

		/* a node that was removed has left, with what it runs */
		if (list_member_int(left, task->ordinal) ||
			!machine_allows(&task_machine, task->status, TASK_BEGIN_REVERT))
			continue;
		/* of what an agent has claimed nobody knows what it did, unless it has said so */
		if (task->kind == TASK_SWAP && (task->status == TASK_SUCCEEDED || task->was_claimed ||
										list_member_int(begun, task->ordinal)))
			add_revert_of_swap(v, stage, task);
		else if (uninstalls && is_installed_beside(task))
			add_revert(v, stage, task)->action = AGENT_UNINSTALL;
		else
			continue;
		any = true;
	}
	return any;
}

/*
 * The current stage did not succeed: takes back what it swapped, if it did and that shall go back, else
 * ends the deployment with the event.
 */
void
rollback_or_end(Visit *v, DeploymentEvent event, const char *reason)
{
	Stage *stage = rollback_stage(v);

	if (stage && nodes_go_back(v, stage))
	{
		if (v->tasks_of != stage)
		{
			task_set_save(v);
			task_set_load_all(v, stage);
		}
		if (rollback_add_reverts(v, stage))
			event = DEPLOYMENT_ROLL_BACK;
	}
	visit_finish(v, event, reason);
}

static Stage *
rolled_back_stage(Visit *v)
{
	ListCell *cell;

	/*
	 * the stage that failed or was cancelled first is the one, or validate, which stands for the
	 * target
	 */
	v->stage = NULL;
	foreach (cell, v->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->status == STAGE_FAILED || stage->status == STAGE_CANCELLED)
		{
			v->stage = stage;
			break;
		}
	}
	if (v->stage == NULL)
		v->stage = llast(v->stages);
	return rollback_stage(v);
}

/*
 * Swaps that could not be reverted stay swapped; returns the last revert that failed, if one did.
 */
static Task *
settle_failed_reverts(Visit *v)
{
	Task *failed = NULL;
	bool any = false;
	ListCell *cell;

	task_set_complete(v);
	foreach (cell, v->tasks)
	{
		Task *task = lfirst(cell);

		if (task->kind == TASK_REVERT && task->status == TASK_FAILED &&
			task->action != AGENT_UNINSTALL)
			failed = task;
		if (task->status != TASK_REVERTING)
			continue;
		/* what lies beside does no harm */
		any = any || task->kind == TASK_SWAP;
		/* what nobody has said to be there is not there because it could not be taken away */
		task_apply(task, task->was_claimed && !task->is_installed && task->version_after ?
							 TASK_LEAVE_FAILED :
							 TASK_FAIL_REVERT);
	}
	return any ? failed : NULL;
}

/* After retry() of a failed rollback: what is still swapped is to be reverted. */
static void
resume_rollback(Visit *v, Stage *stage)
{
	Tally t = stage_tasks_tally(v, true);

	if (t.unfinished + t.running == 0)
		(void) rollback_add_reverts(v, stage);
}

static void
end_failed(Visit *v, const Stage *stage, const char *sqlstate, const char *message)
{
	visit_finish(v, DEPLOYMENT_FAIL_ROLLBACK, message);
	v->d.rollback_sqlstate = sqlstate ? pstrdup(sqlstate) : NULL;
	v->d.rollback_message = pstrdup(message);
	failed_rollback_add(&v->d, stage ? stage->environment : v->d.environment);
}

/* The visit of a rollback has raised an error. */
void
rollback_fail(Visit *v, const char *sqlstate, const char *message)
{
	v->stages = steps_load_stages(&v->d);
	end_failed(v, rolled_back_stage(v), sqlstate, message);
}

void
rollback_advance(Visit *v)
{
	Stage *stage = rolled_back_stage(v);
	bool cancelled = v->d.cancel_requested_at != TIME_NULL;
	Task *failed;
	Tally t;

	if (stage == NULL)
		elog(ERROR, "there is no stage to roll back");
	if (v->tasks_of != stage)
		stage_tasks_load(v, stage);
	resume_rollback(v, stage);
	stage_tasks_settle_lost(v);
	t = stage_tasks_tally(v, true);
	if (t.current_wave > 0)
		stage_tasks_start_due(v, true, t.current_wave, PG_INT32_MAX);
	t = stage_tasks_tally(v, true);
	if (t.unfinished + t.running > 0)
		return;
	failed = settle_failed_reverts(v);
	if (failed)
		end_failed(v, stage, failed->sqlstate, failed->message);
	else
		visit_finish(v, cancelled ? DEPLOYMENT_FINISH_CANCEL : DEPLOYMENT_FINISH_ROLLBACK,
					 cancelled ? v->d.cancel_reason : NULL);
}
