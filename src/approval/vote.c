/*
 * vote.c
 *		Voting: approve(), reject(), retract_vote().
 *
 * A vote is one person's.  The person must have a right to vote, of its own or lent by an approver,
 * and must not be who requested the deployment; neither may the approver who lent it.  The
 * effective role must have a right as well: somebody else's SECURITY DEFINER function does not vote
 * for whoever happens to call it.
 *
 * Locks: the deployment's row, which makes all decisions about its approvals follow one another.
 */
#include "postgres.h"

#include "approval/delegation.h"
#include "approval/release.h"
#include "approval/vote.h"
#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/deployment_save.h"
#include "core/path.h"
#include "core/steps.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_approve);
PG_FUNCTION_INFO_V1(hotswap_reject);
PG_FUNCTION_INFO_V1(hotswap_retract_vote);

static DbStatement insert_vote = DB_STATEMENT(
	"INSERT INTO hotswap.approval_vote (tenant_id, deployment_id, environment, round, person_key,"
	" right_key, decision, at, role, delegator, login, person, comment, person_role) VALUES ($1, $2, $3, $4, $5, $6,"
	" $7::hotswap.vote_decision, $8, $9::regrole, $10::regrole, $11::name, $12, $13, $14::regrole)",
	UUIDOID, UUIDOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, OIDOID, OIDOID,
	TEXTOID, TEXTOID, TEXTOID, OIDOID);

static DbStatement delete_vote = DB_STATEMENT(
	"DELETE FROM hotswap.approval_vote WHERE tenant_id = $1 AND deployment_id = $2 AND environment = $3"
	" AND round = $4 AND person_key = $5",
	UUIDOID, UUIDOID, TEXTOID, INT4OID, TEXTOID);

/* Begins the call; who acts on somebody's behalf needs the right to. */
void
ballot_begin(Ballot *b, Capability capability, const char *action)
{
	pg_uuid_t tenant = tenant_current();

	call_begin_for(&b->call, &tenant, b->person.spoken ? b->person.name : NULL, capability, action);
}

/* Locks the deployment and finds its approval and the policy. */
void
ballot_open(Ballot *b)
{
	deployment_lock_existing(&b->d, &b->id, &b->call.actor);
	b->approval = approval_choose(&b->d, b->environment);
	if (!approval_policy_load(&b->d.tenant, b->approval->environment, &b->policy))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("environment \"%s\" does not exist", b->approval->environment),
						errdetail("It was removed with its tenant.")));
}

/* Raises 55000 for an event that is not legal, or when it comes too late. */
void
ballot_require(const Ballot *b, ApprovalEvent event)
{
	(void) machine_next(&approval_machine, b->approval->status, event);
	if (b->approval->expires_at <= GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("approval for environment \"%s\" expired at %s", b->approval->environment,
						timestamptz_to_str(b->approval->expires_at))));
}

/* Ends the call, and with it the memory of the approval; returns the approval's status. */
Datum
ballot_close(Ballot *b, FunctionCallInfo fcinfo)
{
	ApprovalStatus status = b->approval->status;

	call_end(&b->call);
	return approval_status_datum(fcinfo, status);
}

static void
refuse_self(const Ballot *b)
{
	if (!b->policy.allow_self && person_is_requester(&b->person, b->d.requested_by, b->d.requester,
													 b->d.login, b->d.login_role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("\"%s\" cannot vote on deployment \"%s\"", b->person.name,
							   uuid_text(&b->id)),
						errdetail("It was requested by \"%s\", logged in as \"%s\".",
								  b->d.requested_by, b->d.login)));
}

static void
refuse_second_vote(const Ballot *b, List *votes)
{
	ListCell *cell;

	foreach (cell, votes)
	{
		Vote *vote = lfirst(cell);

		if (person_may_be(vote->person, vote->person_role, b->person.name, b->person.known))
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("\"%s\" has already voted", b->person.name),
					 strcmp(vote->person, b->person.name) == 0 ?
						 0 :
						 errdetail("The vote of \"%s\" is that of the same person.", vote->person),
					 errhint("A vote can be taken back by hotswap.retract_vote().")));
	}
}

/* The right that the person votes with: *delegator InvalidOid for its own; raises 42501. */
static char *
find_right(const Ballot *b, List *votes, Oid *delegator)
{
	*delegator = InvalidOid;
	if (!approval_policy_allows(&b->policy, b->call.caller) &&
		!OidIsValid(delegation_find(&b->d.tenant, &b->policy, b->call.caller, NULL, NIL)))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to vote on deployments to environment \"%s\"",
					b->approval->environment),
			 errdetail("Role \"%s\" is not an approver there, and no approver has lent it a vote.",
					   GetUserNameFromId(b->call.caller, false))));
	if (approval_policy_allows(&b->policy, b->person.role))
	{
		ListCell *cell;

		foreach (cell, votes)
			if (vote_uses_right_of(lfirst(cell), b->person.name, b->person.known))
				ereport(ERROR,
						(errcode(ERRCODE_UNIQUE_VIOLATION),
						 errmsg("vote of \"%s\" was lent and has already been cast",
								b->person.name),
						 errdetail("\"%s\" has voted with it.", ((Vote *) lfirst(cell))->person)));
		return b->person.key;
	}
	*delegator = delegation_find(&b->d.tenant, &b->policy, b->person.role, &b->d, votes);
	if (!OidIsValid(*delegator))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("\"%s\" cannot vote on deployments to environment \"%s\"", b->person.name,
					b->approval->environment),
			 errdetail(
				 "Role \"%s\" is not an approver there, and no vote that was lent to it is left.",
				 GetUserNameFromId(b->person.role, false))));
	return person_key(GetUserNameFromId(*delegator, false));
}

static void
cast_vote(Ballot *b, bool approves)
{
	List *votes = approval_votes(&b->d, b->approval);
	Oid delegator;
	char *right;
	DbArgs args = db_args(&insert_vote);

	refuse_self(b);
	refuse_second_vote(b, votes);
	right = find_right(b, votes, &delegator);
	db_arg_uuid(&args, &b->d.tenant);
	db_arg_uuid(&args, &b->d.id);
	db_arg_text(&args, b->approval->environment);
	db_arg_int32(&args, b->approval->round);
	db_arg_text(&args, b->person.key);
	db_arg_text(&args, right);
	db_arg_text(&args, approves ? "approve" : "reject");
	db_arg_time(&args, GetCurrentTimestamp());
	db_arg_oid(&args, b->person.role);
	db_arg_oid(&args, delegator);
	db_arg_text(&args, b->person.login);
	db_arg_text(&args, b->person.name);
	db_arg_text(&args, b->comment);
	db_arg_oid(&args, b->person.known);
	(void) db_run_args(&args);
	ballot_audit(b, approves ? "approval.vote_approve" : "approval.vote_reject", b->comment,
				 OidIsValid(delegator) ? GetUserNameFromId(delegator, false) : NULL);
}

/* Adds an event about the approval that does not change its status. */
void
ballot_audit(Ballot *b, const char *event, const char *reason, const char *delegator)
{
	const char *status = approval_machine.statuses[b->approval->status];

	audit_add(b->d.batch, &b->d.chain, event, status, status, reason,
			  audit_detail("environment", b->approval->environment, "round",
						   psprintf("%d", b->approval->round), "login", b->person.login,
						   "delegator", delegator, NULL));
}

/* Fetches what approve(), reject() and retract_vote() take. */
static void
read_ballot(FunctionCallInfo fcinfo, Ballot *b)
{
	char *on_behalf_of = arg_person(fcinfo, 3);

	memset(b, 0, sizeof(Ballot));
	b->id = arg_uuid(fcinfo, 0, "deployment");
	b->environment = arg_text_or_null(fcinfo, 1, "environment", NAME_LIMIT);
	b->comment = arg_text_or_null(fcinfo, 2, "comment", REASON_LIMIT);
	person_current(&b->person, on_behalf_of);
}

/* Ends a deployment that does not run now; what runs is ended by the dispatcher after its stage. */
static void
reject_deployment(Ballot *b)
{
	char *message =
		psprintf("rejected for %s by %s: %s", b->approval->environment, b->person.name, b->comment);

	if (machine_allows(&deployment_machine, b->d.status, DEPLOYMENT_REJECT) &&
		b->d.status != DEPLOYMENT_RUNNING)
	{
		steps_cancel_stages(&b->d, message);
		b->d.message = message;
		deployment_apply(&b->d, DEPLOYMENT_REJECT, message);
	}
}

/*
 * approve(deployment uuid, environment text, comment text, on_behalf_of text) returns the
 *		approval's status
 *
 * In: environment NULL: the next on the path; comment of 1 to 10,000 characters, NULL where the
 * policy does not require one; on_behalf_of: the person for whom the caller speaks, 1 to 200
 * characters, with impersonator. Errors: 22023; P0002 no such deployment or approval; 42501 no
 * right to vote, or the own deployment; 23505 has voted already; 55000 not pending or overdue.
 * Locks the deployment; writes the vote, the audit log and what follows from the quorum.
 */
Datum
hotswap_approve(PG_FUNCTION_ARGS)
{
	Ballot b;

	read_ballot(fcinfo, &b);
	ballot_begin(&b, CAPABILITY_VIEWER, "look at a deployment");
	ballot_open(&b);
	ballot_require(&b, APPROVAL_APPROVE);
	if (b.policy.require_comment && b.comment == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("vote for environment \"%s\" requires a comment",
							   b.approval->environment)));
	cast_vote(&b, true);
	if (approval_count(&b.d, b.approval, &b.policy) >= approval_quorum(&b.policy, b.approval))
	{
		approval_apply(&b.d, b.approval, APPROVAL_APPROVE, b.person.name, b.comment, NULL);
		approval_release(&b.d, b.approval);
	}
	deployment_save(&b.d);
	return ballot_close(&b, fcinfo);
}

/* reject(deployment uuid, environment text, comment text, on_behalf_of text): the same */
Datum
hotswap_reject(PG_FUNCTION_ARGS)
{
	Ballot b;

	read_ballot(fcinfo, &b);
	b.comment = arg_text(fcinfo, 2, "comment", REASON_LIMIT);
	ballot_begin(&b, CAPABILITY_VIEWER, "look at a deployment");
	ballot_open(&b);
	ballot_require(&b, APPROVAL_REJECT);
	cast_vote(&b, false);
	approval_apply(&b.d, b.approval, APPROVAL_REJECT, b.person.name, b.comment, NULL);
	reject_deployment(&b);
	deployment_save(&b.d);
	return ballot_close(&b, fcinfo);
}

static void
remove_vote(Ballot *b)
{
	DbArgs args = db_args(&delete_vote);

	db_arg_uuid(&args, &b->d.tenant);
	db_arg_uuid(&args, &b->d.id);
	db_arg_text(&args, b->approval->environment);
	db_arg_int32(&args, b->approval->round);
	db_arg_text(&args, b->person.key);
	if (db_run_args(&args) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("\"%s\" has not voted on deployment \"%s\"", b->person.name,
							   uuid_text(&b->id)),
						errdetail("The approval is the one for environment \"%s\", round %d.",
								  b->approval->environment, b->approval->round)));
	ballot_audit(b, "approval.retract_vote", b->comment, NULL);
}

/* Too few votes are left: people have to look at it again. */
static void
vote_reopen(Ballot *b)
{
	Approval *last = b->approval;
	ApprovalScope scope;

	approval_apply(&b->d, last, APPROVAL_INVALIDATE, b->person.name,
				   psprintf("the vote of %s was taken back", b->person.name), NULL);
	approval_scope_plan(&b->d, last->environment, &scope);
	b->approval = approval_open(&b->d, last->environment, last->extra, last->round + 1, &b->policy,
								path_of_deployment(&b->d), &scope);
	steps_await_approval(&b->d, b->approval->environment);
}

/*
 * retract_vote(deployment uuid, environment text, comment text, on_behalf_of text): the same
 *
 * As long as the stage has not started, an approval that loses its quorum thereby becomes void and
 * a new one is opened. Errors: 22023, P0002 no such deployment, approval or vote, 42501, 55000
 * decided otherwise, used or overdue. Locks the deployment; removes the vote, writes the audit
 * log.
 */
Datum
hotswap_retract_vote(PG_FUNCTION_ARGS)
{
	Ballot b;

	read_ballot(fcinfo, &b);
	ballot_begin(&b, CAPABILITY_VIEWER, "look at a deployment");
	ballot_open(&b);
	ballot_require(&b, APPROVAL_INVALIDATE);
	if (!approval_is_live(b.approval) || b.approval->status == APPROVAL_BYPASSED)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("approval for environment \"%s\" no longer depends on votes",
							   b.approval->environment)));
	remove_vote(&b);
	if (b.approval->status == APPROVAL_APPROVED &&
		approval_count(&b.d, b.approval, &b.policy) < approval_quorum(&b.policy, b.approval))
		vote_reopen(&b);
	deployment_save_due(&b.d,
						b.approval->status == APPROVAL_PENDING ? GetCurrentTimestamp() : TIME_NULL);
	return ballot_close(&b, fcinfo);
}
