/*
 * pool.c
 *		Gives tasks to executors, starts and ends executors.
 *
 * Everything is decided from the slots in shared memory under shared->lock: an executor announces
 * there that it runs, is done, or has died, so the count of what is in flight is never kept by
 * increments that a death could falsify.  Only the dispatcher of a database fills the slots of that
 * database.  A process is signalled only under the lock, while its slot says that it lives.
 */
#include "postgres.h"

#include "base/bgworker.h"
#include "base/guc.h"
#include "dispatch/pool.h"
#include "miscadmin.h"
#include "shm/shmem.h"
#include "utils/memutils.h"

#define START_LIMIT_MS 30000
#define PATIENCE_MS 50 /* for which a task waits behind another one: a few starts of an executor */
#define TERMINATED_PAUSE_MS 200 /* how long before the death of a terminated executor counts */

/* Handle of a worker that has been registered and has not reported yet. */
static BackgroundWorkerHandle **handles = NULL; /* by slot */

static void
enqueue(ExecutorSlot *slot, const TaskKey *key)
{
	slot->queue[slot->queued++] = *key;
	if (slot->pid != 0)
		shmem_wake_proc(slot->proc);
}

/* The executor of the role with the fewest tasks and room for one more. */
static ExecutorSlot *
find_room(Oid role)
{
	ExecutorSlot *best = NULL;

	foreach_executor (slot, MyDatabaseId)
		if (slot->role == role && !slot->stop && slot->queued < QUEUE_DEPTH &&
			(best == NULL || slot->queued < best->queued))
			best = slot;
	return best;
}

/* Asks one idle executor of another role to leave. */
static void
make_room(Oid role)
{
	foreach_executor (slot, MyDatabaseId)
		if (slot->role != role && slot->state == EXECUTOR_IDLE && slot->queued == 0 && !slot->stop)
		{
			slot->stop = true;
			shmem_wake_proc(slot->proc);
			return;
		}
}

/* Number of tasks in flight and of executors. */
static int
count_executors(int *executors)
{
	int tasks = 0;

	*executors = 0;
	foreach_executor (slot, MyDatabaseId)
	{
		(*executors)++;
		tasks += slot->queued;
	}
	return tasks;
}

/* Number of tasks in flight. */
int
pool_tasks(void)
{
	int tasks;
	int executors;

	LWLockAcquire(shared->lock, LW_SHARED);
	tasks = count_executors(&executors);
	LWLockRelease(shared->lock);
	return tasks;
}

static bool
start_executor(int index, uint32 generation)
{
	BackgroundWorker worker;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool started;

	if (handles == NULL)
		handles = palloc0(executors_count() * sizeof(BackgroundWorkerHandle *));
	bgworker_describe(&worker, "hotswap executor", "hotswap_executor_main");
	worker.bgw_main_arg = Int32GetDatum(index);
	memcpy(worker.bgw_extra, &generation, sizeof(generation));
	worker.bgw_notify_pid = MyProcPid;
	started = RegisterDynamicBackgroundWorker(&worker, &handles[index]);
	MemoryContextSwitchTo(old);
	return started;
}

/*
 * Hands a task, whose start has been committed, to an executor logged in as the role: to an idle
 * one, else to a new one, else as the next task of a busy one.
 */
PoolPlacement
pool_place(const TaskKey *key, Oid role)
{
	ExecutorSlot *slot;
	int executors;
	int index;
	uint32 generation;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_room(role);
	(void) count_executors(&executors);
	if (slot && (slot->queued == 0 || executors >= hotswap_max_executors))
	{
		enqueue(slot, key);
		LWLockRelease(shared->lock);
		return POOL_PLACED;
	}
	if (executors >= hotswap_max_executors)
	{
		make_room(role);
		LWLockRelease(shared->lock);
		return POOL_BUSY;
	}
	slot = executor_claim(role);
	if (slot)
		slot->queue[slot->queued++] = *key;
	index = slot ? executor_index(slot) : -1;
	generation = slot ? slot->generation : 0;
	LWLockRelease(shared->lock);
	if (slot && start_executor(index, generation))
		return POOL_PLACED;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot)
		slot->state = EXECUTOR_FREE;
	/* better second in a queue than nowhere */
	slot = find_room(role);
	if (slot)
		enqueue(slot, key);
	LWLockRelease(shared->lock);
	return slot ? POOL_PLACED : POOL_NO_WORKER;
}

/*
 * Cancels a task where it runs: its statement, or (end) its executor.  True if it had not begun:
 * then it is nobody's any more.
 */
bool
pool_cancel(const TaskKey *key, bool end)
{
	bool taken_back = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	foreach_executor (slot, MyDatabaseId)
	{
		for (int q = 1; q < slot->queued; q++)
			if (task_key_equal(&slot->queue[q], key))
			{
				/* not begun: take it back, the dispatcher cancels it in the table */
				memmove(&slot->queue[q], &slot->queue[q + 1],
						(slot->queued - q - 1) * sizeof(TaskKey));
				slot->queued--;
				taken_back = true;
			}
		if (slot->queued == 0 || !task_key_equal(&slot->queue[0], key))
			continue;
		/* one that is just starting looks at the flag before it begins */
		if (end && slot->pid != 0)
			kill(slot->pid, SIGTERM);
		else if (!slot->cancel)
		{
			slot->cancel = true;
			if (slot->running)
				kill(slot->pid, SIGINT);
		}
	}
	LWLockRelease(shared->lock);
	return taken_back;
}

/* A worker that was registered and ended, or was never started, without using its slot. */
static bool
never_came(int index, const ExecutorSlot *slot)
{
	pid_t pid;

	/* registered by the dispatcher before us: give it time */
	if (handles == NULL || handles[index] == NULL)
		return TimestampDifferenceExceeds(slot->since, GetCurrentTimestamp(), START_LIMIT_MS);
	return GetBackgroundWorkerPid(handles[index], &pid) == BGWH_STOPPED;
}

/* Sees to it that one that never came is dead, unless it has come after all. */
static void
bury(int index, ExecutorSlot *copy)
{
	ExecutorSlot *slot = executor_slot(index);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->state == EXECUTOR_STARTING)
		slot->state = EXECUTOR_DEAD;
	*copy = *slot;
	LWLockRelease(shared->lock);
}

/* Frees a dead executor's slot and tells what it had. */
static void
reap(int index, PoolLost lost, void *arg)
{
	ExecutorSlot *slot = executor_slot(index);
	ExecutorSlot copy;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	copy = *slot;
	slot->state = EXECUTOR_FREE;
	LWLockRelease(shared->lock);
	if (handles && handles[index])
	{
		pfree(handles[index]);
		handles[index] = NULL;
	}
	/* one that never got as far as its first task is a failed attempt too, or we would try for ever */
	for (int q = 0; q < copy.queued; q++)
		lost(arg, &copy.queue[q], q == 0);
}

/*
 * Frees the slots of executors that have died, tells what they had, and returns when to look again,
 * DT_NOEND: never.
 *
 * At a shutdown of the server the executors may be terminated a moment before the dispatcher is.  So
 * unless the dispatcher is leaving itself, it waits that moment before a terminated executor is a
 * failed attempt.
 */
TimestampTz
pool_reap(PoolLost lost, void *arg, bool leaving)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = DT_NOEND;

	for (int i = 0; i < executors_count(); i++)
	{
		ExecutorSlot slot;
		TimestampTz from = DT_NOBEGIN;

		/* the lock is not held meanwhile: nobody else brings a dead one of ours back to life */
		executor_read(i, &slot);
		if (slot.state == EXECUTOR_FREE || slot.database != MyDatabaseId)
			continue;
		if (slot.state == EXECUTOR_STARTING && never_came(i, &slot))
			bury(i, &slot);
		if (slot.state != EXECUTOR_DEAD)
			continue;
		if (slot.terminated && slot.queued > 0 && !leaving)
			from = TimestampTzPlusMilliseconds(slot.since, TERMINATED_PAUSE_MS);
		if (from <= now)
			reap(i, lost, arg);
		else
			next = Min(next, from);
	}
	return next;
}

/* The executor of a role that has a task which has not begun, or NULL. */
static ExecutorSlot *
find_waiting(Oid role)
{
	foreach_executor (slot, MyDatabaseId)
		if (slot->role == role && slot->queued > 1)
			return slot;
	return NULL;
}

/* Gives a task that has not begun to an executor of the same role that has none. */
void
pool_rebalance(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	foreach_executor (slot, MyDatabaseId)
	{
		ExecutorSlot *from;

		if (slot->state != EXECUTOR_IDLE || slot->queued > 0 || slot->stop)
			continue;
		from = find_waiting(slot->role);
		if (from)
			enqueue(slot, &from->queue[--from->queued]);
	}
	LWLockRelease(shared->lock);
}

/*
 * Takes a task that has not begun from an executor that is busy with a long one, if there can be another
 * executor for it; where one of another role is idle, that is asked to leave first.  next: when to look
 * again, DT_NOEND: not before something happens.
 */
bool
pool_take_stuck(TaskKey *key, Oid *role, TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();
	ExecutorSlot *stuck = NULL;
	bool leaving = false;
	bool taken = false;
	int executors;

	*next = DT_NOEND;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	(void) count_executors(&executors);
	foreach_executor (slot, MyDatabaseId)
	{
		TimestampTz due = TimestampTzPlusMilliseconds(slot->since, PATIENCE_MS);

		leaving = leaving || slot->stop;
		if (!slot->running || slot->queued < 2)
			continue;
		if (due > now)
			*next = Min(*next, due);
		else
			stuck = slot;
	}
	if (stuck && executors < hotswap_max_executors)
	{
		*key = stuck->queue[--stuck->queued];
		*role = stuck->role;
		taken = true;
	}
	else if (stuck && !leaving)
		make_room(stuck->role);
	LWLockRelease(shared->lock);
	return taken;
}

/* Ends executors that have been idle too long; returns when to look again, DT_NOEND: never. */
TimestampTz
pool_shrink(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = DT_NOEND;
	int executors;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	(void) count_executors(&executors);
	foreach_executor (slot, MyDatabaseId)
	{
		TimestampTz end;

		if (executors <= hotswap_min_executors)
			break;
		if (slot->state != EXECUTOR_IDLE || slot->queued > 0)
			continue;
		end = TimestampTzPlusMilliseconds(slot->since, hotswap_executor_idle_timeout);
		if (end <= now && !slot->stop)
		{
			slot->stop = true;
			shmem_wake_proc(slot->proc);
		}
		else if (end > now)
			next = Min(next, end);
		executors -= slot->stop ? 1 : 0;
	}
	LWLockRelease(shared->lock);
	return next;
}

/*
 * Sends every executor away, breaking off what they do; true while any is left.  Nobody waits for one that
 * has not come yet: at a shutdown the postmaster starts none any more.  If it comes, it sees that its slot is
 * not its own.
 */
bool
pool_dismiss(void)
{
	bool left = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	foreach_executor (slot, MyDatabaseId)
	{
		if (slot->pid == 0)
		{
			slot->state = EXECUTOR_DEAD;
			continue;
		}
		left = true;
		slot->stop = true;
		kill(slot->pid, SIGTERM);
	}
	LWLockRelease(shared->lock);
	return left;
}
