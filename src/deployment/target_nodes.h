/*
 * target_nodes.h
 *		The nodes of an environment that somebody names.
 */
#ifndef HOTSWAP_TARGET_NODES_H
#define HOTSWAP_TARGET_NODES_H

#include "fmgr.h"
#include "utils/uuid.h"

/* The argument as it was given; false: it is NULL. */
extern bool target_nodes_argument(FunctionCallInfo fcinfo, int n, Datum *names);

/* Inside a scope: uuid[], in the order of the ids. */
extern Datum target_nodes_find(const pg_uuid_t *tenant, const char *environment, Datum names);

#endif /* HOTSWAP_TARGET_NODES_H */
