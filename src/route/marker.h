/*
 * marker.h
 *		Holding a slot until the end of the transaction.
 */
#ifndef HOTSWAP_ROUTE_MARKER_H
#define HOTSWAP_ROUTE_MARKER_H

#include "route/route.h"

extern bool slot_hold(const char *schema, int64 generation, bool wait);

#endif /* HOTSWAP_ROUTE_MARKER_H */
