/*
 * give_way.h
 *		Whoever waits for a lock does not keep a snapshot for ever that a statement of a task waits for.
 */
#ifndef HOTSWAP_GIVE_WAY_H
#define HOTSWAP_GIVE_WAY_H

#include "base/compat.h"

/* Does a statement of a task wait for the transaction of this process?  Takes lightweight locks. */
extern bool give_way_is_due(void);

/* Raises 55P03. */
pg_noreturn extern void give_way(void);

/*
 * Runs body(arg), which waits for a lock in the server's way: 55P03 when a statement of a task has waited for this
 * process for a while meanwhile.
 */
extern void give_way_while(void (*body)(void *), void *arg);

#endif /* HOTSWAP_GIVE_WAY_H */
