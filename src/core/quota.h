/*
 * quota.h
 *		Quotas of tenants: what holds for whom is said by the view hotswap.quota_limits.
 */
#ifndef HOTSWAP_QUOTA_H
#define HOTSWAP_QUOTA_H

#include "fmgr.h"
#include "utils/uuid.h"

/* Resources that are counted where they are made. */
#define QUOTA_MODULES "modules"
#define QUOTA_NODES "nodes"
#define QUOTA_STORED_BYTES "stored_bytes"

extern NullableDatum arg_quota(FunctionCallInfo fcinfo, int n, const char *word);
extern char *quota_amount_text(NullableDatum amount);
extern const char *quota_text(const char *amount);

/* All inside a scope. */
extern bool resource_require(const char *resource);
extern int64 quota_lock_used(const pg_uuid_t *tenant, const char *resource);

/* And with the tenant's row locked. */
extern void quota_require(const pg_uuid_t *tenant, const char *resource);
extern void quota_freeze(const pg_uuid_t *tenant, const char *tier);
extern void quota_require_fit(const pg_uuid_t *tenant, const char *tier);

#endif /* HOTSWAP_QUOTA_H */
