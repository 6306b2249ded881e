/*
 * missing.h
 *		Refuses what names something that is not there.
 */
#ifndef HOTSWAP_MISSING_H
#define HOTSWAP_MISSING_H

#include "base/compat.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

pg_noreturn extern void role_refuse_missing(Oid role);
extern void role_require(Oid role);
extern void role_require_all(List *roles);
pg_noreturn extern void version_refuse_missing(const char *module, const char *version);
pg_noreturn extern void release_refuse_missing(const char *release);

/* Inside a scope. */
pg_noreturn extern void environment_refuse_missing(const pg_uuid_t *tenant, const char *name);

#endif /* HOTSWAP_MISSING_H */
