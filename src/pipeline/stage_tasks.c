/*
 * stage_tasks.c
 *		The tasks of a stage: those that are due start, those that nobody runs any more are settled.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/guc.h"
#include "common/pg_prng.h"
#include "environment/task_role.h"
#include "pipeline/visit.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

static void
fail_task(Task *task, int sqlerrcode, const char *message)
{
	task->sqlstate = pstrdup(unpack_sql_state(sqlerrcode));
	task->message = pstrdup(message);
	task_apply(task, TASK_FAIL);
}

/* Is the role one that this dispatcher may start tasks of? */
static bool
role_wanted(Walk *w, Oid role)
{
	VisitContext *context = w->context;
	MemoryContext old;

	if (!OidIsValid(context->only_role) || context->only_role == role)
		return true;
	old = MemoryContextSwitchTo(context->results);
	context->left_roles = list_append_unique_oid(context->left_roles, role);
	MemoryContextSwitchTo(old);
	return false;
}

/* Starts a task, if there is capacity for it and its role can log in. */
static void
start_task(Walk *w, Task *task)
{
	char *problem;
	int sqlerrcode;
	Oid role = task_role(&w->d.tenant, task->has_node ? &task->node : NULL, task->hook, &problem,
						 &sqlerrcode);
	StartedTask started;

	if (problem)
	{
		fail_task(task, sqlerrcode, problem);
		return;
	}
	if (!role_wanted(w, role))
		return;
	if (w->context->capacity <= 0)
	{
		w->visit->starved = true;
		return;
	}
	w->context->capacity--;
	task_apply(task, TASK_START);
	started.key = task_key(&w->d, task);
	started.role = role;
	walk_report(w, &w->visit->started, &started, sizeof(started));
}

/* A task that no process has in hand any more. */
static void
settle_lost(Walk *w, Task *task)
{
	TaskKey key = task_key(&w->d, task);

	if (w->d.cancel_requested_at != TIME_NULL && w->d.status == DEPLOYMENT_RUNNING)
		task_apply(task, TASK_CANCEL);
	else if (w->context->given_back(&key))
		task_apply(task, TASK_GIVE_BACK);
	else if (task->attempt >= hotswap_retry_limit)
		fail_task(task, ERRCODE_ADMIN_SHUTDOWN, "the executor ended during the last attempt");
	else
	{
		task->sqlstate = pstrdup(unpack_sql_state(ERRCODE_ADMIN_SHUTDOWN));
		task->message = "the executor ended during the attempt";
		task_apply(task, TASK_RETRY_LATER);
		task->due_at =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										backoff_delay(task->attempt, hotswap_retry_base,
													  hotswap_retry_max_delay,
													  pg_prng_double(&pg_global_prng_state)));
	}
}

void
stagetask_settle_lost(Walk *w)
{
	ListCell *cell;

	foreach (cell, w->tasks)
	{
		Task *task = lfirst(cell);
		TaskKey key = task_key(&w->d, task);

		if (task->status == TASK_RUNNING && !w->context->in_flight(&key))
			settle_lost(w, task);
	}
}

/*
 * The status that counts.  A task whose executor is not quite done with it is still running: its commit
 * is visible a moment before other sessions have been told which of their cached definitions are stale,
 * and what starts next must not meet the old ones.
 */
static TaskStatus
settled_status(Walk *w, const Task *task)
{
	TaskKey key = task_key(&w->d, task);
	bool ended = task->status == TASK_SUCCEEDED || task->status == TASK_FAILED;

	return ended && w->context->in_flight(&key) ? TASK_RUNNING : task->status;
}

/* Counts the tasks of a kind of work: reverts, or everything else. */
Tally
stagetask_tally(Walk *w, bool reverts)
{
	Tally t = { 0 };
	ListCell *cell;

	foreach (cell, w->tasks)
	{
		Task *task = lfirst(cell);
		bool open = false;
		bool begun = task->status != TASK_PENDING;

		if ((task->kind == TASK_UNDO) != reverts)
			continue;
		switch (settled_status(w, task))
		{
			case TASK_PENDING:
			case TASK_READY:
			case TASK_RETRY_WAIT:
				t.unfinished++;
				open = true;
				break;
			case TASK_RUNNING:
				t.running++;
				open = true;
				break;
			case TASK_FAILED:
				t.failed++;
				if (t.first_failed == NULL)
					t.first_failed = task;
				break;
			default:
				break;
		}
		if (open && (t.current_wave == 0 || task->wave < t.current_wave))
		{
			t.current_wave = task->wave;
			t.begun = false;
		}
		if (open && task->wave == t.current_wave)
			t.begun = t.begun || begun;
	}
	return t;
}

void
stagetask_cancel_unfinished(List *tasks)
{
	ListCell *cell;

	foreach (cell, tasks)
	{
		Task *task = lfirst(cell);

		if (machine_allows(&task_machine, task->status, TASK_CANCEL) &&
			task->status != TASK_RUNNING)
			task_apply(task, TASK_CANCEL);
	}
}

/* Starts what is due in the current wave, and notes when the next retry is. */
void
stagetask_start_due(Walk *w, bool reverts, int wave)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell *cell;

	foreach (cell, w->tasks)
	{
		Task *task = lfirst(cell);

		if ((task->kind == TASK_UNDO) != reverts || task->wave != wave)
			continue;
		if (task->status == TASK_PENDING)
			task_apply(task, TASK_ADMIT);
		if (task->status == TASK_RETRY_WAIT && task->due_at > now)
			w->visit->next_due = Min(w->visit->next_due, task->due_at);
		else if ((task->status == TASK_READY || task->status == TASK_RETRY_WAIT) &&
				 w->context->may_start)
			start_task(w, task);
	}
}
