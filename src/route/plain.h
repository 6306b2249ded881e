/*
 * plain.h
 *		Entries become the functions that they are entries to.
 */
#ifndef HOTSWAP_ROUTE_PLAIN_H
#define HOTSWAP_ROUTE_PLAIN_H

#include "route/ring.h"

/* Inside a scope: puts the functions of a slot in the place of their entries, as the slot's owner. */
extern void plain_replace_entries(const RingSlot *slot);

#endif /* HOTSWAP_ROUTE_PLAIN_H */
