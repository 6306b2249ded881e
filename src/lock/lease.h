/*
 * lease.h
 *		Leases: locks that are rows.
 */
#ifndef HOTSWAP_LEASE_H
#define HOTSWAP_LEASE_H

#include "shm/lock_table.h"
#include "utils/timestamp.h"

extern TokenState lease_check(const char *resource, int64 token, int64 *newest);
extern TimestampTz lease_expire(void);

#endif /* HOTSWAP_LEASE_H */
