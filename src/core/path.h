/*
 * path.h
 *		The environments that a deployment passes through.
 */
#ifndef HOTSWAP_PATH_H
#define HOTSWAP_PATH_H

#include "core/deployment.h"
#include "nodes/pg_list.h"

/* Inside a scope. */
extern List *path_of(const pg_uuid_t *tenant, const char *target);
extern List *path_of_deployment(const Deployment *d);

#endif /* HOTSWAP_PATH_H */
