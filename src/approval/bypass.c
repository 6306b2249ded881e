/*
 * bypass.c
 *		Breaking the glass: bypass_approval() and close_bypass_review().
 *
 * Locks: the environment's row, so that the limit of open reviews is exact, then the deployment's.
 */
#include "postgres.h"

#include "approval/vote.h"
#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
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
	"SELECT round, decided_by FROM hotswap.approval WHERE tenant_id = $1 AND environment = $2"
	" AND status = 'bypassed' AND review_closed_at IS NULL AND deployment_id = $3 ORDER BY round LIMIT 1",
	UUIDOID, TEXTOID, UUIDOID);

static DbStatement close_review = DB_STATEMENT(
	"UPDATE hotswap.approval SET review_closed_at = pg_catalog.clock_timestamp(), review_closed_by = $5,"
	" review_comment = $6"
	" WHERE tenant_id = $1 AND environment = $2 AND deployment_id = $3 AND round = $4",
	UUIDOID, TEXTOID, UUIDOID, INT4OID, TEXTOID, TEXTOID);

static void
limit_open_reviews(const Ballot *b)
{
	Datum args[] = { UUIDPGetDatum(&b->d.tenant), CStringGetTextDatum(b->approval->environment) };

	(void) db_run(&open_reviews, args, NULL);
	if (b->policy.max_open_reviews >= 0 && db_int64(0, 1) >= b->policy.max_open_reviews)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many bypasses of environment \"%s\" await their review",
							   b->approval->environment),
						errdetail("There are " INT64_FORMAT ", and its policy allows %d.",
								  db_int64(0, 1), b->policy.max_open_reviews),
						errhint("Close a review by hotswap.close_bypass_review().")));
}

/*
 * bypass_approval(deployment uuid, environment text, reason text, ticket text, on_behalf_of text)
 *		returns the approval's status
 *
 * See the COMMENT in sql/approval.sql.
 */
Datum
hotswap_bypass_approval(PG_FUNCTION_ARGS)
{
	char *reason = arg_text(fcinfo, 2, "reason", REASON_LIMIT);
	char *ticket = arg_text(fcinfo, 3, "ticket", TICKET_LIMIT);
	char *on_behalf_of = arg_text_or_null(fcinfo, 4, "on_behalf_of", PERSON_LIMIT);
	pg_uuid_t tenant = tenant_current();
	Ballot b;
	AuditActor actor;
	DbScope scope;
	Datum key[2];

	memset(&b, 0, sizeof(b));
	b.id = arg_uuid(fcinfo, 0, "deployment");
	b.environment = arg_text(fcinfo, 1, "environment", NAME_LIMIT);
	person_current(&b.person, on_behalf_of);
	audit_actor(&actor, on_behalf_of);
	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_BREAK_GLASS, "bypass an approval");
	key[0] = UUIDPGetDatum(&tenant);
	key[1] = CStringGetTextDatum(b.environment);
	(void) db_run(&lock_environment, key, NULL);
	ballot_open(&b, &actor, scope.caller);
	ballot_require(&b, APPROVAL_BYPASS);
	limit_open_reviews(&b);
	approval_apply(&b.d, b.approval, APPROVAL_BYPASS, b.person.name, reason, ticket);
	approval_release(&b.d, b.approval);
	deployment_save(&b.d);
	return ballot_close(&b, &scope, fcinfo);
}

/* Whoever looks at a bypass must have a say in the environment and be somebody else. */
static void
check_reviewer(const Ballot *b, const char *bypassed_by)
{
	if (!approval_policy_allows(&b->policy, b->caller) &&
		!access_has(&b->d.tenant, b->caller, CAPABILITY_ADMIN))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to close a review of environment \"%s\"",
							   b->environment)));
	if (person_is_requester(&b->person, bypassed_by, bypassed_by))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("\"%s\" may not close the review of a bypass of their own", b->person.name),
				 errdetail("It was bypassed by \"%s\".", bypassed_by)));
}

/*
 * close_bypass_review(deployment uuid, environment text, comment text, on_behalf_of text)
 *
 * See the COMMENT in sql/approval.sql.
 */
Datum
hotswap_close_bypass_review(PG_FUNCTION_ARGS)
{
	char *on_behalf_of = arg_text_or_null(fcinfo, 3, "on_behalf_of", PERSON_LIMIT);
	Ballot b;
	AuditActor actor;
	DbScope scope;
	Datum args[6];

	memset(&b, 0, sizeof(b));
	b.id = arg_uuid(fcinfo, 0, "deployment");
	b.environment = arg_text(fcinfo, 1, "environment", NAME_LIMIT);
	b.comment = arg_text(fcinfo, 2, "comment", REASON_LIMIT);
	person_current(&b.person, on_behalf_of);
	audit_actor(&actor, on_behalf_of);
	db_enter(&scope);
	ballot_open(&b, &actor, scope.caller);
	args[0] = UUIDPGetDatum(&b.d.tenant);
	args[1] = CStringGetTextDatum(b.environment);
	args[2] = UUIDPGetDatum(&b.id);
	if (db_run(&find_review, args, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("deployment %s has no open review for environment \"%s\"",
							   uuid_text(&b.id), b.environment)));
	args[3] = Int32GetDatum(db_int32(0, 1));
	check_reviewer(&b, db_text(0, 2));
	args[4] = CStringGetTextDatum(b.person.name);
	args[5] = CStringGetTextDatum(b.comment);
	(void) db_run(&close_review, args, NULL);
	ballot_audit(&b, "approval.close_review", b.comment, NULL);
	deployment_save(&b.d);
	db_leave(&scope);
	PG_RETURN_VOID();
}
