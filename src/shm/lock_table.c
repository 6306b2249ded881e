/*
 * lock_table.c
 *		Names and tokens of locks in shared memory, so that taking a lock writes to no table.
 *
 * Two hash tables: what is known of a lock (its name, the tokens that count), and which session has
 * or awaits it, since when and with which token.  The second is only told the truth when a session
 * comes back to it: one whose transaction ended, or that called pg_advisory_unlock_all(), leaves
 * its entry until its next call or its end.  Readers therefore compare it with pg_locks.
 *
 * Both have room for as many locks as the server's own lock table nominally has.  What is known of
 * a lock that no session has is thrown away when the room is needed; its tokens then count as
 * stale.
 *
 * Everything is protected by shared->lock_table_lock, which is taken alone; none of the functions
 * can fail while it is held.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "base/compat.h"
#include "mb/pg_wchar.h"
#include "shm/lock_table.h"
#include "shm/shmem.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

/* What is known of a lock. */
typedef struct NameEntry
{
	LockKey key;
	int sessions;     /* entries in holds */
	int64 valid_from; /* tokens before this one are stale ... */
	int64 newest;     /* ... and later ones were not given; 0: none was */
	bool exclusive;   /* the newest was given for the exclusive mode */
	char resource[RESOURCE_BYTES];
} NameEntry;

typedef struct HoldKey
{
	LockKey lock;
	int64 proc; /* number of the PGPROC; int64, so that there is no padding to be hashed */
} HoldKey;

typedef struct HoldEntry
{
	HoldKey key;
	int pid;
	int64 token;
	TimestampTz since;
	pg_uuid_t tenant; /* that the session acted for when it came */
} HoldEntry;

static HTAB *names = NULL;
static HTAB *holds = NULL;

/* As many as lock.c makes room for, without its reserve. */
static int
capacity(void)
{
	return Max(1024, max_locks_per_xact * (MaxBackends + max_prepared_xacts));
}

Size
locktable_size(void)
{
	return add_size(hash_estimate_size(capacity(), sizeof(NameEntry)),
					hash_estimate_size(capacity(), sizeof(HoldEntry)));
}

/* Makes the tables or attaches to them; the caller holds AddinShmemInitLock. */
void
locktable_startup(void)
{
	HASHCTL info;

	info.keysize = sizeof(LockKey);
	info.entrysize = sizeof(NameEntry);
	names = ShmemInitHash("hotswap lock names", capacity(), capacity(), &info,
						  HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	info.keysize = sizeof(HoldKey);
	info.entrysize = sizeof(HoldEntry);
	holds = ShmemInitHash("hotswap lock holds", capacity(), capacity(), &info,
						  HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

/* The key of a lock or lease of this database. */
LockKey
locktable_key_of(int64 key, bool lease)
{
	return (LockKey){ .key = key, .database = MyDatabaseId, .lease = lease };
}

/* Forgets the locks that no session has. */
static void
forget_unheld(void)
{
	HASH_SEQ_STATUS scan;
	NameEntry *entry;

	hash_seq_init(&scan, names);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (entry->sessions == 0)
			(void) hash_search(names, &entry->key, HASH_REMOVE, NULL);
}

static NameEntry *
enter_name(const LockKey *key, const char *resource)
{
	bool found;
	int length;
	NameEntry *entry = hash_search(names, key, HASH_FIND, NULL);

	if (entry)
		return entry;
	/* a full table of fixed size returns NULL */
	entry = hash_search(names, key, HASH_ENTER_NULL, &found);
	if (entry == NULL)
	{
		forget_unheld();
		entry = hash_search(names, key, HASH_ENTER_NULL, &found);
	}
	if (entry == NULL)
		return NULL;
	entry->sessions = 0;
	entry->valid_from = entry->newest = 0;
	entry->exclusive = false;
	length = pg_mbcliplen(resource, strlen(resource), RESOURCE_BYTES - 1);
	memcpy(entry->resource, resource, length);
	entry->resource[length] = '\0';
	return entry;
}

static void
hold_key(HoldKey *hold, const LockKey *key)
{
	hold->lock = *key;
	hold->proc = my_proc_number();
}

/* The entry of this session for a lock; NULL: there is no room. */
static HoldEntry *
enter_hold(NameEntry *name, const pg_uuid_t *tenant)
{
	HoldKey key;
	HoldEntry *entry;
	bool found;

	hold_key(&key, &name->key);
	entry = hash_search(holds, &key, HASH_ENTER_NULL, &found);
	if (entry == NULL || found)
		return entry;
	entry->pid = MyProcPid;
	entry->token = 0;
	entry->since = GetCurrentTimestamp();
	entry->tenant = *tenant;
	name->sessions++;
	return entry;
}

/* This session is about to wait; false: there is no room for the lock. */
bool
locktable_wait(const LockKey *key, const char *resource, const pg_uuid_t *tenant)
{
	NameEntry *name;
	bool done;

	LWLockAcquire(shared->lock_table_lock, LW_EXCLUSIVE);
	name = enter_name(key, resource);
	done = name && enter_hold(name, tenant);
	LWLockRelease(shared->lock_table_lock);
	return done;
}

/* This session does not have a lock, and does not wait for it. */
void
locktable_leave(const LockKey *key)
{
	HoldKey hold;
	NameEntry *name;

	hold_key(&hold, key);
	LWLockAcquire(shared->lock_table_lock, LW_EXCLUSIVE);
	if (hash_search(holds, &hold, HASH_REMOVE, NULL))
	{
		name = hash_search(names, key, HASH_FIND, NULL);
		if (name)
			name->sessions--;
	}
	LWLockRelease(shared->lock_table_lock);
}

/* ---- tokens ---- */

/* The stock of this database; NULL where so many databases use locks that there is none. */
static TokenStock *
my_stock(bool make)
{
	TokenStock *unused = NULL;

	for (int i = 0; i < MAX_STOCKS; i++)
	{
		TokenStock *stock = &shared->stocks[i];

		if (stock->database == MyDatabaseId)
			return stock;
		if (!OidIsValid(stock->database) && unused == NULL)
			unused = stock;
	}
	if (make && unused)
		unused->database = MyDatabaseId;
	return make ? unused : NULL;
}

/* The next token; 0: the stock has to be filled first. */
static int64
take_token(Oid sequence)
{
	TokenStock *stock = my_stock(false);

	if (stock == NULL || stock->sequence != sequence || stock->next == stock->end)
		return 0;
	return stock->next++;
}

/*
 * Adds a batch that starts with first and that no crash can bring back.  Of two sessions that come
 * with one each, the larger one stays: the other's tokens are never given.  False: there is no
 * stock.
 */
bool
locktable_add_tokens(Oid sequence, int64 first)
{
	TokenStock *stock;

	LWLockAcquire(shared->lock_table_lock, LW_EXCLUSIVE);
	stock = my_stock(true);
	if (stock && (stock->sequence != sequence || stock->end <= first))
	{
		stock->sequence = sequence;
		stock->next = first;
		stock->end = first + TOKEN_BATCH;
	}
	LWLockRelease(shared->lock_table_lock);
	return stock != NULL;
}

int64
locktable_token(Oid sequence)
{
	int64 token;

	LWLockAcquire(shared->lock_table_lock, LW_EXCLUSIVE);
	token = take_token(sequence);
	LWLockRelease(shared->lock_table_lock);
	return token;
}

/*
 * This session has got a lock: gives it a token and notes who has it.  fresh: it did not have the
 * lock in this mode before.  *token is what locktable_token() would give unless it is set already;
 * it stays 0 when the stock is empty, and nothing is noted.  False: there is no room for the lock.
 */
bool
locktable_hold(const LockKey *key, const char *resource, const pg_uuid_t *tenant, Oid sequence,
			   bool exclusive, bool fresh, int64 *token)
{
	NameEntry *name;
	HoldEntry *hold = NULL;

	LWLockAcquire(shared->lock_table_lock, LW_EXCLUSIVE);
	name = enter_name(key, resource);
	if (name)
		hold = enter_hold(name, tenant);
	if (hold && *token == 0)
		*token = take_token(sequence);
	if (hold && *token != 0)
	{
		/* those who share a lock do not make each other's tokens stale */
		if ((exclusive && fresh) || name->newest == 0 || (!exclusive && name->exclusive && fresh))
		{
			name->valid_from = *token;
			name->exclusive = exclusive;
		}
		name->newest = Max(name->newest, *token);
		if (hold->token == 0 || fresh)
			hold->since = GetCurrentTimestamp();
		hold->token = *token;
	}
	LWLockRelease(shared->lock_table_lock);
	return hold != NULL;
}

/* Does a token of a lock still count?  *newest: the last one that was given. */
TokenState
locktable_check(const LockKey *key, int64 token, int64 *newest)
{
	NameEntry *name;
	TokenState state = TOKEN_UNKNOWN;

	LWLockAcquire(shared->lock_table_lock, LW_SHARED);
	name = hash_search(names, key, HASH_FIND, NULL);
	if (name && name->newest != 0)
	{
		*newest = name->newest;
		state = token >= name->valid_from && token <= name->newest ? TOKEN_CURRENT : TOKEN_STALE;
	}
	LWLockRelease(shared->lock_table_lock);
	return state;
}

/* Who has or awaits what in this database, as far as is known. */
LockHold *
locktable_list(int *count)
{
	HASH_SEQ_STATUS scan;
	HoldEntry *hold;
	LockHold *list = palloc_extended(capacity() * sizeof(LockHold), MCXT_ALLOC_HUGE);

	*count = 0;
	LWLockAcquire(shared->lock_table_lock, LW_SHARED);
	hash_seq_init(&scan, holds);
	while ((hold = hash_seq_search(&scan)) != NULL)
	{
		NameEntry *name = hash_search(names, &hold->key.lock, HASH_FIND, NULL);
		LockHold *row;

		if (name == NULL || hold->key.lock.database != MyDatabaseId || *count == capacity())
			continue;
		row = &list[(*count)++];
		row->key = hold->key.lock;
		row->pid = hold->pid;
		row->token = hold->token;
		row->since = hold->since;
		row->tenant = hold->tenant;
		memcpy(row->resource, name->resource, RESOURCE_BYTES);
	}
	LWLockRelease(shared->lock_table_lock);
	return list;
}
