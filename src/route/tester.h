/*
 * tester.h
 *		The versions that a session asks for by name.
 */
#ifndef HOTSWAP_ROUTE_TESTER_H
#define HOTSWAP_ROUTE_TESTER_H

#include "route/route.h"

extern bool tester_asks(void);
extern bool tester_find_slot(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
							 Oid role, RouteSlot *slot);

#endif /* HOTSWAP_ROUTE_TESTER_H */
