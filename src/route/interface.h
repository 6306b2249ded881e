/*
 * interface.h
 *		The entries of a module on a node: what callers call, whatever version they get.
 */
#ifndef HOTSWAP_ROUTE_INTERFACE_H
#define HOTSWAP_ROUTE_INTERFACE_H

#include "route/ring.h"

/*
 * Inside a scope: the commands, of char *, that make the entries to a slot that are not there yet.
 * adopt: the module was called directly so far, and its functions become entries.  Raises 0A000
 * where an entry would not fit all versions that can be reached.
 */
extern List *interface_commands(const RingKey *key, const RingSlot *slot, List *functions,
								bool adopt);

/* Inside a scope, when they have been made: raises 0A000 where one depends on the version. */
extern void interface_require_independent(const RingKey *key, const RingSlot *slot);

/* Inside a scope: drops the entries of which no slot has the function, if nothing depends on them. */
extern void interface_drop_unused(const RingKey *key, const char *entry_schema);

/* Inside a scope: the entries, OIDs. */
extern List *interface_entries(const RingKey *key, const char *entry_schema);

/* Inside a scope: drops all entries; raises 2BP01 where something depends on one. */
extern void interface_drop(const RingKey *key, const char *entry_schema);

#endif /* HOTSWAP_ROUTE_INTERFACE_H */
