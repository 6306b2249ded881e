/*
 * removal.h
 *		What ends with a tenant.
 */
#ifndef HOTSWAP_REMOVAL_H
#define HOTSWAP_REMOVAL_H

#include "core/audit.h"

/* All inside a scope, with the tenant's row locked. */
extern void tenant_cancel_deployments(const pg_uuid_t *tenant, const AuditActor *actor,
									  char *reason, bool running);
extern void tenant_require_idle(const pg_uuid_t *tenant);
extern void tenant_remove(const pg_uuid_t *tenant);

#endif /* HOTSWAP_REMOVAL_H */
