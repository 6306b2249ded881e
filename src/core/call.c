/*
 * call.c
 *		The frame of the functions that a client calls: who, with which right, under which lock.
 *
 * Locks: installation row, or tenant row.
 */
#include "postgres.h"

#include "core/call.h"
#include "core/installation.h"
#include "core/tenant.h"

/* Notes who calls, and becomes the owner. */
static void
call_enter(Call *c, const char *on_behalf_of)
{
	audit_actor(&c->actor, on_behalf_of);
	db_enter(&c->scope);
	c->caller = c->scope.caller;
}

/* The same on somebody's behalf, which may be NULL and is a right of its own. */
void
call_begin_for(Call *c, const pg_uuid_t *tenant, const char *on_behalf_of, Capability capability,
			   const char *action)
{
	call_enter(c, on_behalf_of);
	access_require(tenant, c->caller, capability, action);
	if (on_behalf_of)
		access_require(tenant, c->caller, CAPABILITY_IMPERSONATOR,
					   psprintf("act on behalf of \"%s\"", on_behalf_of));
}

void
call_begin(Call *c, const pg_uuid_t *tenant, Capability capability, const char *action)
{
	call_begin_for(c, tenant, NULL, capability, action);
}

void
call_begin_everywhere(Call *c, Capability capability, const char *action)
{
	call_enter(c, NULL);
	access_require_everywhere(c->caller, capability, action);
	installation_ensure();
}

void
call_begin_change(Call *c, const pg_uuid_t *tenant, Capability capability, const char *action)
{
	call_begin(c, tenant, capability, action);
	installation_ensure();
	tenant_lock_for_change(tenant);
}

void
call_begin_change_living(Call *c, const pg_uuid_t *tenant, Capability capability,
						 const char *action)
{
	call_begin(c, tenant, capability, action);
	installation_ensure();
	tenant_lock_living(tenant);
}

void
call_begin_installation(Call *c, Capability capability, const char *action)
{
	call_begin_everywhere(c, capability, action);
	installation_lock();
}

void
call_end(Call *c)
{
	db_leave(&c->scope);
}
