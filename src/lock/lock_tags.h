/*
 * lock_tags.h
 *		hotswap's own advisory locks.
 *
 * They are ordinary advisory locks, to be seen in pg_locks, in a key space of their own (objsubid):
 * pg_advisory_lock() cannot meet them, though pg_advisory_unlock_all() releases those of a session.
 */
#ifndef HOTSWAP_LOCK_TAGS_H
#define HOTSWAP_LOCK_TAGS_H

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"

typedef enum LockSpace
{
	LOCK_DISPATCHER = 3, /* session: who dispatches in this database */
	LOCK_LANE,           /* transaction: who changes a module on a node */
	LOCK_TASK,           /* session: who runs a task; lets a script's unlock_all be noticed */
	LOCK_LEASE,          /* transaction: who takes (exclusive) or relies on (shared) a lease */
	LOCK_KEY,            /* transaction: who claims an idempotency key of an application */
	LOCK_TENANT /* transaction: who relies on a tenant being active (shared) or ends that (exclusive) */
} LockSpace;

static inline void
lock_tag(LOCKTAG *tag, LockSpace space, const void *key, int length)
{
	uint64 hash = length > 0 ? hash_bytes_extended(key, length, 0) : 0;

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, space);
}

#endif /* HOTSWAP_LOCK_TAGS_H */
