/*
 * rollback.c
 *		Takes back what a deployment has swapped in the environment it is in the middle of.
 *
 * Each swap that succeeded gets a revert, a task of the same stage.  A revert that fails leaves its
 * swap as it is, and the deployment says so.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "pipeline/visit.h"
#include "utils/builtins.h"

static DbStatement environment_query = DB_STATEMENT(
	"SELECT revert_on_failure FROM hotswap.environment WHERE tenant_id = $1 AND name = $2", UUIDOID,
	TEXTOID);

static bool
environment_reverts(Walk *w, const char *environment)
{
	Datum args[] = { UUIDPGetDatum(&w->d.tenant), CStringGetTextDatum(environment) };

	return db_run(&environment_query, args, NULL) > 0 && db_bool(0, 1);
}

/* The deploy stage whose nodes are affected when the current stage does not succeed, or NULL. */
Stage *
rollback_stage(Walk *w)
{
	const char *environment;
	ListCell *cell;

	if (w->stage->kind != STAGE_DEPLOY && w->stage->kind != STAGE_VALIDATE)
		return NULL;
	environment = w->stage->kind == STAGE_DEPLOY ? w->stage->environment : w->d.environment;
	foreach (cell, w->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->kind == STAGE_DEPLOY && strcmp(stage->environment, environment) == 0)
			return stage;
	}
	return NULL;
}

/* Adds a revert for every swap of the stage that succeeded; false if there is none. */
static bool
plan_reverts(List **tasks, const Stage *stage)
{
	int planned = list_length(*tasks);
	bool any = false;

	for (int i = 0; i < planned; i++)
	{
		Task *swap = list_nth(*tasks, i);
		Task *undo;

		if (swap->kind != TASK_SWAP || swap->status != TASK_SUCCEEDED)
			continue;
		task_apply(swap, TASK_REVERT);
		undo = plan_add_task(tasks, stage, TASK_UNDO);
		undo->reverts = swap->ordinal;
		undo->has_node = true;
		undo->node = swap->node;
		undo->previous_version = swap->previous_version;
		any = true;
	}
	return any;
}

/*
 * The current stage did not succeed: takes back what it swapped, if it did and the environment says
 * so, else ends the deployment with the event.
 */
void
rollback_or_end(Walk *w, DeploymentEvent event, const char *reason)
{
	Stage *stage = rollback_stage(w);
	List *tasks;

	if (stage && environment_reverts(w, stage->environment))
	{
		tasks = stage == w->stage ? w->tasks : plan_load_tasks(&w->d, stage->ordinal);
		if (plan_reverts(&tasks, stage))
		{
			walk_finish(w, DEPLOYMENT_ROLL_BACK, reason);
			w->tasks = tasks;
			return;
		}
	}
	walk_finish(w, event, reason);
}

static Stage *
rolled_back_stage(Walk *w)
{
	ListCell *cell;

	/* the stage that failed or was cancelled first is the one, or validate, which stands for the
	 * target */
	w->stage = NULL;
	foreach (cell, w->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->status == STAGE_FAILED || stage->status == STAGE_CANCELLED)
		{
			w->stage = stage;
			break;
		}
	}
	if (w->stage == NULL)
		w->stage = llast(w->stages);
	return rollback_stage(w);
}

/* Swaps that could not be reverted stay swapped; returns the last revert that failed, if one did.
 */
static Task *
settle_failed_reverts(Walk *w)
{
	Task *failed = NULL;
	bool any = false;
	ListCell *cell;

	foreach (cell, w->tasks)
	{
		Task *task = lfirst(cell);

		if (task->kind == TASK_UNDO && task->status == TASK_FAILED)
			failed = task;
		if (task->status != TASK_REVERTING)
			continue;
		any = true;
		task_apply(task, TASK_FAIL_REVERT);
	}
	return any ? failed : NULL;
}

/* After retry() of a failed rollback: what is still swapped is to be reverted. */
static void
resume_rollback(Walk *w, Stage *stage)
{
	Tally t = stagetask_tally(w, true);

	if (t.unfinished + t.running == 0)
		(void) plan_reverts(&w->tasks, stage);
}

void
rollback_advance(Walk *w)
{
	Stage *stage = rolled_back_stage(w);
	bool cancelled = w->d.cancel_requested_at != TIME_NULL;
	Task *failed;
	Tally t;

	if (stage == NULL)
		elog(ERROR, "there is no stage to roll back");
	if (w->tasks == NIL)
		w->tasks = plan_load_tasks(&w->d, stage->ordinal);
	resume_rollback(w, stage);
	stagetask_settle_lost(w);
	t = stagetask_tally(w, true);
	if (t.current_wave > 0)
		stagetask_start_due(w, true, t.current_wave);
	t = stagetask_tally(w, true);
	if (t.unfinished + t.running > 0)
		return;
	failed = settle_failed_reverts(w);
	if (failed)
	{
		w->d.sqlstate = failed->sqlstate;
		w->d.message = psprintf("rollback failed: %s", failed->message);
		walk_finish(w, DEPLOYMENT_FAIL_ROLLBACK, failed->message);
	}
	else
		walk_finish(w, cancelled ? DEPLOYMENT_FINISH_CANCEL : DEPLOYMENT_FINISH_ROLLBACK,
					cancelled ? w->d.cancel_reason : NULL);
}
