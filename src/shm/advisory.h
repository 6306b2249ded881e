/*
 * advisory.h
 *		Advisory locks: hotswap's own, and those of the applications' names.
 *
 * hotswap's own are ordinary advisory locks, to be seen in pg_locks, in a key space of their own
 * (objsubid): pg_advisory_lock() cannot meet them, though pg_advisory_unlock_all() releases those
 * of a session.
 */
#ifndef HOTSWAP_ADVISORY_H
#define HOTSWAP_ADVISORY_H

#include "storage/lock.h"
#include "utils/timestamp.h"

typedef enum LockSpace
{
	LOCK_NAME = 1,       /* of an application: as pg_advisory_lock(bigint) has it */
	LOCK_DISPATCHER = 3, /* session: who dispatches in this database */
	LOCK_LANE,           /* transaction: who changes a module on a node */
	LOCK_TASK,           /* session: who runs a task; lets a script's unlock_all be noticed */
	LOCK_LEASE,          /* transaction: who takes (exclusive) or relies on (shared) a lease */
	LOCK_KEY,            /* transaction: who is writing the claim of an idempotency key */
	LOCK_TENANT,   /* transaction: who needs a tenant active (shared), or ends that (exclusive) */
	LOCK_TARGET,   /* transaction: who registers or removes a node with a role and a schema */
	LOCK_KEY_QUEUE /* transaction: the next to claim an idempotency key, while it waits */
} LockSpace;

extern void lock_tag(LOCKTAG *tag, LockSpace space, const void *key, int length);
extern void lock_tag_of_name(LOCKTAG *tag, int64 key);
extern int64 lock_key_of(const char *resource);
extern bool lock_wait_until(const LOCKTAG *tag, LOCKMODE mode, bool session, TimestampTz end);
extern void lock_wait_for_transaction(TransactionId xid);

#endif /* HOTSWAP_ADVISORY_H */
