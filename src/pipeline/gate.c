/*
 * gate.c
 *		Where approvals stop a deployment: before the stage that swaps into a protected environment.
 *
 * What was decided is looked at again here, in the transaction that starts the stage: votes are
 * counted anew, the time is checked, and what will run is compared with what was approved.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "pipeline/gate.h"
#include "utils/builtins.h"

static DbStatement protected_query = DB_STATEMENT(
	"SELECT e.min_approvals > 0, EXISTS (SELECT 1 FROM hotswap.node n"
	" WHERE n.tenant_id = e.tenant_id AND n.environment = e.name AND n.removed_at IS NULL)"
	" FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.name = $2",
	UUIDOID, TEXTOID);

static void
expire(Walk *w, Approval *a)
{
	approval_apply(&w->d, a, APPROVAL_EXPIRE, NULL,
				   psprintf("not approved and used by %s", timestamptz_to_str(a->expires_at)),
				   NULL);
}

/* Reads the approvals; those whose time is over while they were pending expire here and now. */
void
gate_enter(Walk *w)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell *cell;

	if (!w->d.gated)
		return;
	w->approvals = approval_load(&w->d);
	foreach (cell, w->approvals)
	{
		Approval *a = lfirst(cell);

		if (a->status == APPROVAL_PENDING && a->expires_at <= now)
			expire(w, a);
	}
}

/* When the next pending approval expires, DT_NOEND if there is none. */
TimestampTz
gate_next_expiry(const Walk *w)
{
	TimestampTz next = DT_NOEND;
	ListCell *cell;

	foreach (cell, w->approvals)
	{
		Approval *a = lfirst(cell);

		if (a->status == APPROVAL_PENDING)
			next = Min(next, a->expires_at);
	}
	return next;
}

/* Ends the deployment if an approval on its path was rejected or has expired; nothing of it runs now. */
bool
gate_end_refused(Walk *w)
{
	ListCell *cell;

	foreach (cell, w->approvals)
	{
		Approval *a = lfirst(cell);

		if (a->status == APPROVAL_REJECTED)
			walk_end(w, DEPLOYMENT_REJECT,
					 psprintf("rejected for %s by %s: %s", a->environment, a->decided_by,
							  a->reason));
		else if (a->status == APPROVAL_EXPIRED)
			walk_end(w, DEPLOYMENT_EXPIRE,
					 psprintf("the approval for %s expired: %s", a->environment, a->reason));
		else
			continue;
		return true;
	}
	return false;
}

static void
wait_for_approval(Walk *w)
{
	char *message = psprintf("waits for the approval of %s", w->stage->environment);

	if (w->stage->status == STAGE_PENDING)
		stage_apply(w->stage, STAGE_AWAIT_APPROVAL, message);
	walk_finish(w, DEPLOYMENT_AWAIT_APPROVAL, message);
}

/* The environments that the deployment passes through; the path it had when it started. */
List *
gate_path(const Walk *w)
{
	List *path = NIL;
	ListCell *cell;

	foreach (cell, w->stages)
		if (((Stage *) lfirst(cell))->kind == STAGE_DEPLOY)
			path = lappend(path, ((Stage *) lfirst(cell))->environment);
	return path;
}

/* Why an approval does not let this run any more, or NULL. */
static const char *
problem(Walk *w, const Approval *a, const ApprovalPolicy *policy, List *path)
{
	uint8 digest[DIGEST_LENGTH];
	int count;

	approval_digest(&w->d, path, a->environment, digest);
	if (memcmp(digest, a->digest, DIGEST_LENGTH) != 0)
		return "what will run is not what the approval is about";
	if (a->status != APPROVAL_APPROVED)
		return NULL;
	count = approval_count(&w->d, a, policy);
	if (count < approval_quorum(policy, a))
		return psprintf("%d of %d votes count now", count, approval_quorum(policy, a));
	return NULL;
}

static void
reopen(Walk *w, const Approval *last, const ApprovalPolicy *policy, List *path)
{
	Approval *a = approval_open(&w->d, w->stage->environment, last && last->extra,
								last ? last->round + 1 : 1, policy, path);

	w->approvals = lappend(list_delete_ptr(w->approvals, unconstify(Approval *, last)), a);
}

/* Is an approval needed here at all?  One that is pending for an environment without nodes is void. */
static bool
is_gated(Walk *w, Approval *a)
{
	Datum args[] = { UUIDPGetDatum(&w->d.tenant), CStringGetTextDatum(w->stage->environment) };

	if (db_run(&protected_query, args, NULL) == 0)
		return false;
	if (db_bool(0, 2))
		return db_bool(0, 1) || (a && a->extra);
	if (a && approval_is_live(a))
		approval_apply(&w->d, a, APPROVAL_INVALIDATE, NULL, "the environment has no nodes", NULL);
	return false;
}

/*
 * May the current stage start?  If not, the deployment waits for its approval, or has ended.
 */
bool
gate_pass(Walk *w)
{
	Approval *a;
	ApprovalPolicy policy;
	List *path;
	const char *why;

	if (gate_end_refused(w))
		return false;
	if (w->stage->kind != STAGE_DEPLOY)
		return true;
	a = approval_find(w->approvals, w->stage->environment);
	if (!is_gated(w, a))
		return true;
	path = gate_path(w);
	if (!approval_policy_load(&w->d.tenant, w->stage->environment, &policy))
		elog(ERROR, "environment \"%s\" has disappeared", w->stage->environment);
	if (a == NULL || !approval_is_live(a))
		reopen(w, a, &policy, path);
	else if (a->status != APPROVAL_PENDING && a->expires_at <= GetCurrentTimestamp())
	{
		expire(w, a);
		(void) gate_end_refused(w);
		return false;
	}
	else if ((why = problem(w, a, &policy, path)) != NULL)
	{
		approval_apply(&w->d, a, APPROVAL_INVALIDATE, NULL, why, NULL);
		reopen(w, a, &policy, path);
	}
	else if (a->status != APPROVAL_PENDING)
	{
		approval_use(&w->d, a);
		return true;
	}
	wait_for_approval(w);
	return false;
}
