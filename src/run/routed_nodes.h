/*
 * routed_nodes.h
 *		The nodes on which a module is called through entries, for those who change that by hand.
 */
#ifndef HOTSWAP_ROUTED_NODES_H
#define HOTSWAP_ROUTED_NODES_H

#include "route/ring.h"

/* All inside a scope. */

/* Of pg_uuid_t *; node: this one at most, unless NULL.  Locks the module's row; P0002 if there is none. */
extern List *routed_nodes(const pg_uuid_t *tenant, const char *module, const pg_uuid_t *node);

/* The lane of the module there, until the end of the transaction; 55006 if it is not free. */
extern void routed_lock_lane(const RingKey *key);

#endif /* HOTSWAP_ROUTED_NODES_H */
