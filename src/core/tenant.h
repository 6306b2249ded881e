/*
 * tenant.h
 *		Which tenant a call is about, and that it is there and active.
 */
#ifndef HOTSWAP_TENANT_H
#define HOTSWAP_TENANT_H

#include "fmgr.h"
#include "utils/uuid.h"

extern pg_uuid_t tenant_argument(FunctionCallInfo fcinfo, int n);
extern pg_uuid_t tenant_current(void);
extern pg_uuid_t tenant_default(void);
extern void tenant_require_active(const pg_uuid_t *tenant, const char *status);
extern void tenant_lock_active(const pg_uuid_t *tenant);
extern void tenant_lock_for_change(const pg_uuid_t *tenant);
extern const char *tenant_lock(const pg_uuid_t *tenant);
extern void tenant_lock_living(const pg_uuid_t *tenant);
extern void tenant_enter(const pg_uuid_t *tenant);
extern void tenant_enter_active(const pg_uuid_t *tenant);
extern void tenant_close(const pg_uuid_t *tenant);
extern bool tenant_is_default(const pg_uuid_t *tenant);
extern void tenant_make_environments(const pg_uuid_t *tenant);

#endif /* HOTSWAP_TENANT_H */
