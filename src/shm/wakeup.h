/*
 * wakeup.h
 *		Telling the workers and the waiters, at commit and only then.
 *
 * All may be called without the preload and then do nothing.
 */
#ifndef HOTSWAP_WAKEUP_H
#define HOTSWAP_WAKEUP_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

/* The dispatcher of this database has to look at a deployment; if it ended, its waiters too. */
extern void wake_deployment(const pg_uuid_t *tenant, const pg_uuid_t *deployment, bool ended);

/* The dispatcher has to load everything anew: what it remembers of all deployments has changed. */
extern void wake_reload(void);

/* There is something new in the outbox: the dispatcher sends its NOTIFY. */
extern void wake_notify(void);

/* Whoever waits for this key, other than that of a deployment. */
extern void wake_waiters(const pg_uuid_t *key);

/* A lease ends at this time: the dispatcher may have to look earlier than it meant to. */
extern void wake_lease(TimestampTz end);

/* From now on this process announces by wake_announce(), when a commit is quite complete. */
extern void wake_defer(void);
extern void wake_announce(void);

/* For prepared.c. */
extern bool wake_put_off(bool *databases);

/* The dispatcher, the waiters and the launcher have to look at everything, now. */
extern void wake_all(bool databases);

extern void wakeup_init(void);

#endif /* HOTSWAP_WAKEUP_H */
