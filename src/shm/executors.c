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

/* Takes a slot for an executor of this database that is about to be started; NULL: all are in use. */
ExecutorSlot *
executor_claim(Oid role)
{
	Assert(LWLockHeldByMeInMode(shared->lock, LW_EXCLUSIVE));
	for (int i = 0; i < max_worker_processes; i++)
	{
		ExecutorSlot *slot = &slots[i];

		if (slot->state != EXECUTOR_FREE)
			continue;
		slot->state = EXECUTOR_STARTING;
		slot->database = MyDatabaseId;
		slot->role = role;
		slot->pid = 0;
		slot->generation++;
		slot->stop = slot->resigned = slot->terminated = slot->overran = slot->cancel =
			slot->running = false;
		slot->queued = 0;
		slot->since = GetCurrentTimestamp();
		return slot;
	}
	return NULL;
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
		if (slots[i].state != EXECUTOR_FREE && slots[i].state != EXECUTOR_DEAD)
			list[(*count)++] = slots[i];
	LWLockRelease(shared->lock);
	return list;
}
