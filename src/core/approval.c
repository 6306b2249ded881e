/*
 * approval.c
 *		Approvals of a deployment: what they ask for, how they are opened, counted and decided.
 *
 * An approval is about a digest of what will run.  It is opened with the deployment, or by the gate
 * (gate.c) when the stage would start without one, and it is used once.  All that is decided about
 * it is decided under the lock of the deployment's row, which the caller holds.
 *
 * Locks: none of its own; the rows of approval and approval_vote belong to the deployment.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/names.h"
#include "base/time.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/approval.h"
#include "core/gate_function.h"
#include "core/notification.h"
#include "core/path.h"
#include "core/release.h"
#include "core/steps.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

static DbStatement policy_query = DB_STATEMENT(
	"SELECT min_approvals, approvers::oid[], expires_after, allow_self_approval, require_comment,"
	" max_open_reviews FROM hotswap.environment WHERE tenant_id = $1 AND name = $2",
	UUIDOID, TEXTOID);

enum
{
	P_MIN_APPROVALS = 1,
	P_APPROVERS,
	P_EXPIRES_AFTER,
	P_ALLOW_SELF,
	P_REQUIRE_COMMENT,
	P_MAX_OPEN_REVIEWS
};

static DbStatement load_query = DB_STATEMENT(
	"SELECT a.environment, a.round, a.status, a.extra, a.digest, a.expires_at, a.used_at, a.decided_by,"
	" a.reason, CASE WHEN a.reminded_at IS NULL THEN a.opened_at + (a.expires_at - a.opened_at) / 2 END"
	" FROM (SELECT DISTINCT ON (l.environment) l.* FROM hotswap.approval l"
	" WHERE l.tenant_id = $1 AND l.deployment_id = $2 ORDER BY l.environment, l.round DESC) a"
	" LEFT JOIN hotswap.environment e ON e.tenant_id = $1 AND e.name = a.environment ORDER BY e.rank",
	UUIDOID, UUIDOID);

enum
{
	A_ENVIRONMENT = 1,
	A_ROUND,
	A_STATUS,
	A_EXTRA,
	A_DIGEST,
	A_EXPIRES_AT,
	A_USED_AT,
	A_DECIDED_BY,
	A_REASON,
	A_REMIND_AT
};

static DbStatement votes_query = DB_STATEMENT(
	"SELECT person, role::oid, delegator::oid, decision = 'approve', person_role::oid"
	" FROM hotswap.approval_vote WHERE tenant_id = $1 AND deployment_id = $2 AND environment = $3"
	" AND round = $4",
	UUIDOID, UUIDOID, TEXTOID, INT4OID);

/* Of a release, if it is one ($4). */
static DbStatement version_digest =
	DB_STATEMENT("SELECT digest FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3 AND NOT $4"
				 " UNION ALL SELECT digest FROM hotswap.release"
				 " WHERE tenant_id = $1 AND name = $2 AND $4",
				 UUIDOID, TEXTOID, TEXTOID, BOOLOID);

static DbStatement insert_approval = DB_STATEMENT(
	"INSERT INTO hotswap.approval (tenant_id, deployment_id, environment, round, status, extra,"
	" opened_at, expires_at, digest, roles, steps) VALUES ($1, $2, $3, $4, 'pending', $5, $6, $7, $8, " APPROVAL_SCOPE_VALUES(
		"$9", "$10", "$11", "$12", "$13", "$14") ")",
	UUIDOID, UUIDOID, TEXTOID, INT4OID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BYTEAOID,
	OIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BYTEAARRAYOID, BOOLARRAYOID);

static DbStatement decide = DB_STATEMENT(
	"UPDATE hotswap.approval SET status = $5::hotswap.approval_status, decided_at = $6,"
	" decided_by = $7, reason = $8, ticket = $9"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND environment = $3 AND round = $4",
	UUIDOID, UUIDOID, TEXTOID, INT4OID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID);

static DbStatement note_reminder =
	DB_STATEMENT("UPDATE hotswap.approval SET reminded_at = pg_catalog.clock_timestamp()"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND environment = $3 AND round = $4",
				 UUIDOID, UUIDOID, TEXTOID, INT4OID);

static DbStatement use =
	DB_STATEMENT("UPDATE hotswap.approval SET used_at = $5"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND environment = $3 AND round = $4",
				 UUIDOID, UUIDOID, TEXTOID, INT4OID, TIMESTAMPTZOID);

/* ---- policies ---- */

/* Reads what an environment asks for; false if it does not exist. */
bool
approval_policy_load(const pg_uuid_t *tenant, const char *environment, ApprovalPolicy *policy)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment) };
	bool isnull;
	Datum approvers;

	memset(policy, 0, sizeof(ApprovalPolicy));
	if (db_run_newest(&policy_query, args, NULL) == 0)
		return false;
	policy->min_approvals = db_int32(0, P_MIN_APPROVALS);
	approvers = db_datum(0, P_APPROVERS, &isnull);
	policy->restricted = !isnull;
	if (policy->restricted)
		policy->approvers = db_oid_list(approvers);
	policy->expires_after = *DatumGetIntervalP(db_datum(0, P_EXPIRES_AFTER, &isnull));
	policy->allow_self = db_bool(0, P_ALLOW_SELF);
	policy->require_comment = db_bool(0, P_REQUIRE_COMMENT);
	policy->max_open_reviews =
		db_isnull(0, P_MAX_OPEN_REVIEWS) ? -1 : db_int32(0, P_MAX_OPEN_REVIEWS);
	if (!policy->restricted)
		policy->approvers = access_roles(tenant, CAPABILITY_APPROVER);
	return true;
}

/* May a role vote, now? */
bool
approval_policy_allows(const ApprovalPolicy *policy, Oid role)
{
	if (access_is_member_of_any(role, policy->approvers))
		return true;
	return !policy->restricted && SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)) &&
		   has_privs_of_role(role, db_owner());
}

int
approval_quorum(const ApprovalPolicy *policy, const Approval *a)
{
	return Max(policy->min_approvals, a->extra ? 1 : 0);
}

/* ---- reading ---- */

/* The primary key of an approval. */
static void
approval_key(DbArgs *args, const Deployment *d, const Approval *a)
{
	db_arg_uuid(args, &d->tenant);
	db_arg_uuid(args, &d->id);
	db_arg_text(args, a->environment);
	db_arg_int32(args, a->round);
}

/* The last round of each environment of a deployment, in the order of the path. */
List *
approval_load(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };
	uint64 count = db_run_newest(&load_query, args, NULL);
	List *approvals = NIL;

	for (uint64 i = 0; i < count; i++)
	{
		Approval *a = palloc0(sizeof(Approval));

		a->environment = db_text(i, A_ENVIRONMENT);
		a->round = db_int32(i, A_ROUND);
		a->status = machine_parse(&approval_machine, db_text(i, A_STATUS));
		a->extra = db_bool(i, A_EXTRA);
		(void) db_digest(i, A_DIGEST, a->digest);
		a->expires_at = db_time(i, A_EXPIRES_AT, 0);
		a->used_at = db_time(i, A_USED_AT, TIME_NULL);
		a->decided_by = db_text(i, A_DECIDED_BY);
		a->reason = db_text(i, A_REASON);
		a->remind_at = db_time(i, A_REMIND_AT, DT_NOEND);
		approvals = lappend(approvals, a);
	}
	return approvals;
}

/* The approval of an environment, or NULL. */
Approval *
approval_find(List *approvals, const char *environment)
{
	ListCell *cell;

	foreach (cell, approvals)
		if (strcmp(((Approval *) lfirst(cell))->environment, environment) == 0)
			return lfirst(cell);
	return NULL;
}

/* The approval that is meant: of the environment, or the next pending one; raises P0002. */
Approval *
approval_choose(const Deployment *d, const char *environment)
{
	List *approvals = approval_load(d);
	Approval *chosen = environment ? approval_find(approvals, environment) : NULL;
	ListCell *cell;

	if (environment == NULL && approvals != NIL)
	{
		chosen = llast(approvals);
		foreach (cell, approvals)
			if (((Approval *) lfirst(cell))->status == APPROVAL_PENDING)
			{
				chosen = lfirst(cell);
				break;
			}
	}
	if (chosen == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 environment ? errmsg("deployment \"%s\" has no approval for environment \"%s\"",
									  uuid_text(&d->id), environment) :
							   errmsg("deployment \"%s\" has no approval", uuid_text(&d->id))));
	return chosen;
}

/* Can it still let the stage start, now or after votes? */
bool
approval_is_live(const Approval *a)
{
	return a->status == APPROVAL_PENDING ||
		   ((a->status == APPROVAL_APPROVED || a->status == APPROVAL_BYPASSED) &&
			a->used_at == TIME_NULL);
}

List *
approval_votes(const Deployment *d, const Approval *a)
{
	DbArgs args = db_args(&votes_query);
	List *votes = NIL;
	uint64 count;

	approval_key(&args, d, a);
	count = db_run_newest(&votes_query, args.values, args.nulls);
	for (uint64 i = 0; i < count; i++)
	{
		Vote *vote = palloc(sizeof(Vote));

		vote->person = db_text(i, 1);
		vote->role = db_oid(i, 2);
		vote->delegator = db_oid_or_none(i, 3);
		vote->person_role = db_oid_or_none(i, 5);
		vote->approves = db_bool(i, 4);
		votes = lappend(votes, vote);
	}
	return votes;
}

/* Was the vote cast with the right of this person, its own or lent? */
bool
vote_uses_right_of(const Vote *vote, const char *name, Oid role)
{
	char *holder =
		OidIsValid(vote->delegator) ? GetUserNameFromId(vote->delegator, true) : vote->person;

	return holder &&
		   person_may_be(holder, OidIsValid(vote->delegator) ? vote->delegator : vote->person_role,
						 name, role);
}

/*
 * How many votes for it count now: those of roles that have been dropped or have lost the right do
 * not.
 */
int
approval_count(const Deployment *d, const Approval *a, const ApprovalPolicy *policy)
{
	int count = 0;
	List *votes = approval_votes(d, a);
	ListCell *cell;

	foreach (cell, votes)
	{
		Vote *vote = lfirst(cell);
		bool lent = OidIsValid(vote->delegator);

		if (vote->approves && SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(vote->role)) &&
			approval_policy_allows(policy, lent ? vote->delegator : vote->role))
			count++;
	}
	return count;
}

/* ---- opening ---- */

/* What is asked after its waves. */
static void
digest_gates(pg_cryptohash_ctx *ctx, const Deployment *d, const char *environment)
{
	List *functions =
		d->kind == KIND_DEPLOY ?
			gate_functions(&d->tenant, environment, target_modules(deployment_targets(d))) :
			NIL;
	ListCell *cell;

	foreach (cell, functions)
	{
		const GateFunction *f = lfirst(cell);

		digest_field(ctx, f->name);
		digest_bytes(ctx, f->digest, DIGEST_LENGTH);
	}
}

/*
 * SHA-256 over what is approved: the version's digest, its names, where it goes, and on which path; the steps,
 * where it is about these; and the functions that are asked after its waves.
 */
void
approval_digest(const Deployment *d, List *path, const char *environment, List *steps,
				uint8 *result)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(d->module),
					 CStringGetTextDatum(d->version), BoolGetDatum(d->release != NULL) };
	pg_cryptohash_ctx *ctx;
	uint8 scripts[DIGEST_LENGTH];
	ListCell *cell;

	if (db_run(&version_digest, args, NULL) != 1)
		elog(ERROR, "%s of module \"%s\" has disappeared", deployment_words(d), d->module);
	(void) db_digest(0, 1, scripts);
	ctx = digest_begin();
	digest_bytes(ctx, scripts, DIGEST_LENGTH);
	digest_field(ctx, d->module);
	digest_field(ctx, d->version);
	digest_field(ctx, d->environment);
	digest_field(ctx, environment);
	foreach (cell, path)
		digest_field(ctx, lfirst(cell));
	if (steps != NIL)
	{
		plan_digest(steps, scripts);
		digest_bytes(ctx, scripts, DIGEST_LENGTH);
	}
	digest_gates(ctx, d, environment);
	digest_end(ctx, result);
}

/* Names of the roles that may vote. */
static List *
approver_names(const ApprovalPolicy *policy)
{
	List *names = NIL;
	ListCell *cell;

	foreach (cell, policy->approvers)
	{
		char *name = GetUserNameFromId(lfirst_oid(cell), true);

		if (name)
			names = lappend(names, name);
	}
	if (names == NIL && !policy->restricted)
		names = list_make1(GetUserNameFromId(db_owner(), false));
	return names;
}

/* Opens an approval, from the time on at which the deployment may run. */
Approval *
approval_open(Deployment *d, const char *environment, bool extra, int32 round,
			  const ApprovalPolicy *policy, List *path, const ApprovalScope *scope)
{
	Approval *a = palloc0(sizeof(Approval));
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz from = d->run_at != TIME_NULL && d->run_at > now ? d->run_at : now;
	DbArgs args = db_args(&insert_approval);

	a->environment = pstrdup(environment);
	a->round = round;
	a->status = APPROVAL_PENDING;
	a->extra = extra;
	a->used_at = TIME_NULL;
	a->expires_at = time_after(from, &policy->expires_after);
	a->remind_at = now + (a->expires_at - now) / 2;
	approval_digest(d, path, environment, scope->steps, a->digest);
	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_text(&args, environment);
	db_arg_int32(&args, round);
	db_arg_bool(&args, extra);
	db_arg_time(&args, now);
	db_arg_time(&args, a->expires_at);
	db_arg_digest(&args, a->digest);
	approval_scope_args(&args, scope);
	(void) db_run_args(&args);
	d->gated = true;
	audit_add(d->batch, &d->chain, "approval.request", NULL, "pending", NULL,
			  audit_detail("environment", environment, "round", psprintf("%d", round), "expires_at",
						   timestamptz_to_str(a->expires_at), NULL));
	notification_add(d, environment, "requested", approver_names(policy), NULL);
	return a;
}

static void
require_on_path(List *extra, List *path)
{
	ListCell *cell;

	foreach (cell, extra)
		if (!names_have(path, lfirst(cell)))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("environment \"%s\" of \"require_approval\" is not on the path",
								   (char *) lfirst(cell)),
							errdetail("The deployment ends at environment \"%s\".",
									  (char *) llast(path))));
}

/* Is the deployment through with an environment? */
static bool
is_behind(List *stages, const char *environment)
{
	ListCell *cell;

	foreach (cell, stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->kind == STAGE_DEPLOY && strcmp(stage->environment, environment) == 0)
			return stage->status == STAGE_SUCCEEDED || stage->status == STAGE_SKIPPED;
	}
	return false;
}

/*
 * Opens what is missing: an approval for each environment ahead that is protected and has nodes, or
 * that the requester wants one for (extra).  approvals: those that there are already.
 */
void
approval_open_path(Deployment *d, List *path, List *extra, List *approvals)
{
	List *stages = d->started_at != TIME_NULL && approvals != NIL ? steps_load_stages(d) : NIL;
	ListCell *cell;

	require_on_path(extra, path);
	foreach (cell, path)
	{
		char *environment = lfirst(cell);
		Approval *last = approval_find(approvals, environment);
		bool wanted = names_have(extra, environment) || (last && last->extra);
		ApprovalPolicy policy;
		ApprovalScope scope;

		if ((last && approval_is_live(last)) || is_behind(stages, environment) ||
			!approval_policy_load(&d->tenant, environment, &policy))
			continue;
		if (!wanted && policy.min_approvals == 0)
			continue;
		approval_scope_plan(d, environment, &scope);
		/* one that was asked for stands, though nodes may come only later */
		if (wanted || scope.roles != NIL)
			(void) approval_open(d, environment, wanted, last ? last->round + 1 : 1, &policy, path,
								 &scope);
	}
}

/* ---- deciding ---- */

static void
notify_requester(Deployment *d, const Approval *a, const char *reason)
{
	static const char *const events[] = {
		NULL, "approved", "rejected", "expired", NULL, "bypassed"
	};

	if (events[a->status])
		notification_add(d, a->environment, events[a->status], list_make1(d->requested_by), reason);
}

/* Makes a transition and records it; by, reason and ticket may be NULL. */
void
approval_apply(Deployment *d, Approval *a, ApprovalEvent event, const char *by, const char *reason,
			   const char *ticket)
{
	ApprovalStatus before = a->status;
	DbArgs args = db_args(&decide);

	a->status = machine_next(&approval_machine, before, event);
	a->decided_by = by ? pstrdup(by) : NULL;
	a->reason = reason ? pstrdup(reason) : NULL;
	approval_key(&args, d, a);
	db_arg_text(&args, approval_machine.statuses[a->status]);
	db_arg_time(&args, GetCurrentTimestamp());
	db_arg_text(&args, by);
	db_arg_text(&args, reason);
	db_arg_text(&args, ticket);
	if (db_run_args(&args) != 1)
		elog(ERROR, "approval was not updated");
	audit_add(d->batch, &d->chain, psprintf("approval.%s", approval_machine.events[event]),
			  approval_machine.statuses[before], approval_machine.statuses[a->status], reason,
			  audit_detail("environment", a->environment, "round", psprintf("%d", a->round),
						   "ticket", ticket, NULL));
	notify_requester(d, a, reason);
	d->tell_waiters = true;
}

/* Half of its time is over, and nobody has decided: those who may vote are told again. */
void
approval_remind(Deployment *d, Approval *a)
{
	ApprovalPolicy policy;
	DbArgs args = db_args(&note_reminder);

	a->remind_at = DT_NOEND;
	if (!approval_policy_load(&d->tenant, a->environment, &policy))
		return;
	approval_key(&args, d, a);
	(void) db_run_args(&args);
	notification_add(d, a->environment, "reminded", approver_names(&policy),
					 psprintf("it expires at %s", timestamptz_to_str(a->expires_at)));
}

/* The stage starts with it, and no other will. */
void
approval_use(Deployment *d, Approval *a)
{
	DbArgs args = db_args(&use);

	a->used_at = GetCurrentTimestamp();
	approval_key(&args, d, a);
	db_arg_time(&args, a->used_at);
	if (db_run_args(&args) != 1)
		elog(ERROR, "approval was not used");
	audit_add(d->batch, &d->chain, "approval.use", approval_machine.statuses[a->status],
			  approval_machine.statuses[a->status], NULL,
			  audit_detail("environment", a->environment, "round", psprintf("%d", a->round), NULL));
}

/* The deployment has ended: what is still open is void. */
void
approval_close(Deployment *d)
{
	List *approvals = approval_load(d);
	ListCell *cell;

	foreach (cell, approvals)
		if (approval_is_live(lfirst(cell)))
			approval_apply(d, lfirst(cell), APPROVAL_INVALIDATE, NULL,
						   psprintf("the deployment is %s", deployment_machine.statuses[d->status]),
						   NULL);
}
