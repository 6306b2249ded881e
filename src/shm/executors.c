/*
 * executors.c
 *		The slots of the executors, one for each worker that the cluster can have.
 *
 * All of it is protected by shared->lock.  None of the functions can fail while they hold it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "shm/executors.h"
#include "shm/shmem.h"
#include "storage/shmem.h"

#define LEAVE_PATIENCE_MS 1000 /* for one that was asked to leave, before another one is asked */

static ExecutorSlot *slots = NULL;

Size
executors_size(void)
{
	return mul_size(max_worker_processes, sizeof(ExecutorSlot));
}

/* Makes the slots or attaches to them. */
void
executors_startup(void)
{
	bool found;

	slots = ShmemInitStruct("hotswap executors", executors_size(), &found);
	if (!found)
		memset(slots, 0, executors_size());
}

int
executors_count(void)
{
	return max_worker_processes;
}

ExecutorSlot *
executor_slot(int index)
{
	return &slots[index];
}

int
executor_index(const ExecutorSlot *slot)
{
	return (int) (slot - slots);
}

/* A slot as it is at one moment; takes the lock. */
void
executor_read(int index, ExecutorSlot *copy)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	*copy = slots[index];
	LWLockRelease(shared->lock);
}

/* The next slot of a database after one, NULL: the first; NULL when there is none. */
ExecutorSlot *
executor_next(ExecutorSlot *slot, Oid database, bool dead)
{
	Assert(LWLockHeldByMe(shared->lock));
	for (slot = slot ? slot + 1 : slots; slot < slots + max_worker_processes; slot++)
		if (slot->state != EXECUTOR_FREE && slot->database == database &&
			(dead || slot->state != EXECUTOR_DEAD))
			return slot;
	return NULL;
}

/* One that nobody is left to free.  The caller holds shared->lock. */
static bool
is_abandoned(const ExecutorSlot *slot)
{
	return slot->state == EXECUTOR_DEAD && !shmem_has_dispatcher(slot->database);
}

static ExecutorSlot *
find_free(void)
{
	for (ExecutorSlot *slot = slots; slot < slots + max_worker_processes; slot++)
		if (slot->state == EXECUTOR_FREE)
			return slot;
	for (ExecutorSlot *slot = slots; slot < slots + max_worker_processes; slot++)
		if (is_abandoned(slot))
			return slot;
	return NULL;
}

/* Takes a slot for an executor of this database that is about to be started; NULL: all are in use. */
ExecutorSlot *
executor_claim(Oid role)
{
	ExecutorSlot *slot;

	Assert(LWLockHeldByMeInMode(shared->lock, LW_EXCLUSIVE));
	slot = find_free();
	if (slot == NULL)
		return NULL;
	*slot = (ExecutorSlot){ .state = EXECUTOR_STARTING,
							.database = MyDatabaseId,
							.role = role,
							.generation = slot->generation + 1,
							.since = GetCurrentTimestamp() };
	return slot;
}

/* Asks an executor to leave when its queue is empty. */
void
executor_stop(ExecutorSlot *slot)
{
	Assert(LWLockHeldByMeInMode(shared->lock, LW_EXCLUSIVE));
	if (slot->stop)
		return;
	slot->stop = true;
	slot->stop_at = GetCurrentTimestamp();
	if (slot->pid != 0)
		shmem_wake_proc(slot->proc);
}

static bool
is_alive(const ExecutorSlot *slot)
{
	return slot->state != EXECUTOR_FREE && slot->state != EXECUTOR_DEAD;
}

/* How many executors there are in a database, InvalidOid: in all.  The caller holds shared->lock. */
int
executors_living(Oid database)
{
	int count = 0;

	for (int i = 0; i < max_worker_processes; i++)
		count += is_alive(&slots[i]) && (!OidIsValid(database) || slots[i].database == database);
	return count;
}

static bool
is_idle(const ExecutorSlot *slot)
{
	return slot->state == EXECUTOR_IDLE && slot->queued == 0;
}

/* Is a better one to leave than b?  Who idles longest; else of whom there are most. */
static bool
leaves_rather(const ExecutorSlot *a, const ExecutorSlot *b)
{
	if (b == NULL || is_idle(a) != is_idle(b))
		return b == NULL || is_idle(a);
	if (is_idle(a))
		return a->since < b->since;
	return executors_living(a->database) > executors_living(b->database);
}

/*
 * Asks an executor to leave, so that one of this database and role can be started, or (InvalidOid) a
 * dispatcher: one that is idle, or, where the role has none at all, one that is busy, after what it has
 * in hand.  One a second at most.  anywhere: executors of other databases, too.
 */
void
executors_make_room(Oid database, Oid role, bool anywhere)
{
	TimestampTz now = GetCurrentTimestamp();
	ExecutorSlot *best = NULL;
	bool has_one = false;

	Assert(LWLockHeldByMeInMode(shared->lock, LW_EXCLUSIVE));
	for (ExecutorSlot *slot = slots; slot < slots + max_worker_processes; slot++)
	{
		bool here = slot->database == database;

		if (!is_alive(slot) || (!here && !anywhere))
			continue;
		if (slot->stop && !TimestampDifferenceExceeds(slot->stop_at, now, LEAVE_PATIENCE_MS))
			return;
		if (here && slot->role == role)
			has_one = has_one || !slot->stop;
		else if (!slot->stop && slot->state != EXECUTOR_STARTING && leaves_rather(slot, best))
			best = slot;
	}
	if (best && (is_idle(best) || !has_one))
		executor_stop(best);
}

/* How many executors of this database are busy. */
int
executors_busy(void)
{
	int busy = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	foreach_executor (slot, MyDatabaseId)
		busy += slot->state == EXECUTOR_BUSY;
	LWLockRelease(shared->lock);
	return busy;
}

/* The process that runs a task of this database, 0 if none does. */
int
executor_of(const TaskKey *key)
{
	int pid = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	foreach_executor (slot, MyDatabaseId)
		if (slot->state == EXECUTOR_BUSY && slot->running && task_key_equal(&slot->queue[0], key))
			pid = slot->pid;
	LWLockRelease(shared->lock);
	return pid;
}

/* How many tasks of a tenant the executors of this database have in hand. */
int
executors_tasks_of(const pg_uuid_t *tenant)
{
	int count = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	foreach_executor (slot, MyDatabaseId)
		for (int q = 0; q < slot->queued; q++)
			if (memcmp(&slot->queue[q].tenant, tenant, sizeof(*tenant)) == 0)
				count++;
	LWLockRelease(shared->lock);
	return count;
}

/* Is a task in the hands of an executor of this database, dead or alive? */
bool
executors_have(const TaskKey *key)
{
	bool found = false;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	foreach_executor_slot (slot, MyDatabaseId)
		for (int q = 0; q < slot->queued; q++)
			found = found || task_key_equal(&slot->queue[q], key);
	LWLockRelease(shared->lock);
	return found;
}

/* Copies of the slots of all databases whose executors have not died. */
ExecutorSlot *
executors_list(int *count)
{
	ExecutorSlot *list = palloc(executors_size());

	*count = 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < max_worker_processes; i++)
		if (is_alive(&slots[i]))
			list[(*count)++] = slots[i];
	LWLockRelease(shared->lock);
	return list;
}

/* Does a statement of a task wait for everybody in the database who has a snapshot? */
bool
executors_wait_for_snapshots(Oid database)
{
	bool result = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	foreach_executor (slot, database)
		result = result || slot->waits_for_snapshots;
	LWLockRelease(shared->lock);
	return result;
}
