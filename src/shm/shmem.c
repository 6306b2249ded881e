/*
 * shmem.c
 *		The shared state, and the databases' slots in it.
 */
#include "postgres.h"

#include "base/compat.h"
#include "miscadmin.h"
#include "shm/shmem.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"

SharedState *shared = NULL;

Size
shmem_size(void)
{
	return add_size(offsetof(SharedState, databases),
					mul_size(max_worker_processes, sizeof(DatabaseSlot)));
}

/* How many locks there are. */
int
shmem_locks(void)
{
	return 4 + max_worker_processes;
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
	for (int i = 0; i < max_worker_processes; i++)
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
	for (int i = 0; i < max_worker_processes; i++)
	{
		int index = (*likely + i) % max_worker_processes;
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

/* The slot of a database, or a free one, or NULL. */
static DatabaseSlot *
find_slot(Oid database)
{
	for (int i = 0; i < max_worker_processes; i++)
		if (shared->databases[i].database == database)
			return &shared->databases[i];
	return NULL;
}

/* Takes away the slot of a database whose dispatcher has ended; the launcher starts another one there. */
static DatabaseSlot *
take_over_slot(void)
{
	for (int i = 0; i < max_worker_processes; i++)
	{
		DatabaseSlot *slot = &shared->databases[i];

		if (slot->dispatcher_pid != 0)
			continue;
		shmem_tell_launcher(slot->database);
		return slot;
	}
	return NULL;
}

/*
 * Finds or takes a slot for a database and enters this process as its dispatcher; NULL where there is a
 * dispatcher already.  There is always a slot: there are as many as workers, and this process is a worker
 * without one.
 */
DatabaseSlot *
shmem_claim_database(Oid database)
{
	DatabaseSlot *slot;
	bool taken = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_slot(database);
	if (slot == NULL)
		slot = find_slot(InvalidOid);
	if (slot == NULL)
		slot = take_over_slot();
	if (slot)
	{
		LWLockAcquire(slot->lock, LW_EXCLUSIVE);
		taken = slot->database == database && slot->dispatcher_pid != 0;
		if (!taken)
		{
			slot->database = database;
			slot->dispatcher_pid = MyProcPid;
			slot->dispatcher_proc = my_proc_number();
		}
		LWLockRelease(slot->lock);
	}
	LWLockRelease(shared->lock);
	return taken ? NULL : slot;
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

/* Is there a dispatcher in a database? */
bool
shmem_has_dispatcher(Oid database)
{
	DatabaseSlot *slot = shmem_lock_database(database);
	bool has = slot && slot->dispatcher_pid != 0;

	if (slot)
		LWLockRelease(slot->lock);
	return has;
}

/* The dispatchers that run now. */
DispatcherInfo *
shmem_dispatchers(int *count)
{
	DispatcherInfo *list = palloc(max_worker_processes * sizeof(DispatcherInfo));

	*count = 0;
	for (int i = 0; i < max_worker_processes; i++)
	{
		DatabaseSlot *slot = &shared->databases[i];

		LWLockAcquire(slot->lock, LW_SHARED);
		if (OidIsValid(slot->database) && slot->dispatcher_pid != 0)
			list[(*count)++] =
				(DispatcherInfo){ slot->database, slot->dispatcher_pid, slot->started_at };
		LWLockRelease(slot->lock);
	}
	return list;
}

/* The process of the launcher, or 0. */
int
shmem_launcher_pid(void)
{
	int pid;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	pid = shared->launcher_pid;
	LWLockRelease(shared->lock);
	return pid;
}

/*
 * Has the launcher look at a database, InvalidOid: at all.  The caller holds shared->lock exclusively.
 */
void
shmem_tell_launcher(Oid database)
{
	if (!OidIsValid(database) || shared->nlook == MAX_LOOKS)
		shared->look_everywhere = true;
	else
		shared->look[shared->nlook++] = database;
	if (shared->launcher_pid != 0)
		shmem_wake_proc(shared->launcher_proc);
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
