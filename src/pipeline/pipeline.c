/*
 * pipeline.c
 *		The pipeline: from a request to its end, one visit at a time.
 *
 * Only a dispatcher calls this, and there is one dispatcher a database, so the decisions of this
 * file have one author.  A visit locks the deployment's row without waiting, looks at the tables,
 * goes as far as it can without anybody else, and writes everything it changed.  Nothing is
 * remembered between visits: after a crash the next visit goes on from the tables.
 *
 * What a visit wants done outside the database (tasks handed to executors, statements cancelled) it
 * returns, for the dispatcher to do after the commit.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "catalog/pg_type.h"
#include "core/deployment_save.h"
#include "core/path.h"
#include "deployment/rollout_row.h"
#include "pipeline/behind.h"
#include "pipeline/finish.h"
#include "pipeline/gate.h"
#include "pipeline/pipeline.h"
#include "pipeline/rehearsed.h"
#include "pipeline/rollback.h"
#include "pipeline/stage.h"
#include "pipeline/stage_tasks.h"
#include "pipeline/task_set.h"
#include "pipeline/waves.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static void
fail_stage(Visit *v, const char *sqlstate, const char *message)
{
	v->d.sqlstate = sqlstate ? pstrdup(sqlstate) : NULL;
	v->d.message = message ? pstrdup(message) : NULL;
	stage_apply(v->stage, STAGE_FAIL, message);
	rollback_or_end(v, DEPLOYMENT_FAIL, message);
}

/* ---- running ---- */

/*
 * Asks for the running tasks to be cancelled; the others are cancelled here.  When nothing runs any
 * more, the deployment ends, or takes back what it swapped.
 */
static void
advance_cancel(Visit *v)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz grace = TimestampTzPlusMilliseconds(v->d.cancel_requested_at, hotswap_cancel_grace);
	ListCell *cell;
	Tally t;

	stage_tasks_cancel_unfinished(v);
	t = stage_tasks_tally(v, false);
	if (t.running == 0)
	{
		steps_cancel_unfinished(v->stages, NULL);
		rollback_or_end(v, DEPLOYMENT_FINISH_CANCEL, v->d.cancel_reason);
		return;
	}
	foreach (cell, v->tasks)
	{
		Task *task = lfirst(cell);
		TaskKey key = task_key(&v->d, task);

		if (task->status == TASK_RUNNING)
			visit_report(v, &v->result->cancelled, &key, sizeof(key));
	}
	/* a request of a time to come is from before the clock was set back */
	v->result->end_executors = now >= grace || now < v->d.cancel_requested_at;
	if (!v->result->end_executors)
		v->result->next_due = grace;
}

/* Its tenant is suspended, or somebody has paused it: what comes next waits until that is over. */
static void
pause_deployment(Visit *v)
{
	v->d.message = waves_pause_words(v);
	visit_finish(v, DEPLOYMENT_PAUSE, v->d.message);
}

static void
resume_deployment(Visit *v)
{
	v->d.message = NULL;
	deployment_apply(&v->d, DEPLOYMENT_RESUME, NULL);
}

/* Have more nodes failed than may stay behind, or all that had something to run? */
static bool
has_failed(Visit *v, const Tally *t)
{
	return t->failed > 0 && ((t->current_wave == 0 && t->succeeded == 0) ||
							 t->failed > behind_allowed(&v->d, v->stage, task_set_swaps(v)));
}

/* The same of a stage that takes its nodes in waves. */
static bool
advance_waves(Visit *v)
{
	WavesResult result = waves_advance(v);
	Tally t = stage_tasks_tally(v, false);
	int behind = t.failed + stage_tasks_left_out(v);

	waves_save(v);
	switch (result)
	{
		case WAVES_WAIT:
			break;
		case WAVES_PAUSED:
			pause_deployment(v);
			break;
		case WAVES_DONE:
			stage_apply(v->stage, STAGE_SUCCEED, behind_words(behind));
			return true;
		case WAVES_FAILED:
			t = stage_tasks_tally_all(v);
			if (v->rollout->failure)
				fail_stage(v, unpack_sql_state(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						   v->rollout->failure);
			else if (t.first_failed)
				fail_stage(v, t.first_failed->sqlstate, t.first_failed->message);
			else
				fail_stage(v, unpack_sql_state(ERRCODE_NO_DATA_FOUND),
						   "no node was left to be swapped");
			break;
	}
	return false;
}

/* Moves the running stage on; false when it waits for something. */
static bool
advance_stage(Visit *v)
{
	Tally t = stage_tasks_tally(v, false);
	int failed = t.failed;

	if (v->rollout)
		return advance_waves(v);
	if (has_failed(v, &t))
	{
		/* no task starts any more; what runs ends */
		stage_tasks_cancel_unfinished(v);
		if (t.running > 0)
			return false;
		t = stage_tasks_tally_all(v);
		fail_stage(v, t.first_failed->sqlstate, t.first_failed->message);
		return false;
	}
	if (t.current_wave == 0)
	{
		stage_apply(v->stage, STAGE_SUCCEED, behind_words(t.failed));
		return true;
	}
	if (waves_are_paused(v) && !t.begun)
	{
		pause_deployment(v);
		return false;
	}
	stage_tasks_start_due(v, false, t.current_wave, PG_INT32_MAX);
	/* a task whose role is gone failed there and then */
	t = stage_tasks_tally(v, false);
	if (t.failed > failed)
		return advance_stage(v);
	return false;
}

static Stage *
current_stage(Visit *v)
{
	ListCell *cell;

	foreach (cell, v->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->status != STAGE_SUCCEEDED && stage->status != STAGE_SKIPPED)
			return stage;
	}
	return NULL;
}

/* Notes the environments that are behind the deployment, so that their lanes are free. */
static void
note_finished(Visit *v)
{
	ListCell *cell;

	foreach (cell, v->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->kind == STAGE_DEPLOY && strcmp(stage->environment, v->d.environment) != 0 &&
			(stage->status == STAGE_SUCCEEDED || stage->status == STAGE_SKIPPED))
			visit_report(v, &v->result->finished_environments, stage->environment,
						 strlen(stage->environment) + 1);
	}
}

static void
advance_running(Visit *v)
{
	bool cancelling = v->d.cancel_requested_at != TIME_NULL;
	ErrorData *error;

	while (v->d.status == DEPLOYMENT_RUNNING)
	{
		v->stage = current_stage(v);
		if (v->stage == NULL && cancelling)
			/* the last stage ended while it was being cancelled: its environment still goes back */
			v->stage = llast(v->stages);
		if (v->stage == NULL)
		{
			v->d.message = NULL;
			v->d.sqlstate = NULL;
			v->d.nodes_behind = behind_count(v);
			visit_finish(v, DEPLOYMENT_SUCCEED, NULL);
			if (v->d.kind == KIND_REHEARSAL)
				rehearsed_tell(v);
			break;
		}
		if (v->stage->status != STAGE_PENDING && v->stage->status != STAGE_WAITING_APPROVAL)
		{
			if (v->tasks_of != v->stage)
				stage_tasks_load(v, v->stage);
			v->rollout = rollout_load(&v->d, v->stage->ordinal);
			stage_tasks_settle_lost(v);
		}
		if (cancelling)
		{
			advance_cancel(v);
			break;
		}
		if (v->stage->status == STAGE_PENDING || v->stage->status == STAGE_WAITING_APPROVAL)
		{
			if (waves_are_paused(v))
			{
				pause_deployment(v);
				break;
			}
			if (!v->request->may_start || !gate_pass(v))
				break;
			error = stage_start(v);
			if (error)
			{
				task_set_begin(v, NULL);
				fail_stage(v, unpack_sql_state(error->sqlerrcode), error->message);
				break;
			}
		}
		if (v->stage->status == STAGE_RUNNING && !advance_stage(v))
			break;
		task_set_save(v);
		task_set_begin(v, NULL);
	}
}

/* ---- beginning ---- */

static void
make_stages(Visit *v)
{
	List *path = path_of_deployment(&v->d);
	ListCell *cell;

	if (path == NIL)
		elog(ERROR, "environment \"%s\" has disappeared", v->d.environment);
	if (v->d.kind == KIND_ROLLBACK || v->d.kind == KIND_DECLARE)
	{
		/* what it runs was built and tested on its way there, or is a verify script alone */
		(void) steps_add_stage(&v->stages, STAGE_DEPLOY, v->d.environment);
		return;
	}
	(void) steps_add_stage(&v->stages, STAGE_BUILD, NULL);
	(void) steps_add_stage(&v->stages, STAGE_SCAN, NULL);
	/* hooks would see nothing of a rehearsal, and what they do would stay */
	if (v->d.kind != KIND_REHEARSAL)
		(void) steps_add_stage(&v->stages, STAGE_TEST, NULL);
	foreach (cell, path)
		(void) steps_add_stage(&v->stages, STAGE_DEPLOY, lfirst(cell));
	if (v->d.kind != KIND_REHEARSAL)
		(void) steps_add_stage(&v->stages, STAGE_VALIDATE, NULL);
}

/*
 * After retry(): everything from the first stage that did not succeed is done again, and from the
 * stage whose swaps were reverted.  One that has succeeded takes the nodes that stayed behind.
 */
static void
reset_stages(Visit *v)
{
	Stage *first = current_stage(v);
	Stage *reverted;
	ListCell *cell;

	v->stage = first ? first : llast(v->stages);
	reverted = rollback_stage(v);
	if (first == NULL)
		first = reverted;
	if (first == NULL)
		elog(ERROR, "there is no stage to be done again");
	if (reverted && reverted->ordinal < first->ordinal)
	{
		task_set_load_all(v, reverted);
		foreach (cell, v->tasks)
			if (((Task *) lfirst(cell))->status == TASK_REVERTED)
				first = reverted;
		task_set_begin(v, NULL);
	}
	steps_forget_tasks(&v->d, first->ordinal);
	rollout_forget(&v->d, first->ordinal);
	foreach (cell, v->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->ordinal >= first->ordinal && stage->status != STAGE_PENDING)
			stage_apply(stage, STAGE_RESET, NULL);
	}
	steps_save_stages(&v->d, v->stages);
}

static void
start_deployment(Visit *v)
{
	deployment_apply(&v->d, DEPLOYMENT_START, NULL);
	v->d.sqlstate = v->d.message = NULL;
	v->stages = steps_load_stages(&v->d);
	if (v->stages == NIL)
	{
		make_stages(v);
		return;
	}
	v->stage = current_stage(v);
	/* one that waited for its approval goes on where it was */
	if (v->stage == NULL || v->stage->status != STAGE_WAITING_APPROVAL)
		reset_stages(v);
}

/*
 * Before the start, and while it waits for an approval: ends, is released, is started, or goes on
 * waiting.
 */
static void
advance_waiting(Visit *v)
{
	TimestampTz now = GetCurrentTimestamp();
	Deployment *d = &v->d;
	bool expires = d->start_by != TIME_NULL;

	if ((d->gated || v->request->leaving || expires || d->status == DEPLOYMENT_PENDING_APPROVAL) &&
		d->started_at != TIME_NULL)
		v->stages = steps_load_stages(d);
	if (gate_end_refused(v))
		return;
	if (v->request->leaving)
	{
		d->cancel_requested_at = now;
		d->cancel_reason = pstrdup("the tenant is being deprovisioned");
		visit_end(v, DEPLOYMENT_CANCEL, d->cancel_reason);
		return;
	}
	if (expires && d->start_by <= now)
	{
		visit_end(v, DEPLOYMENT_EXPIRE,
				  psprintf("not started by %s", timestamptz_to_str(d->start_by)));
		return;
	}
	if (d->status == DEPLOYMENT_SCHEDULED && d->run_at <= now)
		deployment_apply(d, DEPLOYMENT_RELEASE, NULL);
	if (d->status == DEPLOYMENT_SCHEDULED)
		v->result->next_due = d->run_at;
	else if (d->status == DEPLOYMENT_QUEUED && v->request->may_admit && v->request->may_start)
	{
		start_deployment(v);
		return;
	}
	else if (d->status == DEPLOYMENT_PENDING_APPROVAL)
	{
		v->stage = current_stage(v);
		gate_look_again(v);
	}
	if (expires)
		v->result->next_due = Min(v->result->next_due, d->start_by);
}

/* ---- the visit ---- */

static void
pipeline_save(Visit *v)
{
	Deployment *d = &v->d;

	steps_save_stages(d, v->stages);
	task_set_save(v);
	v->result->next_due = Min(v->result->next_due, gate_next_expiry(v));
	if (d->status == DEPLOYMENT_PENDING_APPROVAL && d->start_by != TIME_NULL)
		v->result->next_due = Min(v->result->next_due, d->start_by);
	if (d->chain.seq != v->result->loaded_seq)
		deployment_save_due(d, v->result->next_due == DT_NOEND ? TIME_NULL : v->result->next_due);
	v->result->ended = deployment_is_final(d->status);
	if (v->result->ended && v->pauses != NIL)
		(void) pauses_remove(d, ~0u);
	v->result->running = deployment_has_started(d->status);
	v->result->queued = d->status == DEPLOYMENT_QUEUED;
	v->result->parked = d->status == DEPLOYMENT_PENDING_APPROVAL;
	if (v->result->running)
		note_finished(v);
}

static bool
pipeline_enter(Visit *v, VisitRequest *request, VisitResult *result)
{
	memset(v, 0, sizeof(*v));
	v->request = request;
	v->result = result;
	result->next_due = DT_NOEND;
	result->locked = result->ended = result->running = result->queued = false;
	result->parked = result->is_behind = false;
	result->starved = result->end_executors = result->durable = false;
	result->started = result->cancelled = result->finished_environments = NIL;
	result->waited_for_it = NIL;
	switch (deployment_lock(&v->d, &result->tenant, &result->deployment, request->actor, true))
	{
		case DEPLOYMENT_MISSING:
			result->ended = true;
			return false;
		case DEPLOYMENT_LOCKED:
			result->locked = true;
			return false;
		case DEPLOYMENT_FOUND:
			break;
	}
	result->loaded_seq = v->d.chain.seq;
	result->ended = deployment_is_final(v->d.status);
	return !result->ended;
}

/* Advances a deployment as far as it goes, inside a (sub)transaction.  Errors are the caller's. */
void
pipeline_visit(VisitRequest *request, VisitResult *result)
{
	DbScope scope;
	Visit v;

	db_enter(&scope);
	if (pipeline_enter(&v, request, result))
	{
		gate_enter(&v);
		waves_enter(&v);
		if (v.d.status == DEPLOYMENT_SCHEDULED || v.d.status == DEPLOYMENT_QUEUED ||
			v.d.status == DEPLOYMENT_PENDING_APPROVAL)
			advance_waiting(&v);
		else
			v.stages = steps_load_stages(&v.d);
		if (v.d.status == DEPLOYMENT_PAUSED && !waves_are_paused(&v))
			resume_deployment(&v);
		if (v.d.status == DEPLOYMENT_RUNNING)
			advance_running(&v);
		if (v.d.status == DEPLOYMENT_ROLLING_BACK)
			rollback_advance(&v);
		pipeline_save(&v);
	}
	db_leave(&scope);
}

static void
fail_running(Visit *v, ErrorData *error)
{
	v->stages = steps_load_stages(&v->d);
	v->stage = current_stage(v);
	if (v->stage == NULL)
	{
		deployment_apply(&v->d, DEPLOYMENT_FAIL, error->message);
		return;
	}
	task_set_load_all(v, v->stage);
	if (v->stage->status == STAGE_PENDING)
		stage_apply(v->stage, STAGE_START, NULL);
	stage_tasks_break_off(v);
	fail_stage(v, unpack_sql_state(error->sqlerrcode), error->message);
}

/*
 * Records that a visit raised an error, in a new (sub)transaction: the stage it was in has failed,
 * and with it the deployment, as far as nothing is swapped half.
 */
void
pipeline_fail(VisitRequest *request, VisitResult *result, ErrorData *error)
{
	DbScope scope;
	Visit v;

	db_enter(&scope);
	if (pipeline_enter(&v, request, result))
	{
		if (v.d.status == DEPLOYMENT_PAUSED)
			resume_deployment(&v);
		if (v.d.status == DEPLOYMENT_ROLLING_BACK)
			rollback_fail(&v, unpack_sql_state(error->sqlerrcode), error->message);
		else
		{
			v.d.sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
			v.d.message = pstrdup(error->message);
			if (v.d.status == DEPLOYMENT_RUNNING)
				fail_running(&v, error);
			else
				deployment_apply(&v.d, DEPLOYMENT_FAIL, error->message);
		}
		pipeline_save(&v);
	}
	db_leave(&scope);
}
