/*
 * state.c
 *		Looking at approvals: wait_for_approval(), and what the view approvals shows of one.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "approval/delegation.h"
#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/approval.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "shm/wait.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"

PG_FUNCTION_INFO_V1(hotswap_wait_for_approval);
PG_FUNCTION_INFO_V1(hotswap_approval_state);

static DbStatement written_by =
	DB_STATEMENT("SELECT xmin FROM hotswap.deployment WHERE tenant_id = $1 AND id = $2", UUIDOID,
				 UUIDOID);

static DbStatement read_deployment = DB_STATEMENT(
	"SELECT requested_by, login, requester::oid, login_role::oid FROM hotswap.deployment WHERE tenant_id = $1 AND id = $2",
	UUIDOID, UUIDOID);

static DbStatement login_roles = DB_STATEMENT0(
	"SELECT oid, rolname::text FROM pg_catalog.pg_roles WHERE rolcanlogin ORDER BY rolname");

/* ---- wait_for_approval() ---- */

typedef struct Awaited
{
	Deployment d;      /* no more than its key */
	char *environment; /* NULL until it is known */
	ApprovalStatus status;
	bool own; /* this very transaction has written the deployment */
	MemoryContext context;
} Awaited;

/* Reads the present status: has it been decided? */
static bool
is_decided(void *arg)
{
	Awaited *a = arg;
	Datum args[] = { UUIDPGetDatum(&a->d.tenant), UUIDPGetDatum(&a->d.id) };
	Approval *approval;
	DbScope scope;
	bool isnull;

	db_enter(&scope);
	if (db_run(&written_by, args, NULL) == 0)
		deployment_refuse_missing(&a->d.id);
	a->own = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(db_datum(0, 1, &isnull)));
	approval = approval_choose(&a->d, a->environment);
	a->status = approval->status;
	if (a->environment == NULL)
		a->environment = MemoryContextStrdup(a->context, approval->environment);
	db_leave(&scope);
	return a->status != APPROVAL_PENDING;
}

/*
 * wait_for_approval(deployment uuid, environment text, timeout interval) returns the approval's
 *		status
 *
 * In: environment NULL: the one that is next on the path, or if none is pending, the last one;
 * timeout NULL: no limit, zero: does not wait. Out: at the timeout the current status. Errors:
 * 22023, P0002 no such deployment or approval, and those of wait(). Locks nothing.
 */
Datum
hotswap_wait_for_approval(PG_FUNCTION_ARGS)
{
	Awaited a = { .context = CurrentMemoryContext };
	TimestampTz end = wait_deadline(fcinfo, 2);
	bool decided;

	a.d.id = arg_uuid(fcinfo, 0, "deployment");
	a.d.tenant = tenant_current();
	a.environment = arg_text_or_null(fcinfo, 1, "environment", NAME_LIMIT);
	access_require(&a.d.tenant, GetUserId(), CAPABILITY_VIEWER, "look at a deployment");
	decided = is_decided(&a);
	if (!decided && !wait_deadline_passed(end))
	{
		if (a.own)
			ereport(
				ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg(
					 "cannot wait for an approval of deployment \"%s\", which this transaction has "
					 "requested or changed",
					 uuid_text(&a.d.id)),
				 errhint("Nobody can vote before the transaction has committed.")));
		wait_require("Add it and restart the server, or look at the view hotswap.approvals.");
		decided = wait_politely(&a.d.id, is_decided, &a, end);
	}
	if (decided && !RecoveryInProgress())
		wait_flush();
	return approval_status_datum(fcinfo, a.status);
}

/* ---- the view approvals ---- */

/* May a role still vote?  It is a person that logs in by itself. */
static bool
may_still_vote(const Deployment *d, const ApprovalPolicy *policy, Oid role, char *name, List *votes)
{
	Person person = { .name = name,
					  .login = name,
					  .key = person_key(name),
					  .known = role,
					  .login_role = role,
					  .role = role };
	ListCell *cell;

	if (!approval_policy_allows(policy, role) &&
		!OidIsValid(delegation_find(&d->tenant, policy, role, d, votes)))
		return false;
	if (!policy->allow_self &&
		person_is_requester(&person, d->requested_by, d->requester, d->login, d->login_role))
		return false;
	foreach (cell, votes)
		if (vote_uses_right_of(lfirst(cell), name, role) ||
			person_may_be(((Vote *) lfirst(cell))->person, ((Vote *) lfirst(cell))->person_role,
						  name, role))
			return false;
	return true;
}

static Datum
state_voters(const Deployment *d, const Approval *a, const ApprovalPolicy *policy)
{
	uint64 count = db_run(&login_roles, NULL, NULL);
	List *votes;
	Datum *names = palloc(Max(count, 1) * sizeof(Datum));
	Oid *roles = palloc(Max(count, 1) * sizeof(Oid));
	char **texts = palloc(Max(count, 1) * sizeof(char *));
	int found = 0;

	for (uint64 i = 0; i < count; i++)
	{
		roles[i] = db_oid(i, 1);
		texts[i] = db_text(i, 2);
	}
	votes = approval_votes(d, a);
	for (uint64 i = 0; i < count; i++)
		if (may_still_vote(d, policy, roles[i], texts[i], votes))
			names[found++] = CStringGetTextDatum(texts[i]);
	return PointerGetDatum(construct_array(names, found, TEXTOID, -1, false, TYPALIGN_INT));
}

/* approval_state(tenant uuid, deployment uuid, environment text, round integer) */
Datum
hotswap_approval_state(PG_FUNCTION_ARGS)
{
	Deployment d = { .tenant = arg_uuid(fcinfo, 0, "tenant"),
					 .id = arg_uuid(fcinfo, 1, "deployment") };
	char *environment = arg_text(fcinfo, 2, "environment", NAME_LIMIT);
	int32 round = arg_int32(fcinfo, 3, "round", 1, INT_MAX);
	Datum key[] = { UUIDPGetDatum(&d.tenant), UUIDPGetDatum(&d.id) };
	Datum values[3] = { 0 };
	bool nulls[3] = { true, true, true };
	ApprovalPolicy policy;
	TupleDesc desc;
	Approval *a;
	DbScope scope;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "approval_state() must return a record");
	db_enter(&scope);
	access_require(&d.tenant, scope.caller, CAPABILITY_VIEWER, "look at an approval");
	if (db_run_newest(&read_deployment, key, NULL) > 0)
	{
		d.requested_by = db_text(0, 1);
		d.login = db_text(0, 2);
		d.requester = db_oid_or_none(0, 3);
		d.login_role = db_oid_or_none(0, 4);
	}
	a = approval_find(approval_load(&d), environment);
	if (a && a->round == round && a->status == APPROVAL_PENDING &&
		approval_policy_load(&d.tenant, environment, &policy))
	{
		int counted = approval_count(&d, a, &policy);

		nulls[0] = nulls[1] = nulls[2] = false;
		values[0] = Int32GetDatum(counted);
		values[1] = Int32GetDatum(Max(approval_quorum(&policy, a) - counted, 0));
		values[2] = state_voters(&d, a, &policy);
		MemoryContextSwitchTo(scope.context);
		values[2] = datumCopy(values[2], false, -1);
	}
	db_leave(&scope);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
