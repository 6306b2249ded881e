/*
 * access.c
 *		Who may do what: capabilities of roles, grant_access() and revoke_access().
 *
 * A role has a capability when it is a member, directly or not, of a role that was granted it, or
 * when it has the privileges of the role that owns the extension; superusers do.
 *
 * Locks: tenant row, then the grant's row.
 */
#include "postgres.h"

#include "access.h"
#include "args.h"
#include "audit.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "db.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tenant.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(hotswap_grant_access);
PG_FUNCTION_INFO_V1(hotswap_revoke_access);

static const char *const capability_names[] = { "approver", "break_glass", "impersonator",
												"admin" };

static DbStatement roles_query = DB_STATEMENT(
	"SELECT role::oid FROM hotswap.access WHERE tenant_id = $1 AND capability = $2::hotswap.capability"
	" ORDER BY 1",
	UUIDOID, TEXTOID);

static DbStatement insert_access =
	DB_STATEMENT("INSERT INTO hotswap.access (tenant_id, role, capability)"
				 " VALUES ($1, $2::regrole, $3::hotswap.capability) ON CONFLICT DO NOTHING",
				 UUIDOID, OIDOID, TEXTOID);

static DbStatement delete_access =
	DB_STATEMENT("DELETE FROM hotswap.access WHERE tenant_id = $1 AND role = $2::regrole"
				 " AND capability = $3::hotswap.capability",
				 UUIDOID, OIDOID, TEXTOID);

/* The roles that were granted a capability, as a list of OIDs; some may have been dropped. */
List *
access_roles(const pg_uuid_t *tenant, Capability capability)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(capability_names[capability]) };
	uint64 count = db_run(&roles_query, args, NULL);
	List *roles = NIL;

	for (uint64 i = 0; i < count; i++)
		roles = lappend_oid(roles, db_oid(i, 1));
	return roles;
}

/* Is a role, which must exist, one of these or a member of one?  Being a superuser does not count. */
bool
access_is_member_of_any(Oid role, List *roles)
{
	ListCell *cell;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		return false;
	foreach (cell, roles)
		if (is_member_of_role_nosuper(role, lfirst_oid(cell)))
			return true;
	return false;
}

bool
access_has(const pg_uuid_t *tenant, Oid role, Capability capability)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		return false;
	return has_privs_of_role(role, db_owner()) ||
		   access_is_member_of_any(role, access_roles(tenant, capability));
}

/* Raises 42501; action completes "permission denied to ...". */
void
access_require(const pg_uuid_t *tenant, Oid role, Capability capability, const char *action)
{
	if (!access_has(tenant, role, capability))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to %s", action),
				 errdetail("Role \"%s\" has not the capability %s.", GetUserNameFromId(role, false),
						   capability_names[capability]),
				 errhint("It is given by hotswap.grant_access().")));
}

static char *
arg_capability(FunctionCallInfo fcinfo, int n)
{
	char *name = arg_text(fcinfo, n, "capability", NAME_LIMIT);
	StringInfoData known;

	initStringInfo(&known);
	for (int i = 0; i < (int) lengthof(capability_names); i++)
	{
		if (strcmp(name, capability_names[i]) == 0)
			return name;
		appendStringInfo(&known, "%s%s", i > 0 ? ", " : "", capability_names[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown capability: \"%s\"", name),
			 errdetail("It must be one of: %s.", known.data)));
}

/* Runs insert_access or delete_access with its audit event; false if no row was written. */
static bool
change_access(FunctionCallInfo fcinfo, DbStatement *statement, const char *event)
{
	Oid role = arg_oid(fcinfo, 0, "role");
	char *capability = arg_capability(fcinfo, 1);
	pg_uuid_t tenant = tenant_argument(fcinfo, 2);
	Datum args[] = { UUIDPGetDatum(&tenant), ObjectIdGetDatum(role),
					 CStringGetTextDatum(capability) };
	char *name = GetUserNameFromId(role, true);
	AuditActor actor;
	DbScope scope;
	bool written;

	audit_actor(&actor, NULL);
	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_ADMIN, "change access");
	if (name == NULL && statement == &insert_access)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND), errmsg("no such role: OID %u", role)));
	installation_ensure();
	tenant_lock_for_change(&tenant);
	written = db_run(statement, args, NULL) > 0;
	if (written)
		audit_tenant(&actor, &tenant, event, NULL, NULL, NULL,
					 audit_detail("role", name ? name : psprintf("%u", role), "capability",
								  capability, NULL));
	db_leave(&scope);
	return written;
}

/*
 * grant_access(role regrole, capability text, tenant uuid)
 *
 * In: capability is a name of the type; tenant may be NULL.  Errors: 22023, P0002 no such role or
 * tenant, 42501, YH003.  Locks the tenant row; writes access and the audit log.
 */
Datum
hotswap_grant_access(PG_FUNCTION_ARGS)
{
	(void) change_access(fcinfo, &insert_access, "grant_access");
	PG_RETURN_VOID();
}

/*
 * revoke_access(role regrole, capability text, tenant uuid)
 *
 * In: the role may have been dropped and is then known by its OID.  Errors: 22023, P0002 no such
 * grant or tenant, 42501, YH003.  Locks the tenant row; deletes from access, writes the audit log.
 */
Datum
hotswap_revoke_access(PG_FUNCTION_ARGS)
{
	if (!change_access(fcinfo, &delete_access, "revoke_access"))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("role %s was not granted the capability %s",
							   GetUserNameFromId(PG_GETARG_OID(0), true) ?
								   quote_identifier(GetUserNameFromId(PG_GETARG_OID(0), true)) :
								   psprintf("%u", PG_GETARG_OID(0)),
							   text_to_cstring(PG_GETARG_TEXT_PP(1)))));
	PG_RETURN_VOID();
}
