/*
 * shmem.c
 *		The shared state, and the databases' slots in it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "shm/shmem.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"

SharedState *shared = NULL;

Size
shmem_size(void)
{
	return sizeof(SharedState);
}

static void
initialize(void)
{
	LWLockPadded *locks = GetNamedLWLockTranche(SHMEM_TRANCHE);

	memset(shared, 0, shmem_size());
	shared->lock = &locks[0].lock;
	shared->waiter_lock = &locks[1].lock;
	shared->lock_table_lock = &locks[2].lock;
	shared->prepared_lock = &locks[3].lock;
	shared->look_everywhere = true;
	for (int i = 0; i < MAX_DATABASES; i++)
		shared->databases[i].lock = &locks[4 + i].lock;
}

/* Makes the shared state or attaches to it. */
void
shmem_startup(void)
{
	bool found;

	shared = ShmemInitStruct("hotswap", shmem_size(), &found);
	if (!found)
		initialize();
}

/*
 * Sets the latch of a process.  If the number is somebody else's by now, that one wakes for
 * nothing.
 */
void
shmem_wake_proc(int proc)
{
	SetLatch(&ProcGlobal->allProcs[proc].procLatch);
}

/*
 * The slot of a database, locked exclusively, or NULL where there is none.  Starts at the one that
 * is likely; slots do not move while they are in use.
 */
static DatabaseSlot *
lock_database(Oid database, int *likely)
{
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		int index = (*likely + i) % MAX_DATABASES;
		DatabaseSlot *slot = &shared->databases[index];

		/* read without the lock: a slot that is being claimed right now loads the tables anyway */
		if (slot->database != database)
			continue;
		LWLockAcquire(slot->lock, LW_EXCLUSIVE);
		if (slot->database == database)
		{
			*likely = index;
			return slot;
		}
		LWLockRelease(slot->lock);
	}
	return NULL;
}

DatabaseSlot *
shmem_lock_database(Oid database)
{
	int likely = 0;

	return lock_database(database, &likely);
}

/* The same for this database; NULL without the preload, too. */
DatabaseSlot *
shmem_my_database(void)
{
	static int likely = 0;

	return shared ? lock_database(MyDatabaseId, &likely) : NULL;
}

/* Finds or takes a slot for a database; NULL when all are taken.  For dispatchers. */
DatabaseSlot *
shmem_claim_database(Oid database)
{
	DatabaseSlot *result = NULL;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_DATABASES; i++)
		if (shared->databases[i].database == database)
			result = &shared->databases[i];
	for (int i = 0; i < MAX_DATABASES && result == NULL; i++)
		if (!OidIsValid(shared->databases[i].database))
			result = &shared->databases[i];
	if (result)
	{
		LWLockAcquire(result->lock, LW_EXCLUSIVE);
		result->database = database;
		LWLockRelease(result->lock);
	}
	LWLockRelease(shared->lock);
	return result;
}

/* The process that dispatches in this database in the background, or 0. */
int
shmem_dispatcher_pid(void)
{
	DatabaseSlot *slot = shmem_my_database();
	int pid;

	if (slot == NULL)
		return 0;
	pid = slot->dispatcher_pid;
	LWLockRelease(slot->lock);
	return pid;
}

/* Could an executor of this database not be started for want of worker slots? */
bool
shmem_no_workers(void)
{
	DatabaseSlot *slot = shmem_my_database();
	bool none;

	if (slot == NULL)
		return false;
	none = slot->no_workers;
	LWLockRelease(slot->lock);
	return none;
}

/* The dispatchers that run now, MAX_DATABASES at most. */
int
shmem_dispatchers(DispatcherInfo *list)
{
	int count = 0;

	for (int i = 0; i < MAX_DATABASES; i++)
	{
		DatabaseSlot *slot = &shared->databases[i];

		LWLockAcquire(slot->lock, LW_SHARED);
		if (OidIsValid(slot->database) && slot->dispatcher_pid != 0)
			list[count++] =
				(DispatcherInfo){ slot->database, slot->dispatcher_pid, slot->started_at };
		LWLockRelease(slot->lock);
	}
	return count;
}

/* Is somebody about to drop or rename the database?  The caller holds shared->lock. */
bool
shmem_database_held(Oid database)
{
	for (int i = 0; i < MAX_HOLDS; i++)
		if (shared->holds[i].database == database)
			return true;
	return false;
}
