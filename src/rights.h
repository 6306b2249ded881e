/*
 * rights.h
 *		Stand-ins until every function looks for a capability.
 */
#ifndef HOTSWAP_RIGHTS_H
#define HOTSWAP_RIGHTS_H

#include "access.h"
#include "db.h"
#include "miscadmin.h"
#include "utils/acl.h"

#define CAPABILITY_AGENT CAPABILITY_ADMIN
#define CAPABILITY_VIEWER CAPABILITY_ADMIN

static inline void
access_require_everywhere(Oid caller, Capability capability, const char *action)
{
	if (!has_privs_of_role(caller, db_owner()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to %s", action),
				 errdetail("Role \"%s\" has not the capability %s everywhere.",
						   GetUserNameFromId(caller, false),
						   capability == CAPABILITY_ADMIN ? "admin" : "other")));
}

#endif /* HOTSWAP_RIGHTS_H */
