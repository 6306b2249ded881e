/*
 * waiter.c
 *		Who waits for what: a hash table of lists in shared memory.
 *
 * The key is the id of a deployment, or any other 16 bytes that nobody else uses.  A waiter's latch is
 * set only for the key it waits for, so a thousand waiters on a thousand deployments do not wake each
 * other.  A session waits for one thing at a time, so the list's links live in an array by number of
 * PGPROC.  None of these functions can fail.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/uuid.h"
#include "common/hashfn.h"
#include "shm/shmem.h"
#include "shm/waiter.h"

static int *
bucket(const pg_uuid_t *key)
{
	uint32 hash = hash_bytes(key->data, UUID_LEN);

	return &shared->waiter_heads[hash % WAITER_BUCKETS];
}

/* From now on this session's latch is set when what it waits for has committed. */
void
waiter_add(const pg_uuid_t *key)
{
	int me = my_proc_number();
	Waiter *waiter = &shmem_waiters()[me];
	int *head = bucket(key);

	LWLockAcquire(shared->waiter_lock, LW_EXCLUSIVE);
	waiter->key = *key;
	waiter->next = *head;
	*head = me;
	LWLockRelease(shared->waiter_lock);
}

void
waiter_remove(const pg_uuid_t *key)
{
	int me = my_proc_number();
	int *link = bucket(key);

	LWLockAcquire(shared->waiter_lock, LW_EXCLUSIVE);
	while (*link != -1 && *link != me)
		link = &shmem_waiters()[*link].next;
	if (*link == me)
		*link = shmem_waiters()[me].next;
	LWLockRelease(shared->waiter_lock);
}

void
waiter_wake(const pg_uuid_t *key)
{
	LWLockAcquire(shared->waiter_lock, LW_SHARED);
	for (int i = *bucket(key); i != -1; i = shmem_waiters()[i].next)
		if (uuid_equal(&shmem_waiters()[i].key, key))
			shmem_wake_proc(i);
	LWLockRelease(shared->waiter_lock);
}

/* For the rare case that a transaction changed more than it could note. */
void
waiter_wake_all(void)
{
	LWLockAcquire(shared->waiter_lock, LW_SHARED);
	for (int b = 0; b < WAITER_BUCKETS; b++)
		for (int i = shared->waiter_heads[b]; i != -1; i = shmem_waiters()[i].next)
			shmem_wake_proc(i);
	LWLockRelease(shared->waiter_lock);
}
