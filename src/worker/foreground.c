/*
 * foreground.c
 *		CALL work(): the dispatcher in the foreground.
 *
 * For tests that want determinism and for servers without the preload.  It holds the dispatcher
 * lock, so it never works beside the background one, and runs tasks in its own session, as far as
 * they belong to the session's login role.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "core/access.h"
#include "core/installation.h"
#include "dispatch/batch.h"
#include "dispatch/reading.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lock/lease.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "operations/retention.h"
#include "shm/shmem.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(hotswap_work);

/* SPI has begun a transaction already. */
static void
foreground_begin(void)
{
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	CHECK_FOR_INTERRUPTS();
}

static const DispatchMode foreground_mode = { false, foreground_begin, SPI_commit };

static void
unlock(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	dispatch_unlock();
}

static void
take_lock(void)
{
	int pid = shmem_dispatcher_pid();

	if (dispatch_lock(false))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("another session dispatches in database \"%s\"",
					get_database_name(MyDatabaseId)),
			 pid != 0 ? errdetail("It is the background dispatcher, process %d.", pid) : 0,
			 errhint("Requests are worked off there; use hotswap.wait() to wait for them.")));
}

static DispatchState
work_off(Dispatch *d)
{
	DispatchState state = dispatch_load(d, true);

	if (state == DISPATCH_FOREIGN)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("deployments of database \"%s\" were made in another database",
							   get_database_name(MyDatabaseId)),
						errhint("If this copy shall deploy, run SELECT hotswap.adopt().")));
	while (dispatch_step(d))
		CHECK_FOR_INTERRUPTS();
	return state;
}

static void
name_left_roles(const Dispatch *d)
{
	ListCell *cell;

	foreach (cell, d->left_roles)
	{
		char *name = GetUserNameFromId(lfirst_oid(cell), true);

		ereport(
			NOTICE,
			(errmsg("tasks of role \"%s\" were left", name ? name : "?"),
			 errhint(
				 "Call hotswap.work() in a session of that role, or add hotswap to shared_preload_libraries.")));
	}
}

/*
 * work()
 *
 * Out: a notice for each role whose tasks were left. A cancel of the session fails the task that
 * runs and ends the call. Errors: 57014 cancelled; 55000 the session acts as another role than the
 * one that logged in, a dispatcher works in this database, or the tables were written for another
 * one; 2D000 inside a transaction block; 42501.
 */
Datum
hotswap_work(PG_FUNCTION_ARGS)
{
	CallContext *call = fcinfo->context && IsA(fcinfo->context, CallContext) ?
							(CallContext *) fcinfo->context :
							NULL;

	if (call == NULL || call->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("work() cannot be called inside a transaction block")));
	access_require_everywhere(GetUserId(), CAPABILITY_OPERATOR, "dispatch");
	PreventCommandDuringRecovery("CALL hotswap.work()");
	/* a script could make itself whoever has really logged in */
	if (GetUserId() != GetAuthenticatedUserId() || GetSessionUserId() != GetAuthenticatedUserId())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("work() needs a session that acts as its login role"),
						errhint("Run RESET SESSION AUTHORIZATION and SET ROLE NONE first.")));
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	SPI_commit();
	take_lock();
	PG_ENSURE_ERROR_CLEANUP(unlock, (Datum) 0);
	{
		Dispatch *d = dispatch_begin(&foreground_mode);
		DispatchState state = work_off(d);

		name_left_roles(d);
		foreground_begin();
		(void) lease_expire();
		SPI_commit();
		/* a database that is still empty may be about to get its partitions from a dump */
		if (state != DISPATCH_NOTHING)
		{
			retention_begin();
			while (retention_step(&foreground_mode) == RETENTION_MORE)
				;
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(unlock, (Datum) 0);
	unlock(0, (Datum) 0);
	SPI_finish();
	PG_RETURN_VOID();
}
