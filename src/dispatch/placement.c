/*
 * placement.c
 *		Hands started tasks to executors, or runs them in the session of CALL work().
 *
 * The start of a task has been committed before it comes here.  A task for which no executor can be
 * started, or whose executor has died before it began, is given back: its deployment is visited, and the
 * attempt does not count.  Locks what pool.c does, briefly.
 */
#include "postgres.h"

#include "base/guc.h"
#include "dispatch/placement.h"
#include "dispatch/pool.h"
#include "miscadmin.h"
#include "pipeline/visit.h"
#include "run/task.h"
#include "shm/shmem.h"

#define NO_WORKER_RETRY_MS 2000
#define FOREGROUND_CAPACITY 8 /* tasks in hand of CALL work() */

/* ---- what is where ---- */

/* How many tasks may be started now. */
int
placement_capacity(Dispatch *d)
{
	if (!d->mode->background)
		return FOREGROUND_CAPACITY;
	if (GetCurrentTimestamp() < d->no_worker_until)
		return 0;
	return Max(0, hotswap_max_executors * QUEUE_DEPTH - pool_tasks() - list_length(d->unplaced));
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

/* ---- executors ---- */

static void
give_back(Dispatch *d, const TaskKey *key)
{
	dispatch_remember(d, &d->unbegun, key, sizeof(*key));
	dueset_touch_id(&key->deployment);
}

static void
task_lost(void *arg, const TaskKey *key, bool begun)
{
	Dispatch *d = arg;

	if (begun)
		dueset_touch_id(&key->deployment);
	else
		give_back(d, key);
}

/* Looks for executors that have died. */
void
placement_reap(Dispatch *d, bool leaving)
{
	if (d->mode->background)
		d->next_reap = pool_reap(task_lost, d, leaving);
}

static void
set_no_workers(Dispatch *d, bool none)
{
	DatabaseSlot *slot;

	if (none == d->no_workers || (slot = shmem_my_database()) == NULL)
		return;
	slot->no_workers = d->no_workers = none;
	LWLockRelease(slot->lock);
	if (none)
		ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("no worker slot is free for a hotswap executor"),
					  errhint("Consider increasing max_worker_processes.")));
	else
		ereport(LOG, (errmsg("worker slots are free again for hotswap executors")));
}

/* Gives a started task to an executor; false if it has to be tried again later. */
static bool
place(Dispatch *d, const StartedTask *task)
{
	switch (pool_place(&task->key, task->role))
	{
		case POOL_PLACED:
			set_no_workers(d, false);
			return true;
		case POOL_BUSY:
			return false;
		case POOL_NO_WORKER:
			set_no_workers(d, true);
			d->no_worker_until =
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_WORKER_RETRY_MS);
			give_back(d, &task->key);
			return true;
	}
	return true;
}

/* Hands tasks (StartedTask) to executors. */
void
placement_put(Dispatch *d, List *tasks)
{
	ListCell *cell;

	foreach (cell, tasks)
		if (!place(d, lfirst(cell)))
			dispatch_remember(d, &d->unplaced, lfirst(cell), sizeof(StartedTask));
}

/* The same again for those that no executor had room for. */
void
placement_retry(Dispatch *d)
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

/* Forgets the tasks that a visit has given back, or that are gone. */
void
placement_forget_settled(Dispatch *d)
{
	ListCell *cell;

	foreach (cell, d->unbegun)
	{
		TaskKey *key = lfirst(cell);
		DueItem *item = dueset_find(&key->deployment);

		if (item && item->touched)
			continue;
		d->unbegun = foreach_delete_current(d->unbegun, cell);
		pfree(key);
	}
}

/* When there is something to do here without any event; DT_NOEND: never. */
TimestampTz
placement_next(const Dispatch *d)
{
	if (d->no_worker_until > GetCurrentTimestamp())
		return Min(d->next_reap, d->no_worker_until);
	return d->next_reap;
}
