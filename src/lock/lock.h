/*
 * lock.h
 *		Waiting for an advisory lock with a time limit; what leases and keys need of it.
 */
#ifndef HOTSWAP_LOCK_H
#define HOTSWAP_LOCK_H

#include "storage/lock.h"
#include "utils/timestamp.h"

extern int64 lock_key_of(const char *resource);
extern bool lock_wait_until(const LOCKTAG *tag, LOCKMODE mode, bool session, TimestampTz end);
extern void lock_init(void);

#endif /* HOTSWAP_LOCK_H */
