/*
 * call.h
 *		The frame of the functions that a client calls.
 *
 * In this order everywhere: who calls is noted, the owner of the extension takes over, the caller's
 * right is checked, the rows that every installation needs are there, and what the call is about is
 * locked.
 */
#ifndef HOTSWAP_CALL_H
#define HOTSWAP_CALL_H

#include "base/db.h"
#include "core/access.h"
#include "core/audit.h"

typedef struct Call
{
	AuditActor actor;
	Oid caller; /* effective role */
	DbScope scope;
} Call;

/* action completes "permission denied to ..." */
extern void call_begin(Call *c, const pg_uuid_t *tenant, Capability capability, const char *action);
extern void call_begin_for(Call *c, const pg_uuid_t *tenant, const char *on_behalf_of,
						   Capability capability, const char *action);

/* And the tenant's row is locked: it is active, or (living) not about to go. */
extern void call_begin_change(Call *c, const pg_uuid_t *tenant, Capability capability,
							  const char *action);
extern void call_begin_change_living(Call *c, const pg_uuid_t *tenant, Capability capability,
									 const char *action);

/* What concerns more than one tenant, without and with a lock on the installation's row. */
extern void call_begin_everywhere(Call *c, Capability capability, const char *action);
extern void call_begin_installation(Call *c, Capability capability, const char *action);

extern void call_end(Call *c);

#endif /* HOTSWAP_CALL_H */
