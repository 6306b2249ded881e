/*
 * task_set.c
 *		The tasks of a stage that a visit looks at, and how many others there are.
 *
 * Of a stage with few tasks all are read.  One with many remembers how many there are of each kind and
 * status, so that a visit reads those with which something can have happened, and those that come next:
 *
 *		open		an executor has them, or they wait for another attempt: their ordinals
 *		reported	an agent has ended them since the last visit: by their index
 *		overdue		an agent should have ended them: by the index of leases
 *		next		they have not begun, from an ordinal on: as many as can start, or the next wave
 *
 * What is remembered is what the audit log has; what an executor or an agent has recorded since is among those that
 * are read.  Who changes a task otherwise has it forgotten, and the next visit reads them all.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "deployment/rollout_row.h"
#include "nodes/nodes.h"
#include "pipeline/task_set.h"

#define FEW_TASKS 16 /* so many are read at each visit */

static const TaskCounts no_tasks;

static void
count_task(TaskCounts *counts, const Task *task, TaskStatus status, int n)
{
	counts->by[task->kind][status] += n;
	if (task->kind == TASK_SWAP && task->steps == 0)
		counts->idle += n;
}

static int
ordinal_at(List *tasks, int i)
{
	return i < list_length(tasks) ? ((Task *) list_nth(tasks, i))->ordinal : PG_INT32_MAX;
}

/*
 * Adds tasks that were read, unless they are there: what the visit has made of one counts.  Both lists are in the
 * order of ordinals.  Returns those that were added.
 */
static List *
add(Visit *v, List *more)
{
	List *merged = NIL;
	List *added = NIL;
	int i = 0;
	ListCell *cell;

	foreach (cell, more)
	{
		Task *task = lfirst(cell);

		while (ordinal_at(v->tasks, i) < task->ordinal)
			merged = lappend(merged, list_nth(v->tasks, i++));
		if (ordinal_at(v->tasks, i) == task->ordinal)
			continue;
		count_task(&v->others, task, task->saved_status, -1);
		merged = lappend(merged, task);
		added = lappend(added, task);
	}
	while (i < list_length(v->tasks))
		merged = lappend(merged, list_nth(v->tasks, i++));
	v->tasks = merged;
	steps_audit_recorded(&v->d, added);
	return added;
}

/* The ordinals of the swaps that reverts among these undo. */
static List *
reverted_by(List *tasks)
{
	List *ordinals = NIL;
	ListCell *cell;

	foreach (cell, tasks)
		if (((Task *) lfirst(cell))->reverts >= 0)
			ordinals = lappend_int(ordinals, ((Task *) lfirst(cell))->reverts);
	return ordinals;
}

/* An executor that has reverted a swap has written its row, too. */
static void
add_some(Visit *v, List *ordinals)
{
	int stage = v->tasks_of->ordinal;
	List *added = add(v, steps_load_some(&v->d, stage, ordinals));

	(void) add(v, steps_load_some(&v->d, stage, reverted_by(added)));
}

/* How many tasks that are not at hand have a status: reverts, or others.  A gate has no success of its own. */
int
task_set_others(const Visit *v, bool reverts, TaskStatus status)
{
	bool has_ended = status == TASK_SUCCEEDED || status == TASK_FAILED;
	int count = 0;

	for (int kind = 0; kind < TASK_KIND_COUNT; kind++)
		if ((kind == TASK_REVERT) == reverts && !(kind == TASK_GATE && has_ended))
			count += v->others.by[kind][status];
	return count;
}

static int
all_others(const Visit *v, TaskStatus status)
{
	return task_set_others(v, true, status) + task_set_others(v, false, status);
}

/* A stage that has no tasks yet; NULL: none. */
void
task_set_begin(Visit *v, Stage *stage)
{
	v->tasks = NIL;
	v->tasks_of = stage;
	v->others = no_tasks;
}

/* Reads what there is of the tasks of a stage. */
void
task_set_load(Visit *v, Stage *stage)
{
	if (!stage->is_counted)
	{
		task_set_load_all(v, stage);
		return;
	}
	task_set_begin(v, stage);
	v->others = stage->counts;
	v->frontier = stage->next_task;
	add_some(v, stage->open);
	/* all that run and are not open are with agents */
	if (all_others(v, TASK_RUNNING) > 0)
		add_some(v, list_concat(steps_reported_tasks(&v->d, stage->ordinal),
								steps_overdue_tasks(&v->d, stage->ordinal)));
}

/* Reads them all. */
void
task_set_load_all(Visit *v, Stage *stage)
{
	task_set_begin(v, stage);
	task_set_complete(v);
}

static bool
is_complete(const Visit *v)
{
	return memcmp(&v->others, &no_tasks, sizeof(no_tasks)) == 0;
}

/* Reads those that are not at hand. */
void
task_set_complete(Visit *v)
{
	(void) add(v, steps_load_tasks(&v->d, v->tasks_of->ordinal));
	v->others = no_tasks;
	v->frontier = list_length(v->tasks) + 1;
}

/* Reads tasks at hand once more, and the swaps that they revert. */
void
task_set_read_again(Visit *v, List *ordinals)
{
	List *again = steps_load_some(&v->d, v->tasks_of->ordinal, ordinals);
	ListCell *cell;

	again = list_concat(again, steps_load_some(&v->d, v->tasks_of->ordinal, reverted_by(again)));
	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);
		ListCell *other;

		foreach (other, again)
			if (((Task *) lfirst(other))->ordinal == task->ordinal)
				lfirst(cell) = lfirst(other);
	}
	steps_audit_recorded(&v->d, again);
}

/*
 * The status that counts.  A task whose executor is not quite done with it is still running: its
 * commit is visible a moment before other sessions have been told which of their cached definitions
 * are stale, and what starts next must not meet the old ones.
 */
TaskStatus
task_set_status(const Visit *v, const Task *task)
{
	TaskKey key = task_key(&v->d, task);
	bool ended = task->status == TASK_SUCCEEDED || task->status == TASK_FAILED;

	return ended && v->request->in_flight(v->request->tasks, &key) ? TASK_RUNNING : task->status;
}

bool
task_set_is_unfinished(const Visit *v, const Task *task)
{
	switch (task_set_status(v, task))
	{
		case TASK_PENDING:
		case TASK_READY:
		case TASK_RUNNING:
		case TASK_RETRY_WAIT:
			return true;
		default:
			return false;
	}
}

/* Has anything begun that has not ended, or is the next wave at hand? */
static bool
is_occupied(Visit *v)
{
	ListCell *cell;

	foreach (cell, v->tasks)
		if (task_set_is_unfinished(v, lfirst(cell)))
			return true;
	return all_others(v, TASK_READY) + all_others(v, TASK_RUNNING) > 0;
}

static void
pass(Visit *v, List *tasks)
{
	if (tasks != NIL)
		v->frontier = ((Task *) llast(tasks))->ordinal + 1;
}

static bool
has_pending(const Visit *v)
{
	ListCell *cell;

	foreach (cell, v->tasks)
		if (((Task *) lfirst(cell))->status == TASK_PENDING)
			return true;
	return false;
}

/*
 * Reads the wave that comes next, if nothing has to end before.  Where a wave is not taken all at once, what is left
 * of it: as many as may run at a time.
 */
void
task_set_next_wave(Visit *v)
{
	int at_a_time = v->rollout ? v->rollout->max_parallel : 0;

	if (all_others(v, TASK_PENDING) == 0)
		return;
	if (!is_occupied(v))
		pass(v, add(v, steps_load_wave(&v->d, v->tasks_of->ordinal, v->frontier, PG_INT32_MAX)));
	else if (at_a_time > 0 && !has_pending(v))
		pass(v, add(v, steps_load_wave(&v->d, v->tasks_of->ordinal, v->frontier, at_a_time)));
}

/* Reads so many of those that are ready, and returns them; NIL: there are no more. */
List *
task_set_more_ready(Visit *v, int limit)
{
	List *added;

	if (all_others(v, TASK_READY) == 0)
		return NIL;
	added = add(v, steps_load_ready(&v->d, v->tasks_of->ordinal, v->frontier, limit));
	pass(v, added);
	return added;
}

/* Reads all that has not ended and is in nobody's hands. */
void
task_set_unclaimed(Visit *v)
{
	if (all_others(v, TASK_PENDING) + all_others(v, TASK_READY) > 0)
		task_set_complete(v);
	else if (all_others(v, TASK_RUNNING) > 0)
		add_some(v, steps_unclaimed_tasks(&v->d, v->tasks_of->ordinal));
}

/* How many nodes have something to run, also those that a person has skipped. */
int
task_set_swaps(const Visit *v)
{
	int swaps = -v->others.idle;
	ListCell *cell;

	for (int status = 0; status < TASK_STATUS_COUNT; status++)
		swaps += v->others.by[TASK_SWAP][status];
	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		swaps += task->kind == TASK_SWAP && task->steps > 0;
	}
	return swaps;
}

/* ---- what is remembered ---- */

static bool
has_begun(const Task *task)
{
	return task->status != TASK_PENDING && task->status != TASK_READY;
}

/* From which ordinal on tasks have not begun. */
static int
next_task(const Visit *v)
{
	ListCell *cell;

	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		/* one before was given back, and is open; so is what a gate asks, which comes after all */
		if (!has_begun(task) && task->ordinal >= v->tasks_of->next_task && task->kind != TASK_GATE)
			return Min(task->ordinal, v->frontier);
	}
	return v->frontier;
}

/* Is it to be looked at by the next visit, whatever happens? */
static bool
is_open(Visit *v, const Task *task, int next)
{
	switch (task_set_status(v, task))
	{
		case TASK_READY:
			return task->ordinal < next || task->kind == TASK_GATE;
		case TASK_RETRY_WAIT:
			return true;
		case TASK_RUNNING:
			return task->action == AGENT_NONE;
		default:
			return false;
	}
}

/* Is it to be known which node is which, since some are not to be prepared any more? */
static bool
must_tell_apart(const Visit *v)
{
	ListCell *cell;

	if (v->rollout == NULL || !v->rollout->plan.prepares || v->rollout->wave > 0)
		return false;
	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		if (task->kind == TASK_SWAP && task->steps > 0 && task->status != TASK_PENDING)
			return true;
	}
	return false;
}

/* Is it worth to remember anything? */
static bool
has_many(const Visit *v)
{
	return v->tasks_of->is_counted || (list_length(v->tasks) > FEW_TASKS && !must_tell_apart(v));
}

/* Writes the tasks that have changed, and what is remembered of them. */
void
task_set_save(Visit *v)
{
	Stage *stage = v->tasks_of;
	TaskCounts counts = v->others;
	List *open = NIL;
	int next;
	ListCell *cell;

	steps_save_tasks(&v->d, v->tasks);
	if (stage == NULL || !has_many(v))
		return;
	/* whoever has just made some has them all */
	if (is_complete(v))
		v->frontier = list_length(v->tasks) + 1;
	next = next_task(v);
	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		count_task(&counts, task, task->status, 1);
		if (is_open(v, task, next))
			open = lappend_int(open, task->ordinal);
	}
	if (stage->is_counted && memcmp(&counts, &stage->counts, sizeof(counts)) == 0 &&
		equal(open, stage->open) && next == stage->next_task)
		return;
	stage->is_counted = true;
	stage->counts = counts;
	stage->open = open;
	stage->next_task = next;
	steps_save_counts(&v->d, stage);
}
