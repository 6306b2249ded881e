/*
 * bypass.c
 *		Breaking the glass: bypass_approval() and close_bypass_review().
 *
 * Locks: the environment's row, so that the limit of open reviews is exact, then the deployment's.
 */
#include "postgres.h"

#include "approval/release.h"
#include "approval/vote.h"
#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/deployment_save.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_bypass_approval);
PG_FUNCTION_INFO_V1(hotswap_close_bypass_review);

#define TICKET_LIMIT 200

static DbStatement lock_environment =
	DB_STATEMENT("SELECT 1 FROM hotswap.environment WHERE tenant_id = $1 AND name = $2"
				 " FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

static DbStatement open_reviews = DB_STATEMENT(
	"SELECT pg_catalog.count(*) FROM hotswap.approval WHERE tenant_id = $1 AND environment = $2"
	" AND status = 'bypassed' AND review_closed_at IS NULL",
	UUIDOID, TEXTOID);

static DbStatement find_review = DB_STATEMENT(
	"SELECT round, decided_by, decided_by_role::oid FROM hotswap.approval WHERE tenant_id = $1 AND environment = $2"
	" AND status = 'bypassed' AND review_closed_at IS NULL AND deployment_id = $3 ORDER BY round LIMIT 1",
	UUIDOID, TEXTOID, UUIDOID);

static DbStatement note_bypasser =
	DB_STATEMENT("UPDATE hotswap.approval SET decided_by_role = $5::regrole"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND environment = $3 AND round = $4",
				 UUIDOID, UUIDOID, TEXTOID, INT4OID, OIDOID);

static DbStatement close_review = DB_STATEMENT(
	"UPDATE hotswap.approval SET review_closed_at = pg_catalog.clock_timestamp(), review_closed_by = $5,"
	" review_comment = $6"
	" WHERE tenant_id = $1 AND environment = $2 AND deployment_id = $3 AND round = $4",
	UUIDOID, TEXTOID, UUIDOID, INT4OID, TEXTOID, TEXTOID);

static void
limit_open_reviews(const Ballot *b)
{
	Datum args[] = { UUIDPGetDatum(&b->d.tenant), CStringGetTextDatum(b->approval->environment) };

	(void) db_run_newest(&open_reviews, args, NULL);
	if (b->policy.max_open_reviews >= 0 && db_int64(0, 1) >= b->policy.max_open_reviews)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many bypasses of environment \"%s\" await their review",
						b->approval->environment),
				 errdetail("Its policy allows %d, and the number of open reviews is " INT64_FORMAT
						   ".",
						   b->policy.max_open_reviews, db_int64(0, 1)),
				 errhint("Close a review by hotswap.close_bypass_review().")));
}

/*
 * bypass_approval(deployment uuid, environment text, reason text, ticket text, on_behalf_of text)
 *		returns the approval's status
 *
 * In: reason of 1 to 10,000 characters, ticket of 1 to 200. Errors: 22023; P0002 no such
 * deployment or approval; 42501 without break_glass; 53400 as many bypasses await their review as
 * the policy allows; 55000 not pending or overdue. Locks the environment and the deployment;
 * writes the approval, the outbox and the audit log.
 */
Datum
hotswap_bypass_approval(PG_FUNCTION_ARGS)
{
	char *reason = arg_text(fcinfo, 2, "reason", REASON_LIMIT);
	char *ticket = arg_text(fcinfo, 3, "ticket", TICKET_LIMIT);
	char *on_behalf_of = arg_person(fcinfo, 4);
	pg_uuid_t tenant = tenant_current();
	Ballot b;
	DbArgs args = db_args(&note_bypasser);
	Datum key[] = { UUIDPGetDatum(&tenant), PG_GETARG_DATUM(1) };

	memset(&b, 0, sizeof(b));
	b.id = arg_uuid(fcinfo, 0, "deployment");
	b.environment = arg_text(fcinfo, 1, "environment", NAME_LIMIT);
	person_current(&b.person, on_behalf_of);
	ballot_begin(&b, CAPABILITY_BREAK_GLASS, "bypass an approval");
	(void) db_run(&lock_environment, key, NULL);
	ballot_open(&b);
	ballot_require(&b, APPROVAL_BYPASS);
	limit_open_reviews(&b);
	approval_apply(&b.d, b.approval, APPROVAL_BYPASS, b.person.name, reason, ticket);
	db_arg_uuid(&args, &b.d.tenant);
	db_arg_uuid(&args, &b.d.id);
	db_arg_text(&args, b.approval->environment);
	db_arg_int32(&args, b.approval->round);
	db_arg_oid(&args, b.person.known);
	(void) db_run_args(&args);
	approval_release(&b.d, b.approval);
	deployment_save(&b.d);
	return ballot_close(&b, fcinfo);
}

/* Whoever looks at a bypass must have a say in the environment and be somebody else. */
static void
check_reviewer(const Ballot *b, const char *bypassed_by, Oid role)
{
	if (!approval_policy_allows(&b->policy, b->call.caller) &&
		!access_has(&b->d.tenant, b->call.caller, CAPABILITY_ADMIN))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to close a review of environment \"%s\"",
							   b->environment)));
	if (person_is_requester(&b->person, bypassed_by, role, bypassed_by, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("\"%s\" cannot close the review of a bypass of their own", b->person.name),
				 errdetail("It was bypassed by \"%s\".", bypassed_by)));
}

/* The round of the oldest bypass whose review is open, and who it was; raises P0002. */
static int32
find_open_review(const Ballot *b, char **bypassed_by, Oid *role)
{
	Datum args[] = { UUIDPGetDatum(&b->d.tenant), CStringGetTextDatum(b->environment),
					 UUIDPGetDatum(&b->id) };

	if (db_run_newest(&find_review, args, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("deployment \"%s\" has no open review for environment \"%s\"",
							   uuid_text(&b->id), b->environment)));
	*bypassed_by = db_text(0, 2);
	*role = db_oid_or_none(0, 3);
	return db_int32(0, 1);
}

/*
 * close_bypass_review(deployment uuid, environment text, comment text, on_behalf_of text)
 *
 * In: comment of 1 to 10,000 characters. For those who may vote and those with admin, but not for
 * who bypassed. Errors: 22023; P0002 no such deployment or open review; 42501. Locks the
 * deployment; writes the approval and the audit log.
 */
Datum
hotswap_close_bypass_review(PG_FUNCTION_ARGS)
{
	char *on_behalf_of = arg_person(fcinfo, 3);
	Ballot b;
	DbArgs args = db_args(&close_review);
	char *bypassed_by;
	Oid bypasser;
	int32 round;

	memset(&b, 0, sizeof(b));
	b.id = arg_uuid(fcinfo, 0, "deployment");
	b.environment = arg_text(fcinfo, 1, "environment", NAME_LIMIT);
	b.comment = arg_text(fcinfo, 2, "comment", REASON_LIMIT);
	person_current(&b.person, on_behalf_of);
	ballot_begin(&b, CAPABILITY_VIEWER, "look at a deployment");
	ballot_open(&b);
	round = find_open_review(&b, &bypassed_by, &bypasser);
	check_reviewer(&b, bypassed_by, bypasser);
	db_arg_uuid(&args, &b.d.tenant);
	db_arg_text(&args, b.environment);
	db_arg_uuid(&args, &b.id);
	db_arg_int32(&args, round);
	db_arg_text(&args, b.person.name);
	db_arg_text(&args, b.comment);
	(void) db_run_args(&args);
	ballot_audit(&b, "approval.close_review", b.comment, NULL);
	deployment_save(&b.d);
	call_end(&b.call);
	PG_RETURN_VOID();
}
