/*
 * wakeup.c
 *		Wake-ups at commit: README.md has the protocol.
 *
 * A transaction notes what it changed; callbacks, registered once a process, tell the dispatcher and
 * the waiters when it has committed and forget it when it has not.  They are told after the
 * transaction has become visible and its locks are released, and that cannot fail: no allocation, no
 * catalog, no error.
 *
 * Locks: the database's slot, then waiter_lock, then shared->lock, one after the other.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "shm/shmem.h"
#include "shm/waiter.h"
#include "shm/wakeup.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* More changed deployments in one transaction than this: the dispatcher loads everything anew. */
#define NOTED_LIMIT 2048

typedef struct Noted
{
	RingEntry entry;
	bool ended;   /* wake who waits for it */
	bool is_work; /* a deployment, for the dispatcher */
} Noted;

static Noted *noted = NULL; /* space for NOTED_LIMIT, from the first use on */
static int nnoted = 0;
static bool noted_overflow = false;
static bool noted_reload = false;
static bool noted_outbox = false;          /* there is something new in it */
static TimestampTz noted_lease = DT_NOEND; /* the earliest end of a lease */
static bool noted_extension = false;       /* extension made, changed or dropped in this database */
static bool noted_databases = false;       /* databases made or changed */
static bool deferred = false;              /* announced by wake_announce(), not at commit */
static bool due = false;                   /* it has committed, and has not told anybody yet */

static object_access_hook_type previous_object_access = NULL;

/* Room for another note, or NULL. */
static Noted *
add_note(void)
{
	if (shared == NULL)
		return NULL;
	if (noted == NULL)
		noted = MemoryContextAlloc(TopMemoryContext, NOTED_LIMIT * sizeof(Noted));
	if (nnoted == NOTED_LIMIT)
	{
		/* those who wait for one that does not fit are woken by the dispatcher's reload */
		noted_overflow = true;
		return NULL;
	}
	return &noted[nnoted++];
}

void
wake_deployment(const pg_uuid_t *tenant, const pg_uuid_t *deployment, bool ended)
{
	Noted *note = add_note();

	if (note == NULL)
		return;
	note->entry.tenant = *tenant;
	note->entry.deployment = *deployment;
	note->ended = ended;
	note->is_work = true;
}

void
wake_waiters(const pg_uuid_t *key)
{
	Noted *note = add_note();

	if (note == NULL)
		return;
	note->entry.deployment = *key;
	note->ended = true;
	note->is_work = false;
}

void
wake_lease(TimestampTz end)
{
	noted_lease = Min(noted_lease, end);
}

void
wake_reload(void)
{
	noted_reload = true;
}

void
wake_notify(void)
{
	noted_outbox = true;
}

static void
forget(void)
{
	noted_outbox = false;
	nnoted = 0;
	noted_lease = DT_NOEND;
	noted_overflow = noted_reload = noted_extension = noted_databases = false;
}

static void
push(DatabaseSlot *slot, const RingEntry *entry)
{
	if (slot->tail - slot->head == RING_SIZE)
		slot->overflow = true;
	else
		slot->ring[slot->tail++ % RING_SIZE] = *entry;
}

static void
tell_dispatcher(void)
{
	DatabaseSlot *slot = shmem_my_database();
	bool self;
	bool matters = noted_overflow || noted_reload || noted_extension || noted_outbox;

	if (slot == NULL)
		return;
	self = slot->dispatcher_pid == MyProcPid;
	/* the dispatcher knows what it did itself */
	for (int i = 0; i < nnoted && !self; i++)
		if (noted[i].is_work)
		{
			push(slot, &noted[i].entry);
			matters = true;
		}
	if (noted_overflow)
		slot->overflow = true;
	if (noted_reload)
		slot->reload = true;
	if (noted_outbox)
		slot->notify = true;
	if (noted_extension)
		slot->check_extension = true;
	/* a lease that is only renewed ends later than that, as a rule: nobody is woken */
	if (noted_lease < slot->next_lease)
		slot->leases = matters = true;
	if (slot->dispatcher_pid != 0 && !self && matters)
		shmem_wake_proc(slot->dispatcher_proc);
	LWLockRelease(slot->lock);
}

static void
tell_launcher(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shmem_tell_launcher(noted_databases ? InvalidOid : MyDatabaseId);
	LWLockRelease(shared->lock);
}

/* Is there anything for the dispatcher or a waiter? */
static bool
has_news(void)
{
	return nnoted > 0 || noted_overflow || noted_reload || noted_extension || noted_outbox ||
		   noted_lease != DT_NOEND;
}

static void
announce(void)
{
	if (has_news())
		tell_dispatcher();
	if (noted_overflow)
		waiter_wake_all();
	for (int i = 0; i < nnoted; i++)
		if (noted[i].ended)
			waiter_wake(&noted[i].entry.deployment);
	if (noted_extension || noted_databases)
		tell_launcher();
}

/* For executors, whose slot is free before they announce what they have done. */
void
wake_defer(void)
{
	deferred = true;
}

/* Announces what this process has committed since the last time. */
void
wake_announce(void)
{
	announce();
	forget();
}

/*
 * The transaction has been prepared: is there anything to be announced when it is committed?
 * Forgets it.
 */
bool
wake_put_off(bool *databases)
{
	bool news = has_news() || noted_databases;

	*databases = noted_databases;
	forget();
	return news;
}

/*
 * Announces all that a transaction of this database can have done.  databases: it may have made or
 * changed some.
 */
void
wake_all(bool databases)
{
	noted_overflow = noted_outbox = noted_extension = true;
	noted_lease = DT_NOBEGIN;
	noted_databases = databases;
	wake_announce();
}

static void
transaction_ended(XactEvent event, void *arg pg_attribute_unused())
{
	if (event == XACT_EVENT_COMMIT)
		due = !deferred;
	else if (event == XACT_EVENT_ABORT)
		forget();
}

/*
 * The locks are released: by now others have been told what is stale of what they keep, which they
 * are not yet at XACT_EVENT_COMMIT.
 */
static void
resources_released(ResourceReleasePhase phase, bool commit, bool top,
				   void *arg pg_attribute_unused())
{
	if (!due || phase != RESOURCE_RELEASE_AFTER_LOCKS || !commit || !top)
		return;
	due = false;
	if (shared)
		announce();
	forget();
}

/*
 * Sees CREATE, ALTER and DROP EXTENSION and changes of databases.  Any extension counts: the one
 * that was dropped has no name any more, and the dispatcher looks whether it is concerned.
 */
static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access)
		previous_object_access(access, class_id, object_id, sub_id, arg);
	if (access != OAT_POST_CREATE && access != OAT_POST_ALTER && access != OAT_DROP)
		return;
	if (class_id == ExtensionRelationId)
		noted_extension = true;
	else if (class_id == DatabaseRelationId && access != OAT_DROP)
		noted_databases = true;
}

/* Called by _PG_init; the hook only where there are workers to tell. */
void
wakeup_init(void)
{
	RegisterXactCallback(transaction_ended, NULL);
	RegisterResourceReleaseCallback(resources_released, NULL);
	if (process_shared_preload_libraries_in_progress)
	{
		previous_object_access = object_access_hook;
		object_access_hook = object_access;
	}
}
