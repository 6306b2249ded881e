/*
 * init.c
 *		Asks for shared memory and has it set up: the list of its parts.
 *
 * AddinShmemInitLock is held while the parts are made or attached to.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "shm/executors.h"
#include "shm/init.h"
#include "shm/lock_table.h"
#include "shm/prepared.h"
#include "shm/shmem.h"
#include "shm/waiter.h"
#include "shm/worker_line.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"

static const struct
{
	Size (*size)(void);
	void (*startup)(void);
} parts[] = {
	{ shmem_size, shmem_startup }, /* first: it has the locks of the others */
	{ executors_size, executors_startup }, { worker_line_size, worker_line_startup },
	{ waiter_size, waiter_startup },       { locktable_size, locktable_startup },
	{ prepared_size, prepared_startup },
};

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static void
request(void)
{
	if (previous_request)
		previous_request();
	for (int i = 0; i < (int) lengthof(parts); i++)
		RequestAddinShmemSpace(MAXALIGN(parts[i].size()));
	RequestNamedLWLockTranche(SHMEM_TRANCHE, shmem_locks());
}

static void
startup(void)
{
	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < (int) lengthof(parts); i++)
		parts[i].startup();
	LWLockRelease(AddinShmemInitLock);
}

/* Called by _PG_init in the postmaster. */
void
shm_init(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}
