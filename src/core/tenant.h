/*
 * tenant.h
 *		Which tenant a call is about; what hotswap knows of the installation.
 */
#ifndef HOTSWAP_TENANT_H
#define HOTSWAP_TENANT_H

#include "core/audit.h"
#include "fmgr.h"
#include "utils/uuid.h"

typedef enum DispatchState
{
	DISPATCH_ALLOWED,
	DISPATCH_STOPPED, /* stop_dispatching() */
	DISPATCH_FOREIGN, /* restored from elsewhere: adopt() first */
	DISPATCH_NOTHING  /* nothing has ever been published here */
} DispatchState;

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
extern void installation_ensure(void);
extern void installation_lock(void);
extern void installation_audit(const AuditActor *actor, const char *event, const char *before,
							   const char *after, Jsonb *detail);
extern DispatchState installation_dispatch_state(void);

#endif /* HOTSWAP_TENANT_H */
