/*
 * advisory.c
 *		Keys of advisory locks, and waiting for one with a time limit.
 *
 * The time limit is a lock_timeout that is set inside an internal subtransaction, which takes
 * setting, error and half-made request away with it; it is only begun where the lock is not free.
 * Who waits gives way to a statement of a task that waits for it (give_way.c).
 */
#include "postgres.h"

#include <limits.h>

#include "base/digest.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "shm/advisory.h"
#include "shm/give_way.h"
#include "shm/lock_table.h"
#include "shm/wait.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/guc.h"

/* ---- keys ---- */

/* The tag of one of hotswap's own locks. */
void
lock_tag(LOCKTAG *tag, LockSpace space, const void *key, int length)
{
	uint64 hash = length > 0 ? hash_bytes_extended(key, length, 0) : 0;

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, space);
}

/* The tag of a named lock, by its key. */
void
lock_tag_of_name(LOCKTAG *tag, int64 key)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) ((uint64) key >> 32), (uint32) key,
						 LOCK_NAME);
}

/*
 * The first eight bytes of the SHA-256, least significant first, as a signed number.  The last name
 * is remembered: the one that is released is usually the one that was taken.
 */
int64
lock_key_of(const char *resource)
{
	static char last[RESOURCE_BYTES] = "";
	static uint64 last_key;
	uint8 hash[DIGEST_LENGTH];
	uint64 key = 0;

	if (strcmp(resource, last) == 0)
		return (int64) last_key;
	digest_plain(resource, strlen(resource), hash);
	for (int i = 7; i >= 0; i--)
		key = key << 8 | hash[i];
	if (strlen(resource) < RESOURCE_BYTES)
	{
		strlcpy(last, resource, RESOURCE_BYTES);
		last_key = key;
	}
	return (int64) key;
}

/* ---- waiting ---- */

typedef struct Wait
{
	const LOCKTAG *tag;
	LOCKMODE mode;
	bool session;
	int limit; /* in ms; 0: the session's own lock_timeout */
	bool acquired;
} Wait;

static void
advisory_acquire(void *arg)
{
	Wait *w = arg;
	int level = NewGUCNestLevel();

	if (w->limit > 0)
		guc_push("lock_timeout", psprintf("%d", w->limit));
	(void) LockAcquire(w->tag, w->mode, w->session, false);
	w->acquired = true;
	/* a time limit that ran out in the very moment in which the lock came */
	CHECK_FOR_INTERRUPTS();
	AtEOXact_GUC(false, level);
}

/*
 * Waits at most so long; false: the time is over.  The session's own lock_timeout stays an error.
 */
static bool
wait_limited(const LOCKTAG *tag, LOCKMODE mode, bool session, int ms)
{
	bool limit_is_ours = LockTimeout <= 0 || ms <= LockTimeout;
	Wait w = { .tag = tag, .mode = mode, .session = session, .limit = limit_is_ours ? ms : 0 };
	ErrorData *error = subxact_run(advisory_acquire, &w);

	if (error == NULL)
		return true;
	/* a session lock outlives the subtransaction, but nobody would know of it */
	if (w.acquired && session)
		(void) LockRelease(tag, mode, true);
	if (!limit_is_ours || error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

/* What is waited for, and whether it came. */
typedef struct Request
{
	const LOCKTAG *tag;
	LOCKMODE mode;
	bool session;
	TimestampTz end;
	bool acquired;
} Request;

static void
wait_in_line(void *arg)
{
	Request *r = arg;

	if (r->end == DT_NOEND)
	{
		(void) LockAcquire(r->tag, r->mode, r->session, false);
		r->acquired = true;
	}
	while (!r->acquired && !wait_deadline_passed(r->end))
	{
		long ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), r->end);

		/* at least one: zero would be no limit */
		r->acquired = wait_limited(r->tag, r->mode, r->session, Min(Max(1, ms), INT_MAX));
	}
}

/*
 * Takes an advisory lock, waiting until end (DT_NOEND: as long as it takes); false: the time is
 * over. Raises what waiting for a lock raises: 40P01, 57014, 55P03 for the session's own
 * lock_timeout, and where it is in the way of a statement of a task.
 */
bool
lock_wait_until(const LOCKTAG *tag, LOCKMODE mode, bool session, TimestampTz end)
{
	Request r = { .tag = tag, .mode = mode, .session = session, .end = end };

	if (LockAcquire(tag, mode, session, true) != LOCKACQUIRE_NOT_AVAIL)
		return true;
	if (!wait_deadline_passed(end))
		give_way_while(wait_in_line, &r);
	return r.acquired;
}

static void
wait_for_end(void *arg)
{
	XactLockTableWait(*(TransactionId *) arg, NULL, NULL, XLTW_None);
}

/* Waits until a transaction has ended; raises the same. */
void
lock_wait_for_transaction(TransactionId xid)
{
	give_way_while(wait_for_end, &xid);
}
