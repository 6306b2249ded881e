/*
 * fence.c
 *		check_token(), and what the view locks reads.
 *
 * A token belongs to a lock or to a lease; who uses a name for both is told by the newest of either
 * kind.  Locks: a lease whose token is checked, as lease_check() does.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/args.h"
#include "base/errors.h"
#include "core/access.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lock/lease.h"
#include "lock/lock.h"
#include "miscadmin.h"
#include "shm/advisory.h"
#include "shm/lock_table.h"
#include "shm/shmem.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_check_token);
PG_FUNCTION_INFO_V1(hotswap_lock_list);

/* ---- tokens ---- */

static void
refuse_token(const char *resource, int64 token, int64 newest)
{
	ereport(ERROR, (errcode(ERRCODE_HOTSWAP_STALE_TOKEN),
					errmsg("token " INT64_FORMAT " of \"%s\" is stale", token, resource),
					newest > token ?
						errdetail("Token " INT64_FORMAT " has been given out since.", newest) :
						errdetail("The lock or lease that it was given for is not there any more."),
					errhint("Somebody else may have it now: stop, and acquire it again.")));
}

/* check_token(resource text, token bigint) returns true, or raises YH002 */
Datum
hotswap_check_token(PG_FUNCTION_ARGS)
{
	char *resource = arg_text(fcinfo, 0, "resource", RESOURCE_LIMIT);
	LockKey key = locktable_key_of(lock_key_of(resource), false);
	int64 token = arg_int64(fcinfo, 1, "token");
	int64 lease_token = 0;
	int64 lock_token = 0;
	TokenState lease;
	TokenState lock;

	(void) lock_require_agent();
	if (RecoveryInProgress())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot check a token on a standby"),
			 errdetail(
				 "It does not know the locks of the primary, and learns of leases with a delay."),
			 errhint("Check it on the primary.")));
	lease = lease_check(resource, token, &lease_token);
	lock = shared ? locktable_check(&key, token, &lock_token) : TOKEN_UNKNOWN;
	/* who uses a name for both is told by the newest of either kind */
	if (lease == TOKEN_CURRENT && token > lock_token)
		PG_RETURN_BOOL(true);
	if (lock == TOKEN_CURRENT && token > lease_token)
		PG_RETURN_BOOL(true);
	if (shared == NULL && token > lease_token)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot check the token of a lock without hotswap in shared_preload_libraries"),
			 errhint("Add it and restart the server, or use a lease.")));
	refuse_token(resource, token, Max(lease_token, lock_token));
	PG_RETURN_NULL();
}

/* ---- the view ---- */

/*
 * lock_list() returns (key, resource, lease, pid, token, since) of the sessions that act for a
 *		tenant which the current role sees: see the view locks
 */
Datum
hotswap_lock_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	LockHold *list;
	int count;

	InitMaterializedSRF(fcinfo, 0);
	if (shared == NULL)
		return (Datum) 0;
	list = locktable_list(&count);
	for (int i = 0; i < count; i++)
	{
		Datum values[6];
		bool nulls[6] = { false };

		if (!access_has(&list[i].tenant, GetUserId(), CAPABILITY_VIEWER))
			continue;
		values[0] = Int64GetDatum(list[i].key.key);
		values[1] = CStringGetTextDatum(list[i].resource);
		values[2] = BoolGetDatum(list[i].key.lease != 0);
		values[3] = Int32GetDatum(list[i].pid);
		values[4] = Int64GetDatum(list[i].token);
		nulls[4] = list[i].token == 0;
		values[5] = TimestampTzGetDatum(list[i].since);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
