/*
 * access_grant.c
 *		Capabilities are given and taken away: grant_access() and revoke_access().
 *
 * Locks: tenant row, then the grant's row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_grant_access);
PG_FUNCTION_INFO_V1(hotswap_revoke_access);

static DbStatement insert_access =
	DB_STATEMENT("INSERT INTO hotswap.access (tenant_id, role, capability)"
				 " VALUES ($1, $2::regrole, $3::hotswap.capability) ON CONFLICT DO NOTHING",
				 UUIDOID, OIDOID, TEXTOID);

static DbStatement delete_access =
	DB_STATEMENT("DELETE FROM hotswap.access WHERE tenant_id IS NOT DISTINCT FROM $1"
				 " AND role = $2::regrole AND capability = $3::hotswap.capability",
				 UUIDOID, OIDOID, TEXTOID);

/* Runs insert_access or delete_access with its audit event; false if no row was written. */
static bool
change_access(FunctionCallInfo fcinfo, DbStatement *statement, const char *event)
{
	Oid role = arg_oid(fcinfo, 0, "role");
	const char *capability =
		capability_names[arg_label(fcinfo, 1, "capability", capability_names, CAPABILITY_COUNT)];
	bool all = arg_bool(fcinfo, 3, "all_tenants");
	pg_uuid_t tenant = all ? tenant_default() : tenant_argument(fcinfo, 2);
	DbArgs args = db_args(statement);
	char *name = GetUserNameFromId(role, true);
	Call c;
	bool written;

	if (all && !PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"tenant\" must be null where \"all_tenants\" is true")));
	if (all)
		call_begin_everywhere(&c, CAPABILITY_ADMIN, "change access");
	else
		call_begin_change_living(&c, &tenant, CAPABILITY_ADMIN, "change access");
	if (name == NULL && statement == &insert_access)
		role_refuse_missing(role);
	db_arg_uuid(&args, all ? NULL : &tenant);
	db_arg_oid(&args, role);
	db_arg_text(&args, capability);
	written = db_run_args(&args) > 0;
	if (written)
		audit_tenant(&c.actor, &tenant, event, NULL, NULL, NULL,
					 audit_detail("role", name ? name : psprintf("%u", role), "capability",
								  capability, "tenants", all ? "all" : NULL, NULL));
	call_end(&c);
	return written;
}

/*
 * grant_access(role regrole, capability text, tenant uuid, all_tenants boolean)
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
 * revoke_access(role regrole, capability text, tenant uuid, all_tenants boolean)
 *
 * In: the role may have been dropped and is then known by its OID.  Errors: 22023, P0002 no such
 * grant or tenant, 42501, YH003.  Locks the tenant row; deletes from access, writes the audit log.
 */
Datum
hotswap_revoke_access(PG_FUNCTION_ARGS)
{
	Oid role;
	char *name;
	char *capability;

	if (change_access(fcinfo, &delete_access, "revoke_access"))
		PG_RETURN_VOID();
	role = PG_GETARG_OID(0);
	name = GetUserNameFromId(role, true);
	if (name == NULL)
		name = psprintf("%u", role);
	capability = text_to_cstring(PG_GETARG_TEXT_PP(1));
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 PG_GETARG_BOOL(3) ?
				 errmsg("role \"%s\" was not granted the capability \"%s\" for all tenants", name,
						capability) :
				 errmsg("role \"%s\" was not granted the capability \"%s\"", name, capability)));
}
