/*
 * gate.c
 *		What stops a deployment before a stage that swaps: its start_by, approvals where the
 *		environment is protected, windows of time, and deployments that were requested before.
 *
 * What was decided is looked at again here, in the transaction that starts the stage: votes are
 * counted anew, the time is checked, and what will run is compared with what was approved.
 *
 * Whether an environment is protected and whether it has nodes is read at once, and the stage goes by
 * that: a node that is registered after the gate was passed for want of nodes is not swapped.
 *
 * One that waits here, for whatever it is, has left its lanes, so that a later one may have come to the
 * gate before it is let through.  That one waits as well, here, for as long as the other one waits or is
 * queued again; when the other one has started, the lanes keep the order.  The dispatcher alone starts
 * something, so that it knows when to look again (dispatch/due_set.c).
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/bring_up_right.h"
#include "core/freeze.h"
#include "core/notification.h"
#include "core/rehearsal_right.h"
#include "core/release.h"
#include "core/requirement.h"
#include "core/rollback_right.h"
#include "pipeline/finish.h"
#include "pipeline/gate.h"
#include "utils/builtins.h"

#define SAME_MODULE SHARES_MODULE("o", "d")
#define OTHERS_SUBJECT SUBJECT("o")
#define OTHERS_TARGETS TARGETS_OF("o")

#define LIVE_APPROVAL "a.status IN ('pending', 'approved', 'bypassed') AND a.used_at IS NULL"

/*
 * The third: may there be somebody to wait for?  What has approvals is looked at more closely anyway.  The fourth:
 * may there be one that windows hold up, or have held up?
 */
static DbStatement protected_query = DB_STATEMENT(
	"SELECT e.min_approvals > 0, EXISTS (SELECT 1 FROM hotswap.node n"
	" WHERE n.tenant_id = e.tenant_id AND n.environment = e.name AND n.removed_at IS NULL),"
	" EXISTS (SELECT 1 FROM hotswap.approval a WHERE a.tenant_id = e.tenant_id"
	" AND a.environment = e.name AND a.deployment_id < $3 AND " LIVE_APPROVAL "),"
	" EXISTS (SELECT 1 FROM hotswap.environment_window w"
	" WHERE (w.tenant_id = $1 OR w.tenant_id IS NULL) AND w.environment = e.name)"
	" FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.name = $2",
	UUIDOID, TEXTOID, UUIDOID);

/*
 * The first of those that were requested before and have come no further than this gate: they left their
 * lanes at this one or at one before it, and are on their way through it.  A version is not kept from
 * coming by itself.
 */
static DbStatement earlier_query = DB_STATEMENT(
	"SELECT o.id, " OTHERS_SUBJECT ", o.environment, o.status FROM hotswap.deployment d"
	" JOIN hotswap.environment x ON x.tenant_id = d.tenant_id AND x.name = $3"
	" JOIN hotswap.environment e ON e.tenant_id = d.tenant_id AND e.rank <= x.rank"
	" JOIN hotswap.approval a ON a.tenant_id = d.tenant_id AND a.environment = e.name"
	" AND a.deployment_id < d.id AND " LIVE_APPROVAL
	" CROSS JOIN LATERAL (SELECT * FROM hotswap.deployment o"
	" WHERE o.tenant_id = a.tenant_id AND o.id = a.deployment_id OFFSET 0) o"
	" JOIN hotswap.environment t ON t.tenant_id = d.tenant_id AND t.name = o.environment"
	" AND t.rank >= x.rank"
	" WHERE d.tenant_id = $1 AND d.id = $2 AND d.kind = 'deploy' AND NOT d.overtake AND o.kind IN ('deploy', 'rollback')"
	" AND " SAME_MODULE " AND o.version <> d.version AND o.started_at IS NOT NULL"
	" AND o.status IN ('pending_approval', 'queued') AND NOT EXISTS (SELECT 1 FROM hotswap.stage s"
	" WHERE s.tenant_id = o.tenant_id AND s.deployment_id = o.id AND s.kind = 'deploy'"
	" AND s.environment = x.name AND s.status IN ('succeeded', 'skipped')) ORDER BY o.id LIMIT 1",
	UUIDOID, UUIDOID, TEXTOID);

/* The same of those that windows have held up there, or on the way. */
static DbStatement frozen_query = DB_STATEMENT(
	"SELECT o.id, " OTHERS_SUBJECT ", o.environment, o.status FROM hotswap.deployment d"
	" JOIN hotswap.environment x ON x.tenant_id = d.tenant_id AND x.name = $3"
	" JOIN hotswap.work_item w ON w.tenant_id = d.tenant_id AND w.deployment_id < d.id"
	" AND (d.release IS NOT NULL OR " WORK_ITEM_MAY_BE_ABOUT(
		"w",
		"ARRAY[d.module]") ")"
						   " CROSS JOIN LATERAL (SELECT * FROM hotswap.deployment o"
						   " WHERE o.tenant_id = w.tenant_id AND o.id = w.deployment_id OFFSET 0) o"
						   " JOIN hotswap.environment t ON t.tenant_id = d.tenant_id AND t.name = o.environment"
						   " AND t.rank >= x.rank"
						   " JOIN hotswap.stage s ON s.tenant_id = o.tenant_id AND s.deployment_id = o.id"
						   " AND s.status = 'waiting_approval'"
						   " JOIN hotswap.environment e ON e.tenant_id = d.tenant_id AND e.name = s.environment"
						   " AND e.rank <= x.rank"
						   " WHERE d.tenant_id = $1 AND d.id = $2 AND d.kind = 'deploy' AND NOT d.overtake"
						   " AND o.kind IN ('deploy', 'rollback') AND " SAME_MODULE
						   " AND o.version <> d.version"
						   " AND o.status IN ('pending_approval', 'queued') ORDER BY o.id LIMIT 1",
	UUIDOID, UUIDOID, TEXTOID);

/* The first of those that were requested before, and are still to bring one of these modules there. */
static DbStatement required_query = DB_STATEMENT(
	"SELECT o.id, " OTHERS_SUBJECT ", o.environment, o.status FROM hotswap.work_item w"
	" JOIN hotswap.environment x ON x.tenant_id = w.tenant_id AND x.name = $3"
	" CROSS JOIN LATERAL (SELECT * FROM hotswap.deployment o"
	" WHERE o.tenant_id = w.tenant_id AND o.id = w.deployment_id OFFSET 0) o"
	" JOIN hotswap.environment t ON t.tenant_id = w.tenant_id AND t.name = o.environment"
	" WHERE w.tenant_id = $1 AND w.deployment_id < $2 AND " WORK_ITEM_MAY_BE_ABOUT(
		"w",
		"$4") " AND o.kind <> 'rehearsal'"
			  " AND EXISTS (SELECT FROM " OTHERS_TARGETS " t WHERE t.module = ANY ($4))"
			  " AND o.status <> 'scheduled' AND (t.rank = x.rank OR t.rank > x.rank AND NOT o.only_target)"
			  " AND NOT EXISTS (SELECT 1 FROM hotswap.stage s WHERE s.tenant_id = o.tenant_id"
			  " AND s.deployment_id = o.id AND s.kind = 'deploy' AND s.environment = x.name"
			  " AND s.status IN ('succeeded', 'skipped')) ORDER BY o.id LIMIT 1",
	UUIDOID, UUIDOID, TEXTOID, TEXTARRAYOID);

/* Was a node of the environment declared to run something, after an approval was opened? */
static DbStatement declared_query = DB_STATEMENT(
	"SELECT n.name FROM hotswap.node n CROSS JOIN unnest($3) t (module)"
	" CROSS JOIN LATERAL (SELECT m.direction, m.swapped_at"
	" FROM hotswap.node_module m WHERE m.tenant_id = $1 AND m.node_id = n.id AND m.module = t.module"
	" ORDER BY m.swap DESC LIMIT 1) m WHERE n.tenant_id = $1 AND n.environment = $2"
	" AND n.removed_at IS NULL AND m.direction = 'declared' AND m.swapped_at > (SELECT a.opened_at"
	" FROM hotswap.approval a WHERE a.tenant_id = $1 AND a.deployment_id = $4 AND a.environment = $2"
	" AND a.round = $5) LIMIT 1",
	UUIDOID, TEXTOID, TEXTARRAYOID, UUIDOID, INT4OID);

static bool
read_earlier(EarlierDeployment *earlier)
{
	earlier->id = db_uuid(0, 1);
	earlier->subject = db_text(0, 2);
	earlier->environment = db_text(0, 3);
	earlier->status = db_text(0, 4);
	return true;
}

/* Which deployment goes first through the gate of an environment; false: none does. */
bool
gate_earlier(const Deployment *d, const char *environment, EarlierDeployment *earlier)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 CStringGetTextDatum(environment) };

	return (db_run(&earlier_query, args, NULL) > 0 || db_run(&frozen_query, args, NULL) > 0) &&
		   read_earlier(earlier);
}

/* The modules that nodes lack, of those that their steps ask for. */
static List *
lacking(List *plans)
{
	List *modules = NIL;
	ListCell *cell;

	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);
		ListCell *step;
		ListCell *r;

		/* what is held has no steps */
		if (p->outcome != NODE_BLOCKED)
			continue;
		foreach (step, p->steps)
			foreach (r, ((Step *) lfirst(step))->requirements)
				if (!((Requirement *) lfirst(r))->is_conflict)
					modules = lappend(modules, ((Requirement *) lfirst(r))->module);
	}
	return modules;
}

/*
 * Which deployment will bring what this one requires, if nodes lack it now; only those that were requested before
 * count, so that no two wait for each other.
 */
bool
gate_required(const Deployment *d, const char *environment, List *plans, EarlierDeployment *earlier)
{
	List *modules = lacking(plans);
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 CStringGetTextDatum(environment), (Datum) 0 };

	if (modules == NIL)
		return false;
	args[3] = db_text_array(modules);
	return db_run(&required_query, args, NULL) > 0 && read_earlier(earlier);
}

static void
gate_expire(Visit *v, Approval *a)
{
	approval_apply(&v->d, a, APPROVAL_EXPIRE, NULL,
				   psprintf("not approved and used by %s", timestamptz_to_str(a->expires_at)),
				   NULL);
}

/*
 * Reads the approvals; those whose time is over while they were pending expire here and now, of those that have had
 * half of it people are reminded.
 */
void
gate_enter(Visit *v)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell *cell;

	if (!v->d.gated)
		return;
	v->approvals = approval_load(&v->d);
	foreach (cell, v->approvals)
	{
		Approval *a = lfirst(cell);

		if (a->status == APPROVAL_PENDING && a->expires_at <= now)
			gate_expire(v, a);
		else if (a->status == APPROVAL_PENDING && a->remind_at <= now)
			approval_remind(&v->d, a);
	}
}

/* When the next pending approval expires or is half over, DT_NOEND if there is none. */
TimestampTz
gate_next_expiry(const Visit *v)
{
	TimestampTz next = DT_NOEND;
	ListCell *cell;

	foreach (cell, v->approvals)
	{
		Approval *a = lfirst(cell);

		if (a->status == APPROVAL_PENDING)
			next = Min(next, Min(a->expires_at, a->remind_at));
	}
	return next;
}

/*
 * Ends the deployment if an approval on its path was rejected or has expired; nothing of it runs
 * now.
 */
bool
gate_end_refused(Visit *v)
{
	ListCell *cell;

	foreach (cell, v->approvals)
	{
		Approval *a = lfirst(cell);

		if (a->status == APPROVAL_REJECTED)
			visit_end(v, DEPLOYMENT_REJECT,
					  psprintf("rejected for %s by %s: %s", a->environment, a->decided_by,
							   a->reason));
		else if (a->status == APPROVAL_EXPIRED)
			visit_end(v, DEPLOYMENT_EXPIRE,
					  psprintf("the approval for %s expired: %s", a->environment, a->reason));
		else
			continue;
		return true;
	}
	return false;
}

static void
wait_here(Visit *v, const char *message)
{
	if (v->stage->status == STAGE_PENDING)
		stage_apply(v->stage, STAGE_AWAIT_APPROVAL, message);
	else
		stage_note(v->stage, message);
	if (v->d.status == DEPLOYMENT_RUNNING)
		visit_finish(v, DEPLOYMENT_AWAIT_APPROVAL, message);
}

/* For whom it has to wait, in words; NULL: for nobody. */
static char *
find_front(Visit *v, bool others_wait, EarlierDeployment *earlier)
{
	const char *environment = v->stage->environment;

	if (others_wait && gate_earlier(&v->d, environment, earlier))
		return psprintf("waits for deployment %s, which was requested before",
						uuid_text(&earlier->id));
	if (!v->without_nodes && gate_required(&v->d, environment, visit_plan(v), earlier))
		return psprintf("waits for deployment %s, which brings what it requires",
						uuid_text(&earlier->id));
	return NULL;
}

/* Does it have to wait for one that was requested before?  Its own approval, if any, is there. */
static bool
wait_behind(Visit *v, const Approval *a, bool others_wait)
{
	EarlierDeployment earlier;
	char *words = find_front(v, others_wait, &earlier);

	if (words == NULL)
		return false;
	v->result->is_behind = true;
	v->result->behind = earlier.id;
	if (a)
		v->result->next_due = Min(v->result->next_due, a->expires_at);
	wait_here(v, words);
	return true;
}

/*
 * Do windows keep the stage from starting?  Then it waits until they let it; its own approval, if any, is
 * there and has to be used in time all the same.
 */
static bool
wait_for_window(Visit *v, const Approval *a, Freeze *f)
{
	char *message;

	memset(f, 0, sizeof(Freeze));
	if (v->without_nodes || v->without_windows || !freeze_holds(&v->d, v->stage->environment, f))
		return false;
	v->result->next_due = Min(v->result->next_due, f->opens);
	if (a)
		v->result->next_due = Min(v->result->next_due, a->expires_at);
	message = psprintf("waits until %s for the windows of %s: %s",
					   f->opens == DT_NOEND ? "they are changed" : timestamptz_to_str(f->opens),
					   v->stage->environment, freeze_words(f));
	/* one that looks again has been told of already */
	if (v->d.status == DEPLOYMENT_RUNNING)
		notification_add(&v->d, v->stage->environment, "frozen", list_make1(v->d.requested_by),
						 message);
	wait_here(v, message);
	return true;
}

/* Does an approval that is there wait for the rehearsal?  A bypass does not: it is for emergencies. */
static bool
wait_for_rehearsal(Visit *v, const Approval *a)
{
	char *node;

	if (a == NULL || a->status == APPROVAL_BYPASSED)
		return false;
	node = rehearsal_missing(&v->d, v->stage->environment, visit_plan(v));
	if (node == NULL)
		return false;
	v->result->next_due = Min(v->result->next_due, a->expires_at);
	wait_here(v, psprintf("waits for a rehearsal of what node \"%s\" would run", node));
	return true;
}

/* The last thing that is asked: may it start, its own approval (or NULL) being there? */
static bool
pass_with(Visit *v, Approval *a, bool others_wait)
{
	Freeze freeze;

	if (wait_for_window(v, a, &freeze) || wait_behind(v, a, others_wait) ||
		wait_for_rehearsal(v, a))
		return false;
	v->was_rehearsed = a != NULL;
	if (freeze.is_overridden)
		freeze_use_override(&v->d, v->stage->environment, &freeze);
	if (a)
		approval_use(&v->d, a);
	return true;
}

/* Expires an approval that is there and was not used in time, and with it the deployment. */
static bool
end_overdue(Visit *v, Approval *a)
{
	if (a->status == APPROVAL_PENDING || a->expires_at > GetCurrentTimestamp())
		return false;
	gate_expire(v, a);
	return gate_end_refused(v);
}

/* What will run; a plan that this needs is the stage's, too. */
static const ApprovalScope *
gate_scope(Visit *v)
{
	ApprovalScope *scope = palloc(sizeof(ApprovalScope));

	approval_scope_plan(&v->d, v->stage->environment, scope);
	if (scope->plans != NIL)
	{
		v->plans = scope->plans;
		v->planned = v->stage->environment;
	}
	return scope;
}

/* The name of a node that was declared to run something since an approval was opened, or NULL. */
static char *
find_declared(const Visit *v, const Approval *a)
{
	List *modules = target_modules(deployment_targets(&v->d));
	DbArgs args = db_args(&declared_query);

	db_arg_uuid(&args, &v->d.tenant);
	db_arg_text(&args, a->environment);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(modules), false);
	db_arg_uuid(&args, &v->d.id);
	db_arg_int32(&args, a->round);
	return db_run_args(&args) > 0 ? db_text(0, 1) : NULL;
}

/* Why an approval does not let this run any more, or NULL. */
static const char *
gate_problem(Visit *v, const Approval *a, const ApprovalPolicy *policy, List *path)
{
	uint8 digest[DIGEST_LENGTH];
	ApprovalScope approved;
	bool has_scope = approval_scope_load(&v->d, a->environment, a->round, &approved);
	char *excess;
	char *declared;
	int count;

	approval_digest(&v->d, path, a->environment, approved.steps, digest);
	if (memcmp(digest, a->digest, DIGEST_LENGTH) != 0)
		return "what will run is not what the approval is about";
	excess = has_scope ? approval_scope_excess(gate_scope(v), &approved) : NULL;
	if (excess)
		return psprintf("what will run is not what the approval is about: %s", excess);
	declared = find_declared(v, a);
	if (declared)
		return psprintf("what node \"%s\" runs was declared since", declared);
	if (a->status != APPROVAL_APPROVED)
		return NULL;
	count = approval_count(&v->d, a, policy);
	if (count < approval_quorum(policy, a))
		return psprintf("%d of %d votes count now", count, approval_quorum(policy, a));
	return NULL;
}

static void
gate_reopen(Visit *v, const Approval *last, const ApprovalPolicy *policy, List *path)
{
	Approval *a = approval_open(&v->d, v->stage->environment, last && last->extra,
								last ? last->round + 1 : 1, policy, path, gate_scope(v));

	v->approvals = lappend(list_delete_ptr(v->approvals, unconstify(Approval *, last)), a);
}

/* Does it go without an approval where others need one? */
static bool
is_free(Visit *v)
{
	if (v->d.kind == KIND_REHEARSAL)
		return rehearsal_is_free(&v->d.tenant, v->stage->environment);
	if (v->d.kind == KIND_BRING_UP)
		return bring_up_is_free(&v->d.tenant, v->stage->environment, v->d.module, v->d.version,
								visit_plan(v));
	return v->d.kind == KIND_ROLLBACK &&
		   rollback_is_free(&v->d.tenant, &v->d.rolls_back, visit_plan(v));
}

/*
 * Is an approval needed here at all?  One that is pending for an environment without nodes is void.
 */
static bool
is_gated(Visit *v, Approval *a, bool *others_wait)
{
	Datum args[] = { UUIDPGetDatum(&v->d.tenant), CStringGetTextDatum(v->stage->environment),
					 UUIDPGetDatum(&v->d.id) };
	bool is_protected;

	*others_wait = false;
	if (db_run(&protected_query, args, NULL) == 0)
		return false;
	v->without_nodes = !db_bool(0, 2);
	v->without_windows = !db_bool(0, 4);
	is_protected = db_bool(0, 1);
	if (!v->without_nodes)
	{
		*others_wait = v->d.only_target || db_bool(0, 3) || db_bool(0, 4);
		return (is_protected && !is_free(v)) || (a && a->extra);
	}
	if (a && approval_is_live(a))
		approval_apply(&v->d, a, APPROVAL_INVALIDATE, NULL, "the environment has no nodes", NULL);
	return false;
}

/* Ends a deployment whose next swaps would begin after its start_by. */
static bool
end_late(Visit *v)
{
	if (v->d.start_by == TIME_NULL || v->d.start_by > GetCurrentTimestamp())
		return false;
	visit_end(v, DEPLOYMENT_EXPIRE,
			  psprintf("the stage of %s was not started by %s", v->stage->environment,
					   timestamptz_to_str(v->d.start_by)));
	return true;
}

/*
 * May the current stage start?  If not, the deployment waits for its approval or for another one, or has
 * ended.
 */
bool
gate_pass(Visit *v)
{
	Approval *a;
	ApprovalPolicy policy;
	List *path;
	const char *why;
	bool others_wait;

	if (gate_end_refused(v))
		return false;
	if (v->stage->kind != STAGE_DEPLOY)
		return true;
	if (end_late(v))
		return false;
	a = approval_find(v->approvals, v->stage->environment);
	if (!is_gated(v, a, &others_wait))
		return pass_with(v, NULL, others_wait);
	path = visit_path(v);
	if (!approval_policy_load(&v->d.tenant, v->stage->environment, &policy))
		elog(ERROR, "environment \"%s\" has disappeared", v->stage->environment);
	if (a == NULL || !approval_is_live(a))
		gate_reopen(v, a, &policy, path);
	else if (end_overdue(v, a))
		return false;
	else if ((why = gate_problem(v, a, &policy, path)) != NULL)
	{
		approval_apply(&v->d, a, APPROVAL_INVALIDATE, NULL, why, NULL);
		gate_reopen(v, a, &policy, path);
	}
	else if (a->status != APPROVAL_PENDING)
		return pass_with(v, a, true);
	wait_here(v, psprintf(WAITS_FOR_APPROVAL, v->stage->environment));
	return false;
}

/*
 * One that waits at its gate: if it has its approval, windows let it start, and those before it have started, it
 * queues again for its lanes.
 */
void
gate_look_again(Visit *v)
{
	Approval *a = approval_find(v->approvals, v->stage->environment);
	Freeze freeze;

	if (a && (a->status == APPROVAL_PENDING || end_overdue(v, a)))
		return;
	if (!wait_for_window(v, a, &freeze) && !wait_behind(v, a, true) && !wait_for_rehearsal(v, a))
		deployment_apply(&v->d, DEPLOYMENT_APPROVE, NULL);
}
