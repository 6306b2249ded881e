/*
 * review.c
 *		Bypasses and overrides await somebody else's look: their limit, and close_bypass_review().
 *
 * Locks: the environment's row, so that the limit is exact; to close a review, the deployment's.
 */
#include "postgres.h"

#include "approval/review.h"
#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/deployment_save.h"
#include "core/missing.h"
#include "core/person.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_close_bypass_review);

static DbStatement open_reviews = DB_STATEMENT(
	"SELECT (SELECT pg_catalog.count(*) FROM hotswap.approval WHERE tenant_id = $1 AND environment = $2"
	" AND status = 'bypassed' AND review_closed_at IS NULL)"
	" + (SELECT pg_catalog.count(*) FROM hotswap.freeze_override WHERE tenant_id = $1"
	" AND environment = $2 AND review_closed_at IS NULL)",
	UUIDOID, TEXTOID);

/* The oldest that is open: a bypass has a round, an override an id. */
static DbStatement find_review = DB_STATEMENT(
	"SELECT r.round, r.id, r.person, r.role FROM (SELECT decided_at AS at, round, NULL::uuid AS id,"
	" decided_by AS person, decided_by_role::oid AS role FROM hotswap.approval WHERE tenant_id = $1"
	" AND environment = $2 AND deployment_id = $3 AND status = 'bypassed' AND review_closed_at IS NULL"
	" UNION ALL SELECT overridden_at, NULL, id, overridden_by, role::oid FROM hotswap.freeze_override"
	" WHERE tenant_id = $1 AND environment = $2 AND deployment_id = $3 AND review_closed_at IS NULL) r"
	" ORDER BY r.at LIMIT 1",
	UUIDOID, TEXTOID, UUIDOID);

#define CLOSE_REVIEW(table, key)                                                            \
	"UPDATE hotswap." table " SET review_closed_at = pg_catalog.clock_timestamp(),"         \
	" review_closed_by = $5, review_comment = $6 WHERE tenant_id = $1 AND environment = $2" \
	" AND deployment_id = $3 AND " key " = $4"

static DbStatement close_bypass = DB_STATEMENT(CLOSE_REVIEW("approval", "round"), UUIDOID, TEXTOID,
											   UUIDOID, INT4OID, TEXTOID, TEXTOID);

static DbStatement close_override = DB_STATEMENT(CLOSE_REVIEW("freeze_override", "id"), UUIDOID,
												 TEXTOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID);

/* May there be one more?  Raises 53400. */
void
review_limit(const pg_uuid_t *tenant, const char *environment, const ApprovalPolicy *policy)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment) };

	(void) db_run_newest(&open_reviews, args, NULL);
	if (policy->max_open_reviews >= 0 && db_int64(0, 1) >= policy->max_open_reviews)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many bypasses of environment \"%s\" await their review", environment),
				 errdetail("Its policy allows %d, and the number of open reviews is " INT64_FORMAT
						   ".",
						   policy->max_open_reviews, db_int64(0, 1)),
				 errhint("Close a review by hotswap.close_bypass_review().")));
}

/* A review that is to be closed. */
typedef struct Review
{
	pg_uuid_t deployment;
	char *environment;
	char *comment;
	Person person;
	bool is_override;
	int32 round;    /* of the approval */
	pg_uuid_t id;   /* of the override */
	char *reviewed; /* who did it */
	Oid role;       /* who that was */
} Review;

/* Whoever looks at it must have a say in the environment and be somebody else. */
static void
check_reviewer(const Review *r, const Deployment *d, const ApprovalPolicy *policy, Oid caller)
{
	if (!approval_policy_allows(policy, caller) &&
		!access_has(&d->tenant, caller, CAPABILITY_ADMIN))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to close a review of environment \"%s\"",
							   r->environment)));
	if (person_is_requester(&r->person, r->reviewed, r->role, r->reviewed, r->role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("\"%s\" cannot close the review of a bypass of their own", r->person.name),
				 errdetail("It was bypassed by \"%s\".", r->reviewed)));
}

/* The oldest review that is open; raises P0002. */
static void
find_open_review(Review *r, const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(r->environment),
					 UUIDPGetDatum(&r->deployment) };

	if (db_run_newest(&find_review, args, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("deployment \"%s\" has no open review for environment \"%s\"",
							   uuid_text(&r->deployment), r->environment)));
	r->is_override = db_isnull(0, 1);
	if (r->is_override)
		r->id = db_uuid(0, 2);
	else
		r->round = db_int32(0, 1);
	r->reviewed = db_text(0, 3);
	r->role = db_oid_or_none(0, 4);
}

static void
write_review(const Review *r, Deployment *d)
{
	DbArgs args = db_args(r->is_override ? &close_override : &close_bypass);
	const char *status = r->is_override ?
							 deployment_machine.statuses[d->status] :
							 approval_machine.statuses[approval_choose(d, r->environment)->status];

	db_arg_uuid(&args, &d->tenant);
	db_arg_text(&args, r->environment);
	db_arg_uuid(&args, &d->id);
	if (r->is_override)
		db_arg_uuid(&args, &r->id);
	else
		db_arg_int32(&args, r->round);
	db_arg_text(&args, r->person.name);
	db_arg_text(&args, r->comment);
	(void) db_run_args(&args);
	audit_add(d->batch, &d->chain, r->is_override ? "freeze.close_review" : "approval.close_review",
			  status, status, r->comment,
			  audit_detail("environment", r->environment, "round",
						   r->is_override ? NULL : psprintf("%d", r->round), "login",
						   r->person.login, NULL));
}

/*
 * close_bypass_review(deployment uuid, environment text, comment text, on_behalf_of text)
 *
 * In: comment of 1 to 10,000 characters. For those who may vote and those with admin, but not for
 * who bypassed or overrode. Errors: 22023; P0002 no such deployment or open review; 42501. Locks the
 * deployment; writes the approval or the override, and the audit log.
 */
Datum
hotswap_close_bypass_review(PG_FUNCTION_ARGS)
{
	char *on_behalf_of = arg_person(fcinfo, 3);
	pg_uuid_t tenant = tenant_current();
	Review r;
	Call c;
	Deployment d;
	ApprovalPolicy policy;

	memset(&r, 0, sizeof(r));
	r.deployment = arg_uuid(fcinfo, 0, "deployment");
	r.environment = arg_text(fcinfo, 1, "environment", NAME_LIMIT);
	r.comment = arg_text(fcinfo, 2, "comment", REASON_LIMIT);
	person_current(&r.person, on_behalf_of);
	call_begin_for(&c, &tenant, on_behalf_of, CAPABILITY_VIEWER, "look at a deployment");
	deployment_lock_existing(&d, &r.deployment, &c.actor);
	if (!approval_policy_load(&tenant, r.environment, &policy))
		environment_refuse_missing(&tenant, r.environment);
	find_open_review(&r, &d);
	check_reviewer(&r, &d, &policy, c.caller);
	write_review(&r, &d);
	deployment_save(&d);
	call_end(&c);
	PG_RETURN_VOID();
}
