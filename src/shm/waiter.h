/*
 * waiter.h
 *		Sessions that wait for something: the key is a deployment's id, or another 16 bytes.
 */
#ifndef HOTSWAP_WAITER_H
#define HOTSWAP_WAITER_H

#include "utils/uuid.h"

extern Size waiter_size(void);
extern void waiter_startup(void);
extern bool waiter_add(const pg_uuid_t *key);
extern void waiter_remove(const pg_uuid_t *key);
extern void waiter_wake(const pg_uuid_t *key);
extern void waiter_wake_all(void);
extern void waiter_disturb(void);

#endif /* HOTSWAP_WAITER_H */
