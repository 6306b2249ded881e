/*
 * lock_watch.c
 *		Which relations a rehearsal locks, how strongly and for how long; and its end when that is too long.
 *
 * The statement that holds a lock cannot be asked how long it has it, and must not be: it may be in the middle of
 * writing a table anew.  So a timer interrupts it every few milliseconds, and its handler looks at the locks that
 * the process has in the shared table: those that are strong are always there.  Whether something is too long is
 * decided there and then, and is a cancel like any other.  The weak ones, which may be elsewhere and stop nobody
 * but DDL, are looked at once, when a step is over; they count from its beginning.
 *
 * In the handler: no memory is allocated, no catalog is read, and a partition of the table of locks that
 * somebody has at the moment is left out.  It does nothing where it interrupts a place that holds
 * interrupts off, which is every place that has a lightweight lock or changes what it reads, and comes
 * again soon.  Lightweight locks are taken and released with interrupts held, so where they are not, taking
 * one for a moment disturbs nothing.  What is noted goes to an array that only the process itself makes
 * larger, with `entries_busy` set.
 *
 * What the transaction itself has made is locked, too, but nobody else can see it: the hook for new objects tells.
 *
 * Locks: for a moment each, shared, the partitions of the table of locks.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "run/lock_watch.h"
#include "run/script.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#define FIRST_SIZE 1024          /* of the array of entries: a power of 2 */
#define LOOKS 20                 /* in the time that a lock may be held */
#define LONGEST_BETWEEN_LOOKS 10 /* ms */
#define TICK 2                   /* ms: how soon it is tried again where it could not look */

/* A relation that is locked. */
typedef struct Entry
{
	WatchedLock lock; /* relation: InvalidOid where the place is free */
	bool is_new;      /* it was made in this transaction */
	uint32 seen;      /* the last look that found it */
	int waiters;      /* counted for the present look at all locks */
} Entry;

static Entry *entries = NULL;
static uint32 size; /* of the array */
static uint32 used;
static volatile sig_atomic_t entries_busy = false;
static volatile sig_atomic_t watching = false;

static TimeoutId timeout = MAX_TIMEOUTS; /* MAX_TIMEOUTS: not registered yet */
static object_access_hook_type next_hook = NULL;

static int limit_ms;
static int between_ms; /* two looks */
static int step;
static TimestampTz step_since;
static uint32 looks;                            /* how many there were */
static TimestampTz looked_at;                   /* the last one */
static uint32 looked_into[NUM_LOCK_PARTITIONS]; /* the last one that could see the partition */
static bool is_excessive;
static WatchedLock excess;

/* ---- the entries ---- */

/* The entry of a relation, or the free place for it. */
static Entry *
find(Oid relation)
{
	uint32 i = murmurhash32(relation) & (size - 1);

	while (OidIsValid(entries[i].lock.relation) && entries[i].lock.relation != relation)
		i = (i + 1) & (size - 1);
	return &entries[i];
}

/* The entry of a relation, which may be new; NULL: there is no room. */
static Entry *
find_or_add(Oid relation)
{
	Entry *e = find(relation);

	if (OidIsValid(e->lock.relation))
		return e;
	if (used >= size / 4 * 3)
		return NULL;
	used++;
	e->lock.relation = relation;
	return e;
}

/* Not in the handler: more room, if it may be needed soon. */
static void
make_room(void)
{
	Entry *old = entries;
	uint32 old_size = size;

	if (used < size / 2)
		return;
	entries = MemoryContextAllocZero(TopMemoryContext, 2 * size * sizeof(Entry));
	size *= 2;
	for (uint32 i = 0; i < old_size; i++)
		if (OidIsValid(old[i].lock.relation))
			*find(old[i].lock.relation) = old[i];
	pfree(old);
}

static LOCKMODE
strongest(LOCKMASK mask)
{
	LOCKMODE mode = AccessExclusiveLock;

	while (mode > NoLock && !(mask & LOCKBIT_ON(mode)))
		mode--;
	return mode;
}

static bool
is_relation(const LOCKTAG *tag)
{
	return tag->locktag_type == LOCKTAG_RELATION && tag->locktag_field1 == MyDatabaseId;
}

/* Notes that a lock is held; since: if it was not before, or not so strong. */
static void
note(Entry *e, LOCKMODE mode, int waiters, TimestampTz since, TimestampTz now)
{
	if (e->lock.mode < mode)
	{
		e->lock.mode = mode;
		e->lock.since = since;
		e->lock.step = step;
	}
	e->lock.until = now;
	e->lock.waiters = Max(e->lock.waiters, waiters);
}

/* ---- the handler ---- */

/* Of two locks, is the first the one to be named?  It stops more people, or was there first. */
static bool
is_worse(const WatchedLock *a, const WatchedLock *b)
{
	if (a->waiters != b->waiters)
		return a->waiters > b->waiters;
	return a->since != b->since ? a->since < b->since : a->relation < b->relation;
}

/* The script is told to stop, again and again as long as it has the lock; what does not hear it is ended. */
static void
stop(const Entry *e)
{
	if (!is_excessive)
		run_limit_overrun_after(hotswap_cancel_grace);
	if (!is_excessive || is_worse(&e->lock, &excess))
		excess = e->lock;
	is_excessive = true;
	QueryCancelPending = true;
	InterruptPending = true;
}

/* A strong lock is held, as a look has found; the look before it into its partition was `before`. */
static void
see(const LOCK *lock, LOCKMODE mode, uint32 before, TimestampTz now)
{
	Entry *e = find_or_add(lock->tag.locktag_field2);

	if (e == NULL || e->is_new)
		return;
	/* it was released in between, with a savepoint */
	if (e->seen != before)
		e->lock.mode = NoLock;
	e->seen = looks;
	note(e, mode, lock->nRequested - lock->nGranted, now, now);
	if (e->lock.mode == AccessExclusiveLock && now - e->lock.since >= limit_ms * (TimestampTz) 1000)
		stop(e);
}

static void
look_into(int partition, TimestampTz now)
{
	PROCLOCK *mine = NULL;

	while ((mine = my_next_lock(partition, mine)) != NULL)
	{
		const LOCK *lock = mine->tag.myLock;
		LOCKMODE mode = strongest(mine->holdMask);

		if (mode >= ShareUpdateExclusiveLock && is_relation(&lock->tag))
			see(lock, mode, looked_into[partition], now);
	}
	looked_into[partition] = looks;
}

/* In a signal handler, which has itself held interrupts off. */
static void
look(void)
{
	TimestampTz now;

	if (!watching || entries_busy || InterruptHoldoffCount > 1 || CritSectionCount > 0)
		return;
	now = GetCurrentTimestamp();
	if (now - looked_at < between_ms * (TimestampTz) 1000)
		return;
	looks++;
	for (int i = 0; i < NUM_LOCK_PARTITIONS; i++)
	{
		LWLock *partition = LockHashPartitionLockByIndex(i);

		if (!LWLockConditionalAcquire(partition, LW_SHARED))
			continue;
		look_into(i, now);
		LWLockRelease(partition);
	}
	looked_at = now;
}

/* ---- in the process itself ---- */

/* A relation is made: nobody else can wait for it. */
static void
note_new_object(ObjectAccessType access, Oid class, Oid object, int sub_id, void *arg)
{
	if (next_hook)
		next_hook(access, class, object, sub_id, arg);
	if (!watching || access != OAT_POST_CREATE || class != RelationRelationId || sub_id != 0)
		return;
	entries_busy = true;
	make_room();
	find_or_add(object)->is_new = true;
	entries_busy = false;
}

void
lock_watch_begin(int limit)
{
	int tick;

	if (timeout == MAX_TIMEOUTS)
	{
		timeout = RegisterTimeout(USER_TIMEOUT, look);
		next_hook = object_access_hook;
		object_access_hook = note_new_object;
	}
	if (entries == NULL)
	{
		entries = MemoryContextAllocZero(TopMemoryContext, FIRST_SIZE * sizeof(Entry));
		size = FIRST_SIZE;
	}
	memset(entries, 0, size * sizeof(Entry));
	memset(looked_into, 0, sizeof(looked_into));
	used = looks = 0;
	limit_ms = limit;
	between_ms = Max(1, Min(limit / LOOKS, LONGEST_BETWEEN_LOOKS));
	tick = Min(between_ms, TICK);
	is_excessive = false;
	looked_at = GetCurrentTimestamp();
	lock_watch_step(1);
	watching = true;
	enable_timeout_every(timeout, TimestampTzPlusMilliseconds(looked_at, tick), tick);
}

void
lock_watch_step(int number)
{
	step = number;
	step_since = GetCurrentTimestamp();
}

/* A lock of ours, as all are looked at. */
static void
see_own(const LockInstanceData *lock, TimestampTz now)
{
	Oid relation = lock->locktag.locktag_field2;
	LOCKMODE mode = strongest(lock->holdMask);
	bool is_strong = mode >= ShareUpdateExclusiveLock;
	Entry *e;

	if (mode == NoLock || (relation < FirstNormalObjectId && !is_strong))
		return;
	make_room();
	e = find_or_add(relation);
	e->seen = looked_into[LockHashPartition(LockTagHashCode(&lock->locktag))];
	note(e, mode, 0, is_strong ? Max(looked_at, step_since) : step_since, now);
}

void
lock_watch_look(void)
{
	LockData *locks = GetLockStatusData();
	TimestampTz now = GetCurrentTimestamp();

	entries_busy = true;
	for (int i = 0; i < locks->nelements; i++)
		if (is_relation(&locks->locks[i].locktag) && locks->locks[i].pid == MyProcPid)
			see_own(&locks->locks[i], now);
	for (uint32 i = 0; i < size; i++)
		entries[i].waiters = 0;
	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];
		Entry *e = is_relation(&lock->locktag) ? find(lock->locktag.locktag_field2) : NULL;

		if (e == NULL || e->lock.mode == NoLock || lock->waitLockMode == NoLock)
			continue;
		e->waiters++;
		e->lock.waiters = Max(e->lock.waiters, e->waiters);
	}
	entries_busy = false;
}

void
lock_watch_end(void)
{
	watching = false;
	disable_timeout(timeout, false);
	/* ours may have come too late */
	if (is_excessive)
		QueryCancelPending = false;
}

static int
compare(const ListCell *x, const ListCell *y)
{
	const WatchedLock *a = lfirst(x);
	const WatchedLock *b = lfirst(y);

	if (a->step != b->step)
		return a->step < b->step ? -1 : 1;
	if (a->mode != b->mode)
		return a->mode > b->mode ? -1 : 1;
	return a->relation < b->relation ? -1 : 1;
}

List *
lock_watch_locks(void)
{
	List *locks = NIL;

	for (uint32 i = 0; i < size; i++)
		if (!entries[i].is_new && entries[i].lock.mode != NoLock)
			locks = lappend(locks, &entries[i].lock);
	list_sort(locks, compare);
	return locks;
}

const WatchedLock *
lock_watch_excess(void)
{
	return is_excessive ? &excess : NULL;
}
