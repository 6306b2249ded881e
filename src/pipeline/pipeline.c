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
#include "pipeline/gate.h"
#include "pipeline/visit.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static DbStatement path_query = DB_STATEMENT(
	"SELECT e.name FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.rank <="
	" (SELECT t.rank FROM hotswap.environment t WHERE t.tenant_id = $1 AND t.name = $2)"
	" ORDER BY e.rank",
	UUIDOID, TEXTOID);

/* The environments that a deployment passes through, up to its target, in rank order. */
List *
pipeline_path(const pg_uuid_t *tenant, const char *target)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(target) };
	uint64 n = db_run(&path_query, args, NULL);
	List *path = NIL;

	for (uint64 i = 0; i < n; i++)
		path = lappend(path, db_text(i, 1));
	return path;
}

/* Is an environment among these? */
bool
pipeline_path_has(List *names, const char *name)
{
	ListCell *cell;

	foreach (cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/* Adds a copy of something to a list of results. */
void
walk_report(Walk *w, List **list, const void *data, size_t size)
{
	MemoryContext old = MemoryContextSwitchTo(w->context->results);
	void *copy = palloc(size);

	memcpy(copy, data, size);
	*list = lappend(*list, copy);
	MemoryContextSwitchTo(old);
}

/* The deployment's own transition comes after those of its parts, in the audit log too. */
void
walk_finish(Walk *w, DeploymentEvent event, const char *reason)
{
	plan_save_tasks(&w->d, w->tasks);
	plan_save_stages(&w->d, w->stages);
	deployment_apply(&w->d, event, reason);
}

/* Ends a deployment of which nothing runs now. */
void
walk_end(Walk *w, DeploymentEvent event, const char *message)
{
	ListCell *cell;

	foreach (cell, w->stages)
	{
		Stage *stage = lfirst(cell);

		if (machine_allows(&stage_machine, stage->status, STAGE_CANCEL))
			stage_apply(stage, STAGE_CANCEL, message);
	}
	w->d.message = pstrdup(message);
	walk_finish(w, event, message);
}

static void
fail_stage(Walk *w, const char *sqlstate, const char *message)
{
	w->d.sqlstate = sqlstate ? pstrdup(sqlstate) : NULL;
	w->d.message = message ? pstrdup(message) : NULL;
	stage_apply(w->stage, STAGE_FAIL, message);
	rollback_or_end(w, DEPLOYMENT_FAIL, message);
}

/* ---- running ---- */

/*
 * Asks for the running tasks to be cancelled; the others are cancelled here.  When nothing runs any
 * more, the deployment ends, or takes back what it swapped.
 */
static void
advance_cancel(Walk *w)
{
	TimestampTz grace = TimestampTzPlusMilliseconds(w->d.cancel_requested_at, hotswap_cancel_grace);
	ListCell *cell;
	Tally t;

	stagetask_cancel_unfinished(w->tasks);
	t = stagetask_tally(w, false);
	if (t.running == 0)
	{
		foreach (cell, w->stages)
		{
			Stage *stage = lfirst(cell);

			if (machine_allows(&stage_machine, stage->status, STAGE_CANCEL))
				stage_apply(stage, STAGE_CANCEL, NULL);
		}
		rollback_or_end(w, DEPLOYMENT_FINISH_CANCEL, w->d.cancel_reason);
		return;
	}
	foreach (cell, w->tasks)
	{
		Task *task = lfirst(cell);
		TaskKey key = task_key(&w->d, task);

		if (task->status == TASK_RUNNING)
			walk_report(w, &w->visit->cancelled, &key, sizeof(key));
	}
	w->visit->end_executors = GetCurrentTimestamp() >= grace;
	if (!w->visit->end_executors)
		w->visit->next_due = grace;
}

/* Its tenant is suspended: what comes next waits until that is over. */
static void
pause_deployment(Walk *w)
{
	w->d.message = pstrdup("the tenant is suspended");
	walk_finish(w, DEPLOYMENT_PAUSE, w->d.message);
}

static void
resume_deployment(Walk *w)
{
	w->d.message = NULL;
	deployment_apply(&w->d, DEPLOYMENT_RESUME, NULL);
}

/* Moves the running stage on; false when it waits for something. */
static bool
advance_stage(Walk *w)
{
	Tally t = stagetask_tally(w, false);

	if (t.failed > 0)
	{
		/* no task starts any more; what runs ends */
		stagetask_cancel_unfinished(w->tasks);
		if (t.running == 0)
			fail_stage(w, t.first_failed->sqlstate, t.first_failed->message);
		return false;
	}
	if (t.current_wave == 0)
	{
		stage_apply(w->stage, STAGE_SUCCEED, NULL);
		return true;
	}
	if (w->context->suspended && !t.begun)
	{
		pause_deployment(w);
		return false;
	}
	stagetask_start_due(w, false, t.current_wave);
	/* a task whose role is gone failed there and then */
	t = stagetask_tally(w, false);
	if (t.failed > 0)
		return advance_stage(w);
	return false;
}

static Stage *
current_stage(Walk *w)
{
	ListCell *cell;

	foreach (cell, w->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->status != STAGE_SUCCEEDED && stage->status != STAGE_SKIPPED)
			return stage;
	}
	return NULL;
}

/* Notes the environments that are behind the deployment, so that their lanes are free. */
static void
note_finished(Walk *w)
{
	ListCell *cell;

	foreach (cell, w->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->kind == STAGE_DEPLOY && strcmp(stage->environment, w->d.environment) != 0 &&
			(stage->status == STAGE_SUCCEEDED || stage->status == STAGE_SKIPPED))
			walk_report(w, &w->visit->finished_environments, stage->environment,
						strlen(stage->environment) + 1);
	}
}

static void
advance_running(Walk *w)
{
	bool cancelling = w->d.cancel_requested_at != TIME_NULL;
	ErrorData *error;

	while (w->d.status == DEPLOYMENT_RUNNING)
	{
		w->stage = current_stage(w);
		if (w->stage == NULL && cancelling)
			/* the last stage ended while it was being cancelled: its environment still goes back */
			w->stage = llast(w->stages);
		if (w->stage == NULL)
		{
			w->d.message = NULL;
			w->d.sqlstate = NULL;
			walk_finish(w, DEPLOYMENT_SUCCEED, NULL);
			break;
		}
		if (w->stage->status != STAGE_PENDING && w->stage->status != STAGE_WAITING_APPROVAL)
		{
			if (w->tasks == NIL)
				w->tasks = plan_load_tasks(&w->d, w->stage->ordinal);
			stagetask_settle_lost(w);
		}
		if (cancelling)
		{
			advance_cancel(w);
			break;
		}
		if (w->stage->status == STAGE_PENDING || w->stage->status == STAGE_WAITING_APPROVAL)
		{
			if (w->context->suspended)
			{
				pause_deployment(w);
				break;
			}
			if (!w->context->may_start || !gate_pass(w))
				break;
			error = stage_start(w);
			if (error)
			{
				w->tasks = NIL;
				fail_stage(w, unpack_sql_state(error->sqlerrcode), error->message);
				break;
			}
		}
		if (w->stage->status == STAGE_RUNNING && !advance_stage(w))
			break;
		plan_save_tasks(&w->d, w->tasks);
		w->tasks = NIL;
	}
}

/* ---- beginning ---- */

static void
make_stages(Walk *w)
{
	List *path = pipeline_path(&w->d.tenant, w->d.environment);
	ListCell *cell;

	if (path == NIL)
		elog(ERROR, "environment \"%s\" has disappeared", w->d.environment);
	(void) plan_add_stage(&w->stages, STAGE_BUILD, NULL);
	(void) plan_add_stage(&w->stages, STAGE_SCAN, NULL);
	(void) plan_add_stage(&w->stages, STAGE_TEST, NULL);
	foreach (cell, path)
		(void) plan_add_stage(&w->stages, STAGE_DEPLOY, lfirst(cell));
	(void) plan_add_stage(&w->stages, STAGE_VALIDATE, NULL);
}

/*
 * After retry(): everything from the first stage that did not succeed is done again, and from the
 * stage whose swaps were reverted.
 */
static void
reset_stages(Walk *w)
{
	Stage *first = current_stage(w);
	Stage *reverted;
	ListCell *cell;

	if (first == NULL)
		elog(ERROR, "there is no stage to be done again");
	w->stage = first;
	reverted = rollback_stage(w);
	if (reverted && reverted->ordinal < first->ordinal)
	{
		List *tasks = plan_load_tasks(&w->d, reverted->ordinal);

		foreach (cell, tasks)
			if (((Task *) lfirst(cell))->status == TASK_REVERTED)
				first = reverted;
	}
	plan_forget_tasks(&w->d, first->ordinal);
	foreach (cell, w->stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->ordinal >= first->ordinal && stage->status != STAGE_PENDING)
			stage_apply(stage, STAGE_RESET, NULL);
	}
	plan_save_stages(&w->d, w->stages);
}

static void
start_deployment(Walk *w)
{
	deployment_apply(&w->d, DEPLOYMENT_START, NULL);
	w->d.sqlstate = w->d.message = NULL;
	w->stages = plan_load_stages(&w->d);
	if (w->stages == NIL)
	{
		make_stages(w);
		return;
	}
	w->stage = current_stage(w);
	/* one that waited for its approval goes on where it was */
	if (w->stage == NULL || w->stage->status != STAGE_WAITING_APPROVAL)
		reset_stages(w);
}

/* Before the start, and while it waits for an approval: ends, is released, is started, or goes on waiting. */
static void
advance_waiting(Walk *w)
{
	TimestampTz now = GetCurrentTimestamp();
	Deployment *d = &w->d;
	bool expires = d->start_by != TIME_NULL && d->started_at == TIME_NULL;

	if ((d->gated || w->context->leaving) && d->started_at != TIME_NULL)
		w->stages = plan_load_stages(d);
	if (gate_end_refused(w))
		return;
	if (w->context->leaving)
	{
		d->cancel_requested_at = now;
		d->cancel_reason = pstrdup("the tenant is being deprovisioned");
		walk_end(w, DEPLOYMENT_CANCEL, d->cancel_reason);
		return;
	}
	if (expires && d->start_by <= now)
	{
		d->message = psprintf("not started by %s", timestamptz_to_str(d->start_by));
		deployment_apply(d, DEPLOYMENT_EXPIRE, NULL);
		return;
	}
	if (d->status == DEPLOYMENT_SCHEDULED && d->run_at <= now)
		deployment_apply(d, DEPLOYMENT_RELEASE, NULL);
	if (d->status == DEPLOYMENT_SCHEDULED)
		w->visit->next_due = d->run_at;
	else if (d->status == DEPLOYMENT_QUEUED && w->context->may_admit && w->context->may_start)
	{
		start_deployment(w);
		return;
	}
	if (expires)
		w->visit->next_due = Min(w->visit->next_due, d->start_by);
}

/* ---- the visit ---- */

static void
save(Walk *w)
{
	Deployment *d = &w->d;

	plan_save_stages(d, w->stages);
	plan_save_tasks(d, w->tasks);
	w->visit->next_due = Min(w->visit->next_due, gate_next_expiry(w));
	if (d->chain.seq != w->visit->loaded_seq)
	{
		deployment_save(d);
		if (!deployment_is_final(d->status) && w->visit->next_due != DT_NOEND)
			deployment_due(d, w->visit->next_due);
	}
	w->visit->ended = deployment_is_final(d->status);
	w->visit->running = deployment_has_started(d->status);
	w->visit->queued = d->status == DEPLOYMENT_QUEUED;
	w->visit->parked = d->status == DEPLOYMENT_PENDING_APPROVAL;
	if (w->visit->running)
		note_finished(w);
}

static bool
enter(Walk *w, VisitContext *context, Visit *visit)
{
	memset(w, 0, sizeof(*w));
	w->context = context;
	w->visit = visit;
	visit->next_due = DT_NOEND;
	visit->locked = visit->ended = visit->running = visit->queued = false;
	visit->parked = false;
	visit->starved = visit->end_executors = false;
	visit->started = visit->cancelled = visit->finished_environments = NIL;
	switch (deployment_lock(&w->d, &visit->tenant, &visit->deployment, context->actor, true))
	{
		case DEPLOYMENT_MISSING:
			visit->ended = true;
			return false;
		case DEPLOYMENT_LOCKED:
			visit->locked = true;
			return false;
		case DEPLOYMENT_FOUND:
			break;
	}
	visit->loaded_seq = w->d.chain.seq;
	visit->ended = deployment_is_final(w->d.status);
	return !visit->ended;
}

/* Advances a deployment as far as it goes, inside a (sub)transaction.  Errors are the caller's. */
void
pipeline_visit(VisitContext *context, Visit *visit)
{
	DbScope scope;
	Walk w;

	db_enter(&scope);
	if (enter(&w, context, visit))
	{
		gate_enter(&w);
		if (w.d.status == DEPLOYMENT_SCHEDULED || w.d.status == DEPLOYMENT_QUEUED ||
			w.d.status == DEPLOYMENT_PENDING_APPROVAL)
			advance_waiting(&w);
		else
			w.stages = plan_load_stages(&w.d);
		if (w.d.status == DEPLOYMENT_PAUSED && !context->suspended)
			resume_deployment(&w);
		if (w.d.status == DEPLOYMENT_RUNNING)
			advance_running(&w);
		if (w.d.status == DEPLOYMENT_ROLLING_BACK)
			rollback_advance(&w);
		save(&w);
	}
	db_leave(&scope);
}

static void
fail_running(Walk *w, ErrorData *error)
{
	w->stages = plan_load_stages(&w->d);
	w->stage = current_stage(w);
	if (w->stage == NULL)
	{
		deployment_apply(&w->d, DEPLOYMENT_FAIL, error->message);
		return;
	}
	w->tasks = plan_load_tasks(&w->d, w->stage->ordinal);
	if (w->stage->status == STAGE_PENDING)
		stage_apply(w->stage, STAGE_START, NULL);
	stagetask_cancel_unfinished(w->tasks);
	fail_stage(w, unpack_sql_state(error->sqlerrcode), error->message);
}

/*
 * Records that a visit raised an error, in a new (sub)transaction: the stage it was in has failed,
 * and with it the deployment, as far as nothing is swapped half.
 */
void
pipeline_fail(const AuditActor *actor, Visit *visit, ErrorData *error)
{
	VisitContext context = { .actor = unconstify(AuditActor *, actor),
							 .results = CurrentMemoryContext };
	DbScope scope;
	Walk w;

	db_enter(&scope);
	if (enter(&w, &context, visit))
	{
		if (w.d.status == DEPLOYMENT_PAUSED)
			resume_deployment(&w);
		w.d.sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
		w.d.message = pstrdup(error->message);
		if (w.d.status == DEPLOYMENT_RUNNING)
			fail_running(&w, error);
		else if (w.d.status == DEPLOYMENT_ROLLING_BACK)
			deployment_apply(&w.d, DEPLOYMENT_FAIL_ROLLBACK, error->message);
		else
			deployment_apply(&w.d, DEPLOYMENT_FAIL, error->message);
		save(&w);
	}
	db_leave(&scope);
}
