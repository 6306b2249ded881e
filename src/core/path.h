/*
 * path.h
 *		The environments that a deployment passes through.
 */
#ifndef HOTSWAP_PATH_H
#define HOTSWAP_PATH_H

#include "nodes/pg_list.h"
#include "utils/uuid.h"

/* Inside a scope. */
extern List *path_of(const pg_uuid_t *tenant, const char *target);

extern bool path_has(List *names, const char *name);

#endif /* HOTSWAP_PATH_H */
