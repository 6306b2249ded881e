/*
 * lock.h
 *		Named locks.
 */
#ifndef HOTSWAP_LOCK_H
#define HOTSWAP_LOCK_H

#include "utils/uuid.h"

extern pg_uuid_t lock_require_agent(void);
extern void lock_init(void);

#endif /* HOTSWAP_LOCK_H */
