/*
 * access.h
 *		Capabilities of roles in a tenant.
 */
#ifndef HOTSWAP_ACCESS_H
#define HOTSWAP_ACCESS_H

#include "nodes/pg_list.h"
#include "utils/uuid.h"

typedef enum Capability
{
	CAPABILITY_VIEWER,
	CAPABILITY_AGENT,
	CAPABILITY_DEPLOYER,
	CAPABILITY_APPROVER,
	CAPABILITY_OPERATOR,
	CAPABILITY_BREAK_GLASS,
	CAPABILITY_IMPERSONATOR,
	CAPABILITY_ADMIN,
	CAPABILITY_TESTER
} Capability;

#define CAPABILITY_COUNT (CAPABILITY_TESTER + 1)

extern const char *const capability_names[CAPABILITY_COUNT];

/* In a transaction; inside a scope or not. */
extern bool access_has(const pg_uuid_t *tenant, Oid role, Capability capability);
extern bool access_has_everywhere(Oid role, Capability capability);
extern void access_require(const pg_uuid_t *tenant, Oid role, Capability capability,
						   const char *action);
extern void access_require_everywhere(Oid role, Capability capability, const char *action);
extern void access_require_audit(const pg_uuid_t *tenant, Oid role);
extern bool access_is_member_of_any(Oid role, List *roles);

/* Which tenants a role sees: all that there are; those in their order, to be used at once; a certain one. */
extern bool access_sees_all(Oid role);
extern int access_seen(Oid role, const pg_uuid_t **tenants);
extern bool access_sees(Oid role, const pg_uuid_t *tenant);

/* Inside a scope. */
extern List *access_roles(const pg_uuid_t *tenant, Capability capability);

#endif /* HOTSWAP_ACCESS_H */
