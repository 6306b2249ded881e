/*
 * shmem.c
 *		Allocates and finds the shared state.
 */
#include "postgres.h"

#include "base/compat.h"
#include "miscadmin.h"
#include "shm/lock_table.h"
#include "shm/shmem.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"

#define TRANCHE "hotswap"
#define NLOCKS (3 + MAX_DATABASES)

SharedState *shared = NULL;

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static Size
shared_size(void)
{
	Size size = MAXALIGN(sizeof(SharedState));

	size = add_size(size, MAXALIGN(mul_size(max_worker_processes, sizeof(ExecutorSlot))));
	return add_size(size, mul_size(MaxBackends, sizeof(Waiter)));
}

static void
request(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(add_size(shared_size(), locktable_size()));
	RequestNamedLWLockTranche(TRANCHE, NLOCKS);
}

static void
initialize(void)
{
	LWLockPadded *locks = GetNamedLWLockTranche(TRANCHE);

	memset(shared, 0, shared_size());
	shared->lock = &locks[0].lock;
	shared->waiter_lock = &locks[1].lock;
	shared->lock_table_lock = &locks[2].lock;
	shared->look_everywhere = true;
	for (int i = 0; i < MAX_DATABASES; i++)
		shared->databases[i].lock = &locks[3 + i].lock;
	for (int i = 0; i < WAITER_BUCKETS; i++)
		shared->waiter_heads[i] = -1;
	shared->nexecutors = max_worker_processes;
	shared->nwaiters = MaxBackends;
}

static void
startup(void)
{
	bool found;

	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("hotswap", shared_size(), &found);
	if (!found)
		initialize();
	locktable_startup();
	LWLockRelease(AddinShmemInitLock);
}

/* Called by _PG_init in the postmaster. */
void
shmem_init(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

ExecutorSlot *
shmem_executors(void)
{
	return (ExecutorSlot *) ((char *) shared + MAXALIGN(sizeof(SharedState)));
}

Waiter *
shmem_waiters(void)
{
	return (Waiter *) ((char *) shmem_executors() +
					   MAXALIGN(shared->nexecutors * sizeof(ExecutorSlot)));
}

/* Sets the latch of a process.  If the number is somebody else's by now, that one wakes for
 * nothing. */
void
shmem_wake_proc(int proc)
{
	SetLatch(&ProcGlobal->allProcs[proc].procLatch);
}

/*
 * The slot of a database, locked exclusively, or NULL where there is none.  Starts at the one that is
 * likely; slots do not move while they are in use.
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

/* Is somebody about to drop or rename the database?  The caller holds shared->lock. */
bool
shmem_database_held(Oid database)
{
	for (int i = 0; i < MAX_HOLDS; i++)
		if (shared->holds[i].database == database)
			return true;
	return false;
}
