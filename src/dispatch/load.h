/*
 * load.h
 *		From the tables into the due set.
 */
#ifndef HOTSWAP_LOAD_H
#define HOTSWAP_LOAD_H

#include "dispatch/due_set.h"

#define LOAD_CHUNK 256 /* deployments that are read at a time */

extern void load_nothing(void);
extern void load_anew(bool changed);
extern TimestampTz load_next(void);
extern int load_take(Datum *tenants, Datum *ids);
extern void load_tenants(Datum *ids, int count);
extern void load_some(Datum *tenants, Datum *ids, int count);
extern bool load_is_stale(const DueItem *item);

#endif /* HOTSWAP_LOAD_H */
