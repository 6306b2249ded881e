/*
 * delegation.c
 *		Approvers lend their votes: delegate_approval() and revoke_delegation().
 *
 * Locks: tenant row, then the delegation's row.
 */
#include "postgres.h"

#include "approval/delegation.h"
#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(hotswap_delegate_approval);
PG_FUNCTION_INFO_V1(hotswap_revoke_delegation);

static DbStatement in_force =
	DB_STATEMENT("SELECT delegator::oid, delegate::oid FROM hotswap.approval_delegation"
				 " WHERE tenant_id = $1 AND revoked_at IS NULL AND until > $2 ORDER BY id",
				 UUIDOID, TIMESTAMPTZOID);

static DbStatement insert_delegation = DB_STATEMENT(
	"INSERT INTO hotswap.approval_delegation (tenant_id, id, delegator, delegate, created_at, until,"
	" reason) VALUES ($1, $2, $3::regrole, $4::regrole, $5, $6, $7)",
	UUIDOID, UUIDOID, OIDOID, OIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID);

static DbStatement lock_delegation = DB_STATEMENT(
	"SELECT delegator::oid, delegate::text FROM hotswap.approval_delegation WHERE tenant_id = $1 AND id = $2"
	" AND revoked_at IS NULL AND until > pg_catalog.now() FOR NO KEY UPDATE",
	UUIDOID, UUIDOID);

static DbStatement revoke_query =
	DB_STATEMENT("UPDATE hotswap.approval_delegation SET revoked_at = pg_catalog.now()"
				 " WHERE tenant_id = $1 AND id = $2",
				 UUIDOID, UUIDOID);

static DbStatement environments_query =
	DB_STATEMENT("SELECT name FROM hotswap.environment WHERE tenant_id = $1", UUIDOID);

static bool
right_is_used(const char *name, Oid role, List *votes)
{
	ListCell *cell;

	foreach (cell, votes)
		if (vote_uses_right_of(lfirst(cell), name, role))
			return true;
	return false;
}

static bool
is_usable(Oid delegator, const ApprovalPolicy *policy, const Deployment *d, List *votes)
{
	char *name;

	if (!approval_policy_allows(policy, delegator))
		return false;
	name = GetUserNameFromId(delegator, false);
	if (d && !policy->allow_self &&
		(person_may_be(name, delegator, d->requested_by, d->requester) ||
		 person_may_be(name, delegator, d->login, d->login_role)))
		return false;
	return !right_is_used(name, delegator, votes);
}

Oid
delegation_find(const pg_uuid_t *tenant, const ApprovalPolicy *policy, Oid role,
				const Deployment *d, List *votes)
{
	Datum args[] = { UUIDPGetDatum(tenant), TimestampTzGetDatum(GetCurrentTimestamp()) };
	uint64 count = db_run_newest(&in_force, args, NULL);

	for (uint64 i = 0; i < count; i++)
		if (access_is_member_of_any(role, list_make1_oid(db_oid(i, 2))) &&
			is_usable(db_oid(i, 1), policy, d, votes))
			return db_oid(i, 1);
	return InvalidOid;
}

static bool
may_vote_somewhere(const pg_uuid_t *tenant, Oid role)
{
	Datum args[] = { UUIDPGetDatum(tenant) };
	uint64 count = db_run_newest(&environments_query, args, NULL);
	List *names = NIL;
	ListCell *cell;

	for (uint64 i = 0; i < count; i++)
		names = lappend(names, db_text(i, 1));
	foreach (cell, names)
	{
		ApprovalPolicy policy;

		if (approval_policy_load(tenant, lfirst(cell), &policy) &&
			approval_policy_allows(&policy, role))
			return true;
	}
	return false;
}

/* Nobody lends a vote to a role that is the same person. */
static char *
arg_delegate(FunctionCallInfo fcinfo, int n, const Person *delegator)
{
	Oid delegate = arg_oid(fcinfo, n, "delegate");
	char *name = GetUserNameFromId(delegate, true);

	if (name == NULL)
		role_refuse_missing(delegate);
	if (person_may_be(name, delegate, delegator->name, delegator->known))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" cannot lend its vote to role \"%s\"", delegator->name, name),
				 errdetail("They are the same person.")));
	return name;
}

/*
 * delegate_approval(delegate regrole, until timestamptz, reason text, tenant uuid) returns the id
 *
 * In: until: in the future, at most a year; reason of 1 to 10,000 characters. The right is used
 * once for each approval, never for a deployment of either's own, and cannot be lent on. Errors:
 * 22023; P0002 no such role or tenant; 42501 the caller may not vote in any environment; YH003.
 * Locks the tenant row; writes approval_delegation and the audit log.
 */
Datum
hotswap_delegate_approval(PG_FUNCTION_ARGS)
{
	TimestampTz until = arg_until(fcinfo, 1, "until");
	char *reason = arg_text(fcinfo, 2, "reason", REASON_LIMIT);
	pg_uuid_t tenant = tenant_argument(fcinfo, 3);
	pg_uuid_t *id = palloc(sizeof(pg_uuid_t));
	Person person;
	Call c;
	char *delegate;
	DbArgs args = db_args(&insert_delegation);

	person_current(&person, NULL);
	delegate = arg_delegate(fcinfo, 0, &person);
	uuid7_generate(id);
	call_begin_change(&c, &tenant, CAPABILITY_VIEWER, "lend a vote");
	if (!may_vote_somewhere(&tenant, person.role) || !may_vote_somewhere(&tenant, c.caller))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\" has no vote to lend", person.name)));
	db_arg_uuid(&args, &tenant);
	db_arg_uuid(&args, id);
	db_arg_oid(&args, person.role);
	db_arg_oid(&args, PG_GETARG_OID(0));
	db_arg_time(&args, GetCurrentTimestamp());
	db_arg_time(&args, until);
	db_arg_text(&args, reason);
	(void) db_run_args(&args);
	audit_tenant(&c.actor, &tenant, "delegate_approval", NULL, NULL, reason,
				 audit_detail("delegate", delegate, "until", timestamptz_to_str(until), NULL));
	call_end(&c);
	PG_RETURN_UUID_P(id);
}

/*
 * revoke_delegation(delegation uuid, tenant uuid)
 *
 * Votes that were cast with it still count. For the delegator and those with admin. Errors: 22023
 * NULL, P0002 no such delegation in force, 42501, YH003. Locks the tenant row; writes
 * approval_delegation and the audit log.
 */
Datum
hotswap_revoke_delegation(PG_FUNCTION_ARGS)
{
	pg_uuid_t id = arg_uuid(fcinfo, 0, "delegation");
	pg_uuid_t tenant = tenant_argument(fcinfo, 1);
	Datum args[] = { UUIDPGetDatum(&tenant), UUIDPGetDatum(&id) };
	Call c;
	Oid delegator;
	char *delegate;

	call_begin_change(&c, &tenant, CAPABILITY_VIEWER, "revoke a delegation");
	if (db_run(&lock_delegation, args, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("delegation \"%s\" does not exist or is no longer in force",
							   uuid_text(&id))));
	delegator = db_oid(0, 1);
	delegate = db_text(0, 2);
	if (c.caller != delegator)
		access_require(&tenant, c.caller, CAPABILITY_ADMIN,
					   "revoke the delegation of another role");
	(void) db_run(&revoke_query, args, NULL);
	audit_tenant(&c.actor, &tenant, "revoke_delegation", NULL, NULL, NULL,
				 audit_detail("delegate", delegate, NULL));
	call_end(&c);
	PG_RETURN_VOID();
}
