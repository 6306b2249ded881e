/*
 * wait.c
 *		wait() and CALL await(): block until a deployment has ended.
 *
 * The waiting itself is that of shm/wait.c.  A function has the snapshot of the statement that
 * calls it for as long as it waits, which holds back vacuum; a procedure can begin a transaction of
 * its own and have none but for the moment in which it looks.  Locks nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/deployment.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "shm/wait.h"

PG_FUNCTION_INFO_V1(hotswap_wait);
PG_FUNCTION_INFO_V1(hotswap_await);

static DbStatement read_status =
	DB_STATEMENT("SELECT status, xmin FROM hotswap.deployment WHERE tenant_id = $1 AND id = $2",
				 UUIDOID, UUIDOID);

typedef struct Awaited
{
	pg_uuid_t tenant;
	pg_uuid_t id;
	DeploymentStatus status; /* when it was looked at last */
	bool own;                /* the row was written by this very transaction */
} Awaited;

/* Reads the present status: has the deployment ended? */
static bool
has_ended(void *arg)
{
	Awaited *a = arg;
	Datum args[] = { UUIDPGetDatum(&a->tenant), UUIDPGetDatum(&a->id) };
	DbScope scope;
	bool isnull;

	db_enter(&scope);
	if (db_run(&read_status, args, NULL) == 0)
		deployment_refuse_missing(&a->id);
	a->status = machine_parse(&deployment_machine, db_text(0, 1));
	a->own = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(db_datum(0, 2, &isnull)));
	db_leave(&scope);
	return deployment_is_final(a->status);
}

static void
refuse_own(const pg_uuid_t *id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg(
			 "cannot wait for deployment \"%s\", which this transaction has requested or changed",
			 uuid_text(id)),
		 errhint("It cannot move before the transaction has committed.")));
}

typedef bool (*Wait)(const pg_uuid_t *key, WaitCheck check, void *arg, TimestampTz end);

/* Waits in this way until the deployment has ended, or the time is over. */
static void
await(Awaited *a, TimestampTz end, Wait wait)
{
	bool ended = has_ended(a);

	if (!ended && !wait_deadline_passed(end))
	{
		if (a->own)
			refuse_own(&a->id);
		wait_require("Add it and restart the server, or call hotswap.work().");
		ended = wait(&a->id, has_ended, a, end);
	}
	if (ended && !RecoveryInProgress())
		wait_flush();
}

/*
 * wait(deployment uuid, timeout interval) returns the status
 *
 * In: timeout NULL: no limit, zero: does not wait. Out: at the timeout the current status. Errors:
 * 22023 negative timeout; P0002 no such deployment; 42501; 55000 the caller's own transaction has
 * requested or changed it, or the isolation level or the server's configuration does not allow to
 * wait. Locks nothing.
 */
Datum
hotswap_wait(PG_FUNCTION_ARGS)
{
	Awaited a = { .id = arg_uuid(fcinfo, 0, "deployment"), .tenant = tenant_current() };
	TimestampTz end = wait_deadline(fcinfo, 1);

	access_require(&a.tenant, GetUserId(), CAPABILITY_VIEWER, "look at a deployment");
	await(&a, end, wait_politely);
	return deployment_status_datum(fcinfo, a.status);
}

/*
 * await(deployment uuid, timeout interval, INOUT status)
 *
 * Like wait(), but ends the transaction it is called in and holds no snapshot while it waits. In:
 * what is given as status is ignored. Errors: as wait(), except for those about the caller's
 * transaction; 2D000 inside a transaction block. Locks nothing.
 */
Datum
hotswap_await(PG_FUNCTION_ARGS)
{
	Awaited a = { .id = arg_uuid(fcinfo, 0, "deployment"), .tenant = tenant_current() };
	TimestampTz end = wait_deadline(fcinfo, 1);
	TupleDesc row;
	Datum status;
	bool isnull = false;

	access_require(&a.tenant, GetUserId(), CAPABILITY_VIEWER, "look at a deployment");
	wait_enter_call(fcinfo, "Use hotswap.wait() there.");
	await(&a, end, wait_in_call);
	row = wait_leave_call(fcinfo);
	status = status_value(TupleDescAttr(row, 0)->atttypid, &deployment_machine, a.status);
	return HeapTupleGetDatum(heap_form_tuple(row, &status, &isnull));
}
