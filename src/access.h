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
	CAPABILITY_APPROVER,
	CAPABILITY_BREAK_GLASS,
	CAPABILITY_IMPERSONATOR,
	CAPABILITY_ADMIN
} Capability;

/* All inside a scope. */
extern List *access_roles(const pg_uuid_t *tenant, Capability capability);
extern bool access_has(const pg_uuid_t *tenant, Oid role, Capability capability);
extern void access_require(const pg_uuid_t *tenant, Oid role, Capability capability,
						   const char *action);
extern bool access_is_member_of_any(Oid role, List *roles);

#endif /* HOTSWAP_ACCESS_H */
