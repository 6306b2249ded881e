/*
 * placement.c
 *		Hands started tasks to executors, or runs them in the session of CALL work().
 *
 * The start of a task has been committed before it comes here.  A task for which no executor can be
 * started waits here: one that is idle, or has had its turn, is asked to leave for it.  A task whose
 * executor has died before it began is given back: its deployment is visited, and the attempt does not
 * count.  Locks what pool.c does, briefly.
 */
#include "postgres.h"

#include "base/guc.h"
#include "dispatch/placement.h"
#include "dispatch/pool.h"
#include "miscadmin.h"
#include "pipeline/visit.h"
#include "run/task.h"
#include "shm/shmem.h"
#include "shm/worker_line.h"

#define SHORT_RETRY_MS 20 /* doubles */
#define SHORT_RETRY_MAX_MS 2000
#define SHORT_LOG_MS (10 * 60 * 1000) /* between two lines in the log */
#define FOREGROUND_CAPACITY 8         /* tasks in hand of CALL work() */

/* ---- what is where ---- */

/* How many tasks may be started now. */
int
placement_capacity(Dispatch *d)
{
	int executors;
	int tasks;

	if (!d->mode->background)
		return FOREGROUND_CAPACITY;
	tasks = pool_tasks(&executors) + list_length(d->unplaced);
	/* while no more can be started, those that there are count; one task is enough to stand in line */
	if (d->shortages == 0)
		executors = hotswap_max_executors;
	return Max(0, Max(1, executors * QUEUE_DEPTH) - tasks);
}

static void
count_task(const TaskKey *key)
{
	DueTenant *tenant = turn_find_tenant(&key->tenant);

	if (tenant)
		tenant->tasks++;
}

/* Adds up how many tasks of each tenant are in hand; the caller has set the counts to zero. */
void
placement_count_tasks(Dispatch *d)
{
	ListCell *cell;

	LWLockAcquire(shared->lock, LW_SHARED);
	foreach_executor (slot, MyDatabaseId)
		for (int q = 0; q < slot->queued; q++)
			count_task(&slot->queue[q]);
	LWLockRelease(shared->lock);
	foreach (cell, d->unplaced)
		count_task(&((StartedTask *) lfirst(cell))->key);
}

static int
count_of(List *tasks, const pg_uuid_t *tenant)
{
	int count = 0;
	ListCell *cell;

	foreach (cell, tasks)
		if (memcmp(&((StartedTask *) lfirst(cell))->key.tenant, tenant, sizeof(*tenant)) == 0)
			count++;
	return count;
}

/* How many tasks of a tenant are in hand, those that the present batch starts among them. */
int
placement_tasks_of(Dispatch *d, const pg_uuid_t *tenant)
{
	return executors_tasks_of(tenant) + count_of(d->unplaced, tenant) +
		   count_of(d->starting, tenant);
}

static bool
key_in(List *keys, const TaskKey *key)
{
	ListCell *cell;

	/* a StartedTask begins with its key */
	foreach (cell, keys)
		if (task_key_equal(lfirst(cell), key))
			return true;
	return false;
}

/* Has anybody the task in hand? */
bool
placement_in_flight(void *arg, const TaskKey *key)
{
	Dispatch *d = arg;

	return key_in(d->unplaced, key) || executors_have(key);
}

/* Was the task lost without having begun? */
bool
placement_given_back(void *arg, const TaskKey *key)
{
	Dispatch *d = arg;

	return d->giving_back || key_in(d->unbegun, key);
}

/* Was it lost because it did not end when its time was over? */
bool
placement_overran(void *arg, const TaskKey *key)
{
	return key_in(((Dispatch *) arg)->overrun, key);
}

/* ---- executors ---- */

static void
give_back(Dispatch *d, const TaskKey *key)
{
	dispatch_remember(d, &d->unbegun, key, sizeof(*key));
	dueset_touch_id(&key->deployment);
}

static void
task_lost(void *arg, const TaskKey *key, TaskLoss loss)
{
	Dispatch *d = arg;

	if (loss == LOST_UNBEGUN)
		dispatch_remember(d, &d->unbegun, key, sizeof(*key));
	else if (loss == LOST_OVERRUN)
		dispatch_remember(d, &d->overrun, key, sizeof(*key));
	dueset_touch_id(&key->deployment);
}

/* Looks for executors that have died.  leaving: what waits for one is given back, too. */
void
placement_reap(Dispatch *d, bool leaving)
{
	ListCell *cell;

	if (!d->mode->background)
		return;
	d->next_reap = pool_reap(task_lost, d, leaving);
	if (!leaving)
		return;
	foreach (cell, d->unplaced)
		give_back(d, &((StartedTask *) lfirst(cell))->key);
	list_free_deep(d->unplaced);
	d->unplaced = NIL;
	pool_leave_line();
}

/* The log has it once that no worker slot is free, when that lasts, and once that there are some again. */
static void
report_shortage(Dispatch *d, bool lasts)
{
	TimestampTz now = GetCurrentTimestamp();

	if (lasts && !d->short_known &&
		TimestampDifferenceExceeds(d->short_reported, now, SHORT_LOG_MS))
	{
		d->short_reported = now;
		d->short_known = true;
		ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("no worker slot is free for a hotswap executor"),
					  errhint("Consider increasing max_worker_processes.")));
	}
	else if (d->short_known && d->shortages == 0)
	{
		d->short_known = false;
		ereport(LOG, (errmsg("worker slots are free again for hotswap executors")));
	}
}

/* No executor could be started: the next try has to wait a little. */
static void
put_off_starts(Dispatch *d)
{
	int64 delay = Min((int64) SHORT_RETRY_MS << Min(d->shortages, 10u), SHORT_RETRY_MAX_MS);

	d->shortages++;
	d->no_worker_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);
	report_shortage(d, worker_line_waits(MyDatabaseId) >= WORKER_LINE_LONG_MS);
}

static void
end_shortage(Dispatch *d)
{
	if (d->shortages == 0)
		return;
	d->shortages = 0;
	d->no_worker_until = DT_NOBEGIN;
	pool_leave_line();
	report_shortage(d, false);
}

/* May an executor be started now? */
static bool
may_start(Dispatch *d)
{
	TimestampTz now = GetCurrentTimestamp();

	/* a time further away than any delay was counted before the clock was set back */
	return d->no_worker_until <= now ||
		   d->no_worker_until > TimestampTzPlusMilliseconds(now, SHORT_RETRY_MAX_MS);
}

/* Gives a started task to an executor; false if it has to be tried again later. */
static bool
place(Dispatch *d, const StartedTask *task)
{
	switch (pool_place(&task->key, task->role, may_start(d)))
	{
		case POOL_PLACED:
			return true;
		case POOL_STARTED:
			end_shortage(d);
			return true;
		case POOL_BEHIND:
			d->relieve_after =
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SHORT_RETRY_MAX_MS);
			return true;
		case POOL_BUSY:
			return false;
		case POOL_NO_WORKER:
			put_off_starts(d);
			return false;
	}
	return true;
}

/* Tasks (StartedTask) that placement_hand_over() is to hand over, after those that have been waiting longer. */
void
placement_put(Dispatch *d, List *tasks)
{
	ListCell *cell;

	foreach (cell, tasks)
		dispatch_remember(d, &d->unplaced, lfirst(cell), sizeof(StartedTask));
}

/*
 * Hands the tasks that wait here to executors, as far as these have room.  Outside a transaction.  This can
 * fail; then what has not been handed over still waits.
 */
void
placement_hand_over(Dispatch *d)
{
	ListCell *cell;

	foreach (cell, d->unplaced)
	{
		StartedTask *task = lfirst(cell);

		if (!place(d, task))
			continue;
		d->unplaced = foreach_delete_current(d->unplaced, cell);
		pfree(task);
	}
	/* nobody had to do without: the tasks were placed, or taken back */
	if (may_start(d))
		end_shortage(d);
}

static bool
take_unplaced(Dispatch *d, const TaskKey *key)
{
	ListCell *cell;

	foreach (cell, d->unplaced)
		if (task_key_equal(lfirst(cell), key))
		{
			pfree(lfirst(cell));
			d->unplaced = foreach_delete_current(d->unplaced, cell);
			return true;
		}
	return false;
}

/* Cancels tasks of a deployment where they run: their statements, or (end) their executors. */
void
placement_cancel(Dispatch *d, DueItem *item, List *keys, bool end)
{
	ListCell *cell;

	foreach (cell, keys)
		if (take_unplaced(d, lfirst(cell)) || (shared && pool_cancel(lfirst(cell), end)))
			dueset_touch(item);
}

/* ---- the session of CALL work() ---- */

/* Runs tasks (StartedTask) of a deployment here and now, until the session is cancelled. */
void
placement_run(Dispatch *d, DueItem *item, List *tasks)
{
	ListCell *cell;

	foreach (cell, tasks)
	{
		const TaskKey *key = &((StartedTask *) lfirst(cell))->key;

		if (d->cancelled)
		{
			dispatch_remember(d, &d->unbegun, key, sizeof(*key));
			continue;
		}
		dispatch_begin_transaction(d);
		d->cancelled = !task_run_in_session(key);
		d->mode->commit();
	}
	if (tasks != NIL)
		dueset_touch(item);
}

/* ---- afterwards ---- */

static void
forget_settled(List **keys)
{
	ListCell *cell;

	foreach (cell, *keys)
	{
		TaskKey *key = lfirst(cell);
		DueItem *item = dueset_find(&key->deployment);

		if (item && item->touched)
			continue;
		*keys = foreach_delete_current(*keys, cell);
		pfree(key);
	}
}

/* Forgets the lost tasks that a visit has settled, or that are gone. */
void
placement_forget_settled(Dispatch *d)
{
	forget_settled(&d->unbegun);
	forget_settled(&d->overrun);
}

/* When there is something to do here without any event; DT_NOEND: never. */
TimestampTz
placement_next(const Dispatch *d)
{
	if (d->shortages > 0)
		return Min(d->next_reap, d->no_worker_until);
	return d->next_reap;
}
