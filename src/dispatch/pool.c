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
#include "run/session.h"
#include "shm/shmem.h"
#include "shm/worker_line.h"
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

/* Number of tasks in flight, and of executors. */
int
pool_tasks(int *executors)
{
	int tasks;

	LWLockAcquire(shared->lock, LW_SHARED);
	tasks = count_executors(executors);
	LWLockRelease(shared->lock);
	return tasks;
}

static bool
register_worker(int index, uint32 generation)
{
	BackgroundWorker worker;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool registered;

	if (handles == NULL)
		handles = palloc0(executors_count() * sizeof(BackgroundWorkerHandle *));
	bgworker_describe(&worker, "hotswap executor", "hotswap_executor_main");
	worker.bgw_main_arg = Int32GetDatum(index);
	memcpy(worker.bgw_extra, &generation, sizeof(generation));
	worker.bgw_notify_pid = MyProcPid;
	registered = RegisterDynamicBackgroundWorker(&worker, &handles[index]);
	MemoryContextSwitchTo(old);
	return registered;
}

/* Takes a slot for an executor with a first task; -1 where there is none or others are ahead in the line. */
static int
claim(const TaskKey *key, Oid role, uint64 login, uint32 *generation)
{
	ExecutorSlot *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = worker_line_turn(MyDatabaseId) ? executor_claim(role) : NULL;
	if (slot)
	{
		slot->login = login;
		slot->queue[slot->queued++] = *key;
		*generation = slot->generation;
	}
	LWLockRelease(shared->lock);
	return slot ? executor_index(slot) : EXECUTOR_NO_SLOT;
}

/* Starts an executor with a first task; false if there can be none now. */
static bool
start_executor(const TaskKey *key, Oid role)
{
	/* first, since this may fail: then no slot has been taken for a worker that does not come */
	uint64 login = session_prepare(role);
	uint32 generation = 0;
	int index = claim(key, role, login, &generation);

	if (index == EXECUTOR_NO_SLOT)
		return false;
	if (register_worker(index, generation))
		return true;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	executor_slot(index)->state = EXECUTOR_FREE;
	LWLockRelease(shared->lock);
	return false;
}

/* No executor could be started: has room made for one, and until then finds the next best place. */
static PoolPlacement
do_without(const TaskKey *key, Oid role)
{
	ExecutorSlot *room;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	executors_make_room(MyDatabaseId, role, true);
	/* better second in a queue than nowhere */
	room = find_room(role);
	if (room)
		enqueue(room, key);
	else
		worker_line_enter(MyDatabaseId);
	LWLockRelease(shared->lock);
	return room ? POOL_BEHIND : POOL_NO_WORKER;
}

/*
 * Hands a task, whose start has been committed, to an executor logged in as the role: to an idle
 * one, else to a new one (if may_start), else as the next task of a busy one.  Outside a transaction.
 */
PoolPlacement
pool_place(const TaskKey *key, Oid role, bool may_start)
{
	PoolPlacement result = POOL_BUSY;
	ExecutorSlot *room;
	int executors;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	room = find_room(role);
	(void) count_executors(&executors);
	if (room && (room->queued == 0 || executors >= hotswap_max_executors || !may_start))
	{
		enqueue(room, key);
		result = POOL_PLACED;
	}
	else if (executors >= hotswap_max_executors)
		executors_make_room(MyDatabaseId, role, false);
	else if (may_start)
		result = POOL_STARTED;
	LWLockRelease(shared->lock);
	if (result == POOL_STARTED && !start_executor(key, role))
		return do_without(key, role);
	return result;
}

/* Nobody waits for an executor any more. */
void
pool_leave_line(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	worker_line_leave(MyDatabaseId);
	LWLockRelease(shared->lock);
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

/*
 * Sees to an executor that has been registered and has no process yet: it is dead when its worker has
 * ended, or was never started, without using its slot.  Returns when to look again.
 */
static TimestampTz
look_for(int index, const ExecutorSlot *seen)
{
	ExecutorSlot *slot = executor_slot(index);
	TimestampTz limit = TimestampTzPlusMilliseconds(seen->since, START_LIMIT_MS);
	bool known = handles && handles[index];
	pid_t pid;

	if (known && GetBackgroundWorkerPid(handles[index], &pid) != BGWH_STOPPED)
		return DT_NOEND; /* the postmaster tells us when that changes */
	/* registered by the dispatcher before us: give it time; unless its time began before the clock was set back */
	if (!known && limit > GetCurrentTimestamp() && seen->since <= GetCurrentTimestamp())
		return limit;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->generation == seen->generation && slot->state == EXECUTOR_STARTING && slot->pid == 0)
	{
		slot->state = EXECUTOR_DEAD;
		slot->unbegun = !known;
	}
	LWLockRelease(shared->lock);
	return DT_NOBEGIN;
}

/* One that never got as far as its first task is a failed attempt too, or we would try for ever. */
static TaskLoss
how_lost(const ExecutorSlot *slot, int place)
{
	if (place > 0 || slot->unbegun)
		return LOST_UNBEGUN;
	return slot->overran ? LOST_OVERRUN : LOST_BEGUN;
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
	for (int q = 0; q < copy.queued; q++)
		lost(arg, &copy.queue[q], how_lost(&copy, q));
}

/* Looks at one executor; returns when to look again, DT_NOEND: not before something happens. */
static TimestampTz
look_after(int index, PoolLost lost, void *arg, bool leaving)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz from = DT_NOBEGIN;
	ExecutorSlot slot;

	executor_read(index, &slot);
	if (slot.database == MyDatabaseId && slot.state == EXECUTOR_STARTING && slot.pid == 0)
	{
		TimestampTz next = look_for(index, &slot);

		if (next != DT_NOBEGIN)
			return next;
		executor_read(index, &slot);
	}
	/* a dead one of ours stays ours while we live, so the lock need not be held from here on */
	if (slot.database != MyDatabaseId || slot.state != EXECUTOR_DEAD)
		return DT_NOEND;
	if (slot.terminated && slot.queued > 0 && !leaving)
		from = TimestampTzPlusMilliseconds(slot.since, TERMINATED_PAUSE_MS);
	if (from > now)
		return from;
	reap(index, lost, arg);
	return DT_NOEND;
}

/*
 * Frees the slots of executors that have died, tells what they had, and returns when to look again,
 * DT_NOEND: never.
 *
 * At a shutdown of the server the executors may be terminated a moment before the dispatcher is.
 * So unless the dispatcher is leaving itself, it waits that moment before a terminated executor is
 * a failed attempt.
 */
TimestampTz
pool_reap(PoolLost lost, void *arg, bool leaving)
{
	TimestampTz next = DT_NOEND;

	for (int i = 0; i < executors_count(); i++)
		next = Min(next, look_after(i, lost, arg, leaving));
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
 * Takes a task that has not begun from an executor that is busy with a long one, if there can be
 * another executor for it; where one of another role is idle, that is asked to leave first.  next:
 * when to look again, DT_NOEND: not before something happens.
 */
bool
pool_take_stuck(TaskKey *key, Oid *role, TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();
	ExecutorSlot *stuck = NULL;
	bool taken = false;
	int executors;

	*next = DT_NOEND;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	(void) count_executors(&executors);
	foreach_executor (slot, MyDatabaseId)
	{
		TimestampTz due = TimestampTzPlusMilliseconds(slot->since, PATIENCE_MS);

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
	else if (stuck)
		executors_make_room(MyDatabaseId, stuck->role, false);
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
		if (end <= now)
			executor_stop(slot);
		else
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
			slot->unbegun = true;
			continue;
		}
		left = true;
		executor_stop(slot);
		kill(slot->pid, SIGTERM);
	}
	LWLockRelease(shared->lock);
	return left;
}
