/*
 * epoch.h
 *		Reading the route: the newest epoch, and the row of a module as of an epoch.
 */
#ifndef HOTSWAP_ROUTE_EPOCH_H
#define HOTSWAP_ROUTE_EPOCH_H

#include "route/route.h"
#include "utils/snapshot.h"

#define EPOCH_NONE INT64CONST(0) /* before the first row */

extern bool epoch_is_possible(void);
extern int64 epoch_newest(void);
extern int64 epoch_of_snapshot(Snapshot snapshot);
extern bool epoch_read_row(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
						   int64 epoch, Snapshot snapshot, RouteRow *row);

extern bool epoch_find_slot(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
							const char *version, RouteSlot *slot);

#endif /* HOTSWAP_ROUTE_EPOCH_H */
