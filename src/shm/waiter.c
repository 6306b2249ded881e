/*
 * waiter.c
 *		Who waits for what: a hash table of lists in shared memory.
 *
 * The key is the id of a deployment, or any other 16 bytes that nobody else uses.  A waiter's latch
 * is set only for the key it waits for, so a thousand waiters on a thousand deployments do not wake
 * each other.  A session waits for one thing at a time, so the list's links live in an array by
 * number of PGPROC.  None of these functions can fail.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "shm/shmem.h"
#include "shm/waiter.h"
#include "storage/shmem.h"

#define BUCKETS 1024

typedef struct Waiter
{
	int next; /* in its bucket's list; -1: last */
	Oid database;
	pg_uuid_t key;
} Waiter;

typedef struct WaiterTable
{
	int heads[BUCKETS]; /* first waiter, -1: none */
	Waiter waiters[FLEXIBLE_ARRAY_MEMBER];
} WaiterTable;

static WaiterTable *table = NULL;

Size
waiter_size(void)
{
	return add_size(offsetof(WaiterTable, waiters), mul_size(MaxBackends, sizeof(Waiter)));
}

/* Makes the table or attaches to it. */
void
waiter_startup(void)
{
	bool found;

	table = ShmemInitStruct("hotswap waiters", waiter_size(), &found);
	if (found)
		return;
	memset(table, 0, waiter_size());
	for (int i = 0; i < BUCKETS; i++)
		table->heads[i] = -1;
}

static int *
bucket(const pg_uuid_t *key)
{
	uint32 hash = hash_bytes(key->data, UUID_LEN);

	return &table->heads[hash % BUCKETS];
}

/* Under the lock: may one more session of the database wait? */
static bool
may_wait(void)
{
	int count = 0;

	if (hotswap_max_waiters == 0)
		return true;
	for (int b = 0; b < BUCKETS; b++)
		for (int i = table->heads[b]; i != -1; i = table->waiters[i].next)
			if (table->waiters[i].database == MyDatabaseId)
				count++;
	return count < hotswap_max_waiters;
}

/*
 * From now on this session's latch is set when what it waits for has committed.  False: as many sessions
 * of the database wait as may, hotswap.max_waiters.
 */
bool
waiter_add(const pg_uuid_t *key)
{
	bool allowed;
	int me = my_proc_number();
	Waiter *waiter = &table->waiters[me];
	int *head = bucket(key);

	LWLockAcquire(shared->waiter_lock, LW_EXCLUSIVE);
	allowed = may_wait();
	if (allowed)
	{
		waiter->key = *key;
		waiter->database = MyDatabaseId;
		waiter->next = *head;
		*head = me;
	}
	LWLockRelease(shared->waiter_lock);
	return allowed;
}

void
waiter_remove(const pg_uuid_t *key)
{
	int me = my_proc_number();
	int *link = bucket(key);

	LWLockAcquire(shared->waiter_lock, LW_EXCLUSIVE);
	while (*link != -1 && *link != me)
		link = &table->waiters[*link].next;
	if (*link == me)
		*link = table->waiters[me].next;
	LWLockRelease(shared->waiter_lock);
}

void
waiter_wake(const pg_uuid_t *key)
{
	LWLockAcquire(shared->waiter_lock, LW_SHARED);
	for (int i = *bucket(key); i != -1; i = table->waiters[i].next)
		if (uuid_equal(&table->waiters[i].key, key))
			shmem_wake_proc(i);
	LWLockRelease(shared->waiter_lock);
}

/* For the rare case that a transaction changed more than it could note. */
void
waiter_wake_all(void)
{
	LWLockAcquire(shared->waiter_lock, LW_SHARED);
	for (int b = 0; b < BUCKETS; b++)
		for (int i = table->heads[b]; i != -1; i = table->waiters[i].next)
			shmem_wake_proc(i);
	LWLockRelease(shared->waiter_lock);
}

/* Those of the database look whether they are in the way of a statement. */
void
waiter_disturb(void)
{
	LWLockAcquire(shared->waiter_lock, LW_SHARED);
	for (int b = 0; b < BUCKETS; b++)
		for (int i = table->heads[b]; i != -1; i = table->waiters[i].next)
			if (table->waiters[i].database == MyDatabaseId)
				shmem_wake_proc(i);
	LWLockRelease(shared->waiter_lock);
}
