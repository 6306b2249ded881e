/*
 * lock_table.h
 *		What the sessions share about named locks: names, tokens, who has which.
 *
 * Exists only with the preload.  A lock itself is the server's; nothing here decides who has it.
 */
#ifndef HOTSWAP_LOCK_TABLE_H
#define HOTSWAP_LOCK_TABLE_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

#define RESOURCE_LIMIT 255 /* characters of a resource's name */
#define RESOURCE_BYTES 256 /* of which so many bytes are kept, the end included */
#define TOKEN_BATCH 1024   /* tokens for each value of the sequence */

/* Which lock.  Leases have a key of the same kind, but are something else. */
typedef struct LockKey
{
	int64 key;
	Oid database;
	int32 lease; /* 0 or 1 */
} LockKey;

/* A row of lock_list(). */
typedef struct LockHold
{
	LockKey key;
	int pid;
	int64 token; /* 0: none yet, it waits */
	TimestampTz since;
	pg_uuid_t tenant; /* for which the session acts */
	char resource[RESOURCE_BYTES];
} LockHold;

typedef enum TokenState
{
	TOKEN_CURRENT,
	TOKEN_STALE,
	TOKEN_UNKNOWN /* nothing is known about the lock */
} TokenState;

extern LockKey locktable_key_of(int64 key, bool lease);
extern Size locktable_size(void);
extern void locktable_startup(void);
extern bool locktable_wait(const LockKey *key, const char *resource, const pg_uuid_t *tenant);
extern bool locktable_hold(const LockKey *key, const char *resource, const pg_uuid_t *tenant,
						   Oid sequence, bool exclusive, bool fresh, int64 *token);
extern void locktable_leave(const LockKey *key);
extern int64 locktable_token(Oid sequence);
extern bool locktable_add_tokens(Oid sequence, int64 first);
extern TokenState locktable_check(const LockKey *key, int64 token, int64 *newest);
extern LockHold *locktable_list(int *count);

#endif /* HOTSWAP_LOCK_TABLE_H */
