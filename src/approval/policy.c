/*
 * policy.c
 *		set_approval_policy(): who has to agree before a deployment goes to an environment.
 *
 * Locks: tenant row, environment row, then the deployments with a pending approval for the
 * environment, in the order of their ids.
 */
#include "postgres.h"

#include "approval/release.h"
#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/call.h"
#include "core/deployment_save.h"
#include "core/environment_row.h"
#include "core/missing.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_set_approval_policy);

#define QUORUM_LIMIT 20
#define REVIEW_LIMIT 1000
#define EXPIRY_MIN INT64CONST(1000000) /* us */
#define EXPIRY_MAX (366 * USECS_PER_DAY)

#define POLICY_JSON                                                                             \
	"pg_catalog.jsonb_build_object('min_approvals', e.min_approvals, 'approvers', e.approvers," \
	" 'expires_after', e.expires_after, 'allow_self_approval', e.allow_self_approval,"          \
	" 'require_comment', e.require_comment, 'max_open_reviews', e.max_open_reviews)::text"

static DbStatement lock_policy =
	DB_STATEMENT("SELECT " POLICY_JSON
				 " FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.name = $2"
				 " FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

static DbStatement update_policy = DB_STATEMENT(
	"UPDATE hotswap.environment e SET min_approvals = $3, approvers = $4::regrole[], expires_after = $5,"
	" allow_self_approval = $6, require_comment = $7, max_open_reviews = $8"
	" WHERE e.tenant_id = $1 AND e.name = $2 RETURNING " POLICY_JSON,
	UUIDOID, TEXTOID, INT4OID, OIDARRAYOID, INTERVALOID, BOOLOID, BOOLOID, INT4OID);

static DbStatement pending_query =
	DB_STATEMENT("SELECT deployment_id FROM hotswap.approval"
				 " WHERE tenant_id = $1 AND environment = $2 AND status = 'pending'"
				 " AND used_at IS NULL ORDER BY 1",
				 UUIDOID, TEXTOID);

/* What was asked for. */
typedef struct Request
{
	pg_uuid_t tenant;
	char *environment;
	Datum key[2];  /* of the environment */
	DbArgs update; /* of update_policy */
} Request;

static Datum
arg_approvers(FunctionCallInfo fcinfo, int n, bool *isnull)
{
	List *roles = arg_oids(fcinfo, n, "approvers");

	*isnull = PG_ARGISNULL(n);
	if (*isnull)
		return (Datum) 0;
	if (roles == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"approvers\" must not be empty"),
						errhint("Use NULL for all roles with the capability approver.")));
	role_require_all(roles);
	return db_oid_array(roles);
}

static void
policy_read_request(FunctionCallInfo fcinfo, Request *r)
{
	bool any_approver;
	Datum approvers;

	r->environment = arg_text(fcinfo, 0, "environment", NAME_LIMIT);
	r->tenant = tenant_argument(fcinfo, 7);
	r->key[0] = UUIDPGetDatum(&r->tenant);
	r->key[1] = CStringGetTextDatum(r->environment);
	r->update = db_args(&update_policy);
	db_arg_uuid(&r->update, &r->tenant);
	db_arg_text(&r->update, r->environment);
	db_arg_int32(&r->update, arg_int32(fcinfo, 1, "min_approvals", 0, QUORUM_LIMIT));
	approvers = arg_approvers(fcinfo, 2, &any_approver);
	db_arg_datum(&r->update, OIDARRAYOID, approvers, any_approver);
	arg_require(fcinfo, 3, "expires_after");
	db_arg_interval(&r->update, arg_interval_between(fcinfo, 3, "expires_after", EXPIRY_MIN,
													 EXPIRY_MAX, "one second and a year"));
	db_arg_bool(&r->update, arg_bool(fcinfo, 4, "allow_self_approval"));
	db_arg_bool(&r->update, arg_bool(fcinfo, 5, "require_comment"));
	if (PG_ARGISNULL(6))
		db_arg_datum(&r->update, INT4OID, (Datum) 0, true);
	else
		db_arg_int32(&r->update, arg_int32(fcinfo, 6, "max_open_reviews", 0, REVIEW_LIMIT));
}

static List *
pending_deployments(Request *r)
{
	return db_uuid_rows(db_run(&pending_query, r->key, NULL));
}

/* Counts the votes that were cast again, by the new policy. */
static void
policy_recount(Request *r, const pg_uuid_t *id, const AuditActor *actor)
{
	Deployment d;
	Approval *a;
	ApprovalPolicy policy;
	int count;

	if (deployment_lock(&d, &r->tenant, id, actor, false) != DEPLOYMENT_FOUND)
		return;
	a = approval_find(approval_load(&d), r->environment);
	(void) approval_policy_load(&r->tenant, r->environment, &policy);
	if (a == NULL || a->status != APPROVAL_PENDING || a->expires_at <= GetCurrentTimestamp())
		return;
	count = approval_count(&d, a, &policy);
	if (count < approval_quorum(&policy, a))
		return;
	approval_apply(&d, a, APPROVAL_APPROVE, actor->person, "by a change of the policy", NULL);
	approval_release(&d, a);
	deployment_save(&d);
}

/*
 * set_approval_policy(environment text, min_approvals integer, approvers regrole[],
 *		expires_after interval, allow_self_approval boolean, require_comment boolean,
 *		max_open_reviews integer, tenant uuid)
 *
 * In: min_approvals 0 to 20 distinct persons; at most 100 approvers, NULL: those with the
 * capability; expires_after one second to a year; max_open_reviews 0 to 1000, NULL: any number.
 * Errors: 22023; P0002 no such environment, role or tenant; 42501; YH003. Locks the tenant row,
 * the environment and the deployments with a pending approval for it. Writes the environment, the
 * audit log, and the approvals and deployments that are approved by it.
 */
Datum
hotswap_set_approval_policy(PG_FUNCTION_ARGS)
{
	Request r;
	char *before;
	Call c;
	ListCell *cell;

	policy_read_request(fcinfo, &r);
	call_begin_change(&c, &r.tenant, CAPABILITY_ADMIN, "set an approval policy");
	before = environment_settings(&r.tenant, r.environment, &lock_policy);
	(void) environment_change(&c, &r.tenant, r.environment, before, &r.update,
							  "set_approval_policy");
	foreach (cell, pending_deployments(&r))
		policy_recount(&r, lfirst(cell), &c.actor);
	call_end(&c);
	PG_RETURN_VOID();
}
