/*
 * staying.h
 *		Why earlier versions are still installed.
 */
#ifndef HOTSWAP_STAYING_H
#define HOTSWAP_STAYING_H

#include "nodes/pg_list.h"
#include "utils/uuid.h"

typedef struct Staying
{
	char *what; /* in words, as the others */
	char *why;
	char *until;
} Staying;

/* Inside a scope: of Staying *, on the nodes of a deployment. */
extern List *staying_versions(const pg_uuid_t *tenant, const pg_uuid_t *deployment, List *modules);

#endif /* HOTSWAP_STAYING_H */
