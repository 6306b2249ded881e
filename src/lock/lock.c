/*
 * lock.c
 *		Named locks for applications: acquire_lock(), acquire_xact_lock(), acquire_locks(), await_lock(),
 *		release_lock(), release_all_locks(), lock_key().
 *
 * A named lock is the server's advisory lock on lock_key(name), in the key space of
 * pg_advisory_lock(bigint): the lock manager queues, wakes, detects deadlocks and frees it when the
 * session ends.
 *
 * What this file adds lives in shared memory (lock_table.c), and in a table of the session: how
 * often it has which lock, since the server does not tell.  That count may be too large, after
 * DISCARD ALL or pg_advisory_unlock_all(), and is corrected whenever the lock manager says that the
 * lock is not held.
 *
 * Without the preload there are no names, all the rest works.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/args.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lock/lock.h"
#include "miscadmin.h"
#include "shm/advisory.h"
#include "shm/lock_table.h"
#include "shm/shmem.h"
#include "shm/token.h"
#include "shm/wait.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define RESOURCES_LIMIT 10000 /* of one call of acquire_locks() */

PG_FUNCTION_INFO_V1(hotswap_lock_key);
PG_FUNCTION_INFO_V1(hotswap_acquire_lock);
PG_FUNCTION_INFO_V1(hotswap_acquire_xact_lock);
PG_FUNCTION_INFO_V1(hotswap_acquire_locks);
PG_FUNCTION_INFO_V1(hotswap_await_lock);
PG_FUNCTION_INFO_V1(hotswap_release_lock);
PG_FUNCTION_INFO_V1(hotswap_release_all_locks);

enum
{
	EXCLUSIVE,
	SHARED,
	NMODES
};

static const LOCKMODE lock_modes[NMODES] = { ExclusiveLock, ShareLock };

/* A lock that this session has taken by its name, and may have lost. */
typedef struct Mine
{
	int64 key;
	int count[NMODES];  /* session locks, at most */
	bool transactional; /* taken by acquire_xact_lock() since the last end of a transaction */
} Mine;

/* What a call asks for. */
typedef struct Request
{
	const char *resource;
	int64 key;
	int mode;
	bool session;
	TimestampTz end;
	pg_uuid_t tenant; /* whose view locks shows it */
	bool anew;        /* it is waited for in a transaction that has no snapshot */
} Request;

static HTAB *mine = NULL;
static bool transaction_over = false; /* those that are transactional may be gone */

static bool
lock_is_held(const LOCKTAG *tag)
{
	return lock_held_by_me(tag, ExclusiveLock) || lock_held_by_me(tag, ShareLock);
}

/* ---- what this session has ---- */

static void
session_ends(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	HASH_SEQ_STATUS scan;
	Mine *entry;

	hash_seq_init(&scan, mine);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		LockKey key = locktable_key_of(entry->key, false);

		locktable_leave(&key);
	}
}

static void
make_mine(void)
{
	HASHCTL info = { .keysize = sizeof(int64),
					 .entrysize = sizeof(Mine),
					 .hcxt = TopMemoryContext };

	mine = hash_create("hotswap locks", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (shared)
		before_shmem_exit(session_ends, (Datum) 0);
}

static void
lock_forget(int64 key)
{
	LockKey shared_one = locktable_key_of(key, false);

	if (shared)
		locktable_leave(&shared_one);
	(void) hash_search(mine, &key, HASH_REMOVE, NULL);
}

/* Corrects what is noted of a lock by what the lock manager knows; true: nothing is left. */
static bool
lock_correct(Mine *entry)
{
	LOCKTAG tag;

	lock_tag_of_name(&tag, entry->key);
	for (int mode = 0; mode < NMODES; mode++)
		if (!lock_held_by_me(&tag, lock_modes[mode]))
			entry->count[mode] = 0;
	return !lock_is_held(&tag);
}

/* After the end of a transaction: its locks are gone. */
static void
sweep(bool all)
{
	HASH_SEQ_STATUS scan;
	Mine *entry;

	if (mine == NULL || (!transaction_over && !all))
		return;
	transaction_over = false;
	hash_seq_init(&scan, mine);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (!entry->transactional && !all)
			continue;
		entry->transactional = false;
		if (lock_correct(entry))
			lock_forget(entry->key);
	}
}

static Mine *
enter_mine(int64 key)
{
	Mine *entry;
	bool found;

	if (mine == NULL)
		make_mine();
	entry = hash_search(mine, &key, HASH_ENTER, &found);
	if (!found)
	{
		memset(entry->count, 0, sizeof(entry->count));
		entry->transactional = false;
	}
	return entry;
}

static void
lock_transaction_ended(XactEvent event, void *arg pg_attribute_unused())
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		transaction_over = true;
}

/* Called by _PG_init. */
void
lock_init(void)
{
	RegisterXactCallback(lock_transaction_ended, NULL);
}

/* ---- acquiring ---- */

static void
refuse_for_room(void)
{
	ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of shared memory"),
					errdetail("There is no room for another named lock."),
					errhint("You might need to increase max_locks_per_transaction.")));
}

/* Gives a token to the lock that has just been acquired, and notes who has it. */
static int64
lock_note(const Request *r, Oid sequence, bool fresh)
{
	LockKey key = locktable_key_of(r->key, false);
	int64 token = 0;

	if (shared == NULL)
		return token_next();
	for (;;)
	{
		int64 first;

		if (!locktable_hold(&key, r->resource, &r->tenant, sequence, r->mode == EXCLUSIVE, fresh,
							&token))
			refuse_for_room();
		if (token != 0)
			return token;
		first = token_refill(sequence);
		if (!locktable_add_tokens(sequence, first))
			token = first;
	}
}

/* Waits, visibly. */
static bool
wait_for(const Request *r, const LOCKTAG *tag)
{
	LockKey key = locktable_key_of(r->key, false);

	if (LockAcquire(tag, lock_modes[r->mode], r->session, true) != LOCKACQUIRE_NOT_AVAIL)
		return true;
	if (wait_deadline_passed(r->end))
		return false;
	if (shared && !locktable_wait(&key, r->resource, &r->tenant))
		refuse_for_room();
	if (r->anew)
		wait_start_anew();
	return lock_wait_until(tag, lock_modes[r->mode], r->session, r->end);
}

/* Takes a lock and returns its token; 0: the time is over.  After an error the lock is not held. */
static int64
lock_acquire(const Request *r)
{
	volatile bool acquired = false;
	volatile int64 token = 0;
	Oid sequence = token_sequence(); /* before the lock comes, when time is not dear yet */
	Mine *entry;
	LOCKTAG tag;
	bool fresh;

	sweep(false);
	lock_tag_of_name(&tag, r->key);
	entry = enter_mine(r->key);
	(void) lock_correct(entry);
	fresh = !lock_held_by_me(&tag, ExclusiveLock) &&
			(r->mode == EXCLUSIVE || !lock_held_by_me(&tag, ShareLock));
	PG_TRY();
	{
		acquired = wait_for(r, &tag);
		if (acquired)
			token = lock_note(r, sequence, fresh);
	}
	PG_CATCH();
	{
		if (acquired && r->session)
			(void) LockRelease(&tag, lock_modes[r->mode], true);
		if (!lock_is_held(&tag))
			lock_forget(r->key);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!acquired)
	{
		if (!lock_is_held(&tag))
			lock_forget(r->key);
		return 0;
	}
	if (r->session)
		entry->count[r->mode]++;
	else
		entry->transactional = true;
	return token;
}

/* Raises 42501; returns the tenant that the session acts for. */
pg_uuid_t
lock_require_agent(void)
{
	pg_uuid_t tenant = tenant_current();

	access_require(&tenant, GetUserId(), CAPABILITY_AGENT, "use named locks");
	return tenant;
}

static void
read_request(FunctionCallInfo fcinfo, Request *r)
{
	r->resource = arg_text(fcinfo, 0, "resource", RESOURCE_LIMIT);
	r->end = wait_deadline(fcinfo, 1);
	r->mode = arg_bool(fcinfo, 2, "shared") ? SHARED : EXCLUSIVE;
	r->key = lock_key_of(r->resource);
	PreventCommandDuringRecovery("taking a named lock");
}

static Datum
acquire_one(FunctionCallInfo fcinfo, bool session)
{
	Request r = { .session = session, .tenant = lock_require_agent() };
	int64 token;

	read_request(fcinfo, &r);
	token = lock_acquire(&r);
	if (token == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(token);
}

/*
 * acquire_lock(resource text, timeout interval, shared boolean) returns a token, or NULL when the
 *		time is over
 *
 * In: resource of 1 to 255 characters; timeout NULL: no limit, zero: tries once. The lock is an
 * ordinary session-level advisory lock: it outlives transactions and rollbacks, and is released as
 * often as it was taken. Errors: 22023, 40P01 deadlock, 55P03 and 57014 by the session's own
 * limits, 55P03 while a statement of a task waits for its snapshot, 53200 no room for another lock, 25006 on a standby. Writes no table.
 */
Datum
hotswap_acquire_lock(PG_FUNCTION_ARGS)
{
	return acquire_one(fcinfo, true);
}

/*
 * acquire_xact_lock(resource text, timeout interval, shared boolean): the same until the
 *		transaction ends
 *
 * Rolled back to a savepoint before the call, it is freed too. Errors: as acquire_lock().
 */
Datum
hotswap_acquire_xact_lock(PG_FUNCTION_ARGS)
{
	return acquire_one(fcinfo, false);
}

/*
 * await_lock(resource text, timeout interval, shared boolean, INOUT token bigint)
 *
 * Like acquire_lock(), but ends the transaction it is called in and holds no snapshot while it waits.  In: what is
 * given as token is ignored.  Errors: as acquire_lock(); 2D000 inside a transaction block.  Writes no table.
 */
Datum
hotswap_await_lock(PG_FUNCTION_ARGS)
{
	Request r = { .session = true, .anew = true, .tenant = lock_require_agent() };
	TupleDesc row;
	Datum token;
	bool isnull;

	read_request(fcinfo, &r);
	wait_enter_call(fcinfo, "Use hotswap.acquire_lock() there.");
	token = Int64GetDatum(lock_acquire(&r));
	isnull = DatumGetInt64(token) == 0;
	row = wait_leave_call(fcinfo);
	return HeapTupleGetDatum(heap_form_tuple(row, &token, &isnull));
}

/* ---- many at once ---- */

typedef struct Wanted
{
	char *resource;
	int64 key;
	int64 token;
	int position; /* in the array that was given */
} Wanted;

static int
compare_wanted(const void *a, const void *b)
{
	int64 left = ((const Wanted *) a)->key;
	int64 right = ((const Wanted *) b)->key;

	return left < right ? -1 : left > right;
}

static Wanted *
read_wanted(FunctionCallInfo fcinfo, int *count)
{
	Datum *values;
	bool *nulls;
	Wanted *wanted;

	arg_require(fcinfo, 0, "resources");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  count);
	if (*count > RESOURCES_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("too many resources: %d", *count),
				 errdetail("At most %d are allowed.", RESOURCES_LIMIT)));
	wanted = palloc(Max(1, *count) * sizeof(Wanted));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("\"resource\" must not be null")));
		wanted[i].resource = arg_text_value(values[i], "resource", RESOURCE_LIMIT);
		wanted[i].key = lock_key_of(wanted[i].resource);
		wanted[i].token = 0;
		wanted[i].position = i;
	}
	qsort(wanted, *count, sizeof(Wanted), compare_wanted);
	return wanted;
}

static bool
release_one(int64 key, int mode)
{
	Mine *entry = mine ? hash_search(mine, &key, HASH_FIND, NULL) : NULL;
	LOCKTAG tag;
	bool done;

	lock_tag_of_name(&tag, key);
	if (entry && lock_correct(entry))
	{
		lock_forget(key);
		return false;
	}
	if (!lock_held_by_me(&tag, lock_modes[mode]))
		return false;
	/*
	 * the transaction has it, not the session; asking the server to release it would be a warning
	 */
	if (entry && entry->transactional && entry->count[mode] == 0)
		return false;
	/*
	 * As far as is known it is the last time: the shared table is told first, so that whoever is
	 * woken does not meet us there.
	 */
	if (entry && entry->count[mode] == 1 && !entry->transactional && entry->count[1 - mode] == 0)
	{
		lock_forget(key);
		entry = NULL;
	}
	done = LockRelease(&tag, lock_modes[mode], true);
	if (entry && entry->count[mode] > 0)
		entry->count[mode]--;
	if (entry && !lock_is_held(&tag))
		lock_forget(key);
	return done;
}

static void
release_wanted(const Wanted *wanted, int count, int mode)
{
	for (int i = count - 1; i >= 0; i--)
		if (i == 0 || wanted[i].key != wanted[i - 1].key)
			(void) release_one(wanted[i].key, mode);
}

/*
 * Takes the locks in the order of their keys; false: none is taken.  A lock that is named twice is
 * taken once.
 */
static bool
acquire_wanted(Wanted *wanted, int count, Request *r)
{
	volatile int done = 0;
	volatile bool complete = true;

	PG_TRY();
	{
		for (; complete && done < count; done += complete)
		{
			r->resource = wanted[done].resource;
			r->key = wanted[done].key;
			if (done > 0 && wanted[done].key == wanted[done - 1].key)
				wanted[done].token = wanted[done - 1].token;
			else
				wanted[done].token = lock_acquire(r);
			complete = wanted[done].token != 0;
		}
	}
	PG_CATCH();
	{
		release_wanted(wanted, done, r->mode);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!complete)
		release_wanted(wanted, done, r->mode);
	return complete;
}

/*
 * acquire_locks(resources text[], timeout interval, shared boolean) returns their tokens in the
 *		order in which they were named, or NULL when the time was over before all were free.
 *
 * In: at most 10,000 names, one that occurs twice is taken once; timeout: for all together.
 * Errors: as acquire_lock(); none of the locks is kept then. Writes no table.
 */
Datum
hotswap_acquire_locks(PG_FUNCTION_ARGS)
{
	int count;
	Wanted *wanted = read_wanted(fcinfo, &count);
	Request r = { .session = true,
				  .end = wait_deadline(fcinfo, 1),
				  .tenant = lock_require_agent() };
	Datum *tokens;

	r.mode = arg_bool(fcinfo, 2, "shared") ? SHARED : EXCLUSIVE;
	PreventCommandDuringRecovery("taking a named lock");
	if (!acquire_wanted(wanted, count, &r))
		PG_RETURN_NULL();
	tokens = palloc(Max(1, count) * sizeof(Datum));
	for (int i = 0; i < count; i++)
		tokens[wanted[i].position] = Int64GetDatum(wanted[i].token);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(tokens, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* ---- releasing ---- */

/*
 * release_lock(resource text, shared boolean) returns whether the session had it
 *
 * A lock of the transaction cannot be released. Errors: 22023.
 */
Datum
hotswap_release_lock(PG_FUNCTION_ARGS)
{
	char *resource = arg_text(fcinfo, 0, "resource", RESOURCE_LIMIT);
	int mode = arg_bool(fcinfo, 1, "shared") ? SHARED : EXCLUSIVE;

	PG_RETURN_BOOL(release_one(lock_key_of(resource), mode));
}

/*
 * release_all_locks() returns how many locks were released: those of the session that were taken by
 *		name, however often, and no others.
 */
Datum
hotswap_release_all_locks(PG_FUNCTION_ARGS)
{
	HASH_SEQ_STATUS scan;
	Mine *entry;
	int released = 0;

	sweep(true);
	if (mine == NULL)
		PG_RETURN_INT32(0);
	hash_seq_init(&scan, mine);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		LOCKTAG tag;
		bool done = false;

		lock_tag_of_name(&tag, entry->key);
		for (int mode = 0; mode < NMODES; mode++)
			while (entry->count[mode] > 0)
			{
				entry->count[mode]--;
				done = LockRelease(&tag, lock_modes[mode], true) || done;
			}
		released += done;
		if (!lock_is_held(&tag))
			lock_forget(entry->key);
	}
	PG_RETURN_INT32(released);
}

/*
 * lock_key(resource text) returns the key of its advisory lock
 *
 * In: resource of 1 to 255 characters. Out: the first 8 bytes of the SHA-256 of its name, least
 * significant first, signed. Errors: 22023.
 */
Datum
hotswap_lock_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(lock_key_of(arg_text(fcinfo, 0, "resource", RESOURCE_LIMIT)));
}
