/*
 * tag.h
 *		Tags: other names of versions.
 */
#ifndef HOTSWAP_TAG_H
#define HOTSWAP_TAG_H

#include "nodes/pg_list.h"
#include "utils/uuid.h"

/* Inside a scope, in the caller's memory context. */

/* What a name stands for: that of a version, which need not exist, or what it tags. */
extern char *version_resolve(const pg_uuid_t *tenant, const char *module, const char *name);

/* The same of a list; sorted, each once. */
extern List *version_resolve_all(const pg_uuid_t *tenant, const char *module, List *names);

/* Raises 23505 if there is a tag of this name. */
extern void tag_refuse_existing(const pg_uuid_t *tenant, const char *module, const char *name);

#endif /* HOTSWAP_TAG_H */
