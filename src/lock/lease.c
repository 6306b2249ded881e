/*
 * lease.c
 *		Leases: lease_lock(), await_lease(), renew_lease(), release_lease().
 *
 * A lease is a row with a token and an end, for whoever cannot keep a session: behind a pooler, or
 * longer than a connection lives.  It belongs to who knows the token.  The dispatcher removes it
 * when its time is over and wakes those who wait for it; until then it counts as over all the same.
 *
 * Locks: LOCK_LEASE until the end of the transaction, exclusive to take a lease, shared to renew,
 * release or check it (README.md); no row is ever waited for.  Writes hotswap.lease.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "base/errors.h"
#include "base/time.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/audit.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lock/lease.h"
#include "miscadmin.h"
#include "shm/advisory.h"
#include "shm/shmem.h"
#include "shm/token.h"
#include "shm/wait.h"
#include "shm/wakeup.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#define LATE_MS 1000 /* a waiter looks itself when the dispatcher is so late */

PG_FUNCTION_INFO_V1(hotswap_lease_lock);
PG_FUNCTION_INFO_V1(hotswap_await_lease);
PG_FUNCTION_INFO_V1(hotswap_renew_lease);
PG_FUNCTION_INFO_V1(hotswap_release_lease);

static DbStatement read_lease = DB_STATEMENT(
	"SELECT token, expires_at, xmin FROM hotswap.lease WHERE tenant_id = $1 AND resource = $2",
	UUIDOID, TEXTOID);

static DbStatement put_lease = DB_STATEMENT(
	"INSERT INTO hotswap.lease AS l (tenant_id, resource, token, acquired_at, expires_at, holder, role,"
	" pid, application_name) VALUES ($1, $2, $3, $4, $5, $6, $7::name, $8, $9)"
	" ON CONFLICT (tenant_id, resource) DO UPDATE SET token = excluded.token,"
	" acquired_at = excluded.acquired_at, expires_at = excluded.expires_at, holder = excluded.holder,"
	" role = excluded.role, pid = excluded.pid, application_name = excluded.application_name"
	" WHERE l.expires_at <= $4",
	UUIDOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, INT4OID, TEXTOID);

static DbStatement extend_lease =
	DB_STATEMENT("UPDATE hotswap.lease SET expires_at = $5"
				 " WHERE tenant_id = $1 AND resource = $2 AND token = $3 AND expires_at > $4",
				 UUIDOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID);

static DbStatement delete_lease =
	DB_STATEMENT("DELETE FROM hotswap.lease WHERE tenant_id = $1 AND resource = $2 AND token = $3"
				 " RETURNING expires_at > $4",
				 UUIDOID, TEXTOID, INT8OID, TIMESTAMPTZOID);

/*
 * one that is just being taken over or renewed is locked, and is announced when that has committed
 */
static DbStatement delete_expired = DB_STATEMENT(
	"DELETE FROM hotswap.lease WHERE expires_at <= $1 AND ctid = ANY(ARRAY("
	"SELECT ctid FROM hotswap.lease WHERE expires_at <= $1 LIMIT 1000 FOR UPDATE SKIP LOCKED))"
	" RETURNING tenant_id, resource",
	TIMESTAMPTZOID);

static DbStatement next_end = DB_STATEMENT0("SELECT pg_catalog.min(expires_at) FROM hotswap.lease");

/* Which lease, and for how long it is wanted. */
typedef struct Lease
{
	pg_uuid_t tenant;
	char *resource;
	LOCKTAG tag;
	pg_uuid_t waiters; /* the key of those who wait for it */

	/* of lease_lock() */
	Interval *ttl;
	TimestampTz deadline;
	int64 token;            /* that was got; 0: none */
	TimestampTz expires_at; /* of the one that is in the way, or DT_NOEND */
	bool own;               /* it is this very transaction's */
	bool (*wait)(const pg_uuid_t *key, WaitCheck check, void *arg, TimestampTz end);
} Lease;

/* The end of a lease that begins now; raises 22023. */
static TimestampTz
end_of(const Interval *ttl, TimestampTz now)
{
	TimestampTz end = time_after(now, ttl);

	if (end <= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"ttl\" must be positive")));
	if (TIMESTAMP_NOT_FINITE(end))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"ttl\" must be finite")));
	return end;
}

/* Both keys of a lease: that of its lock, and that of its waiters. */
static void
name_lease(Lease *l, const pg_uuid_t *tenant, char *resource)
{
	pg_cryptohash_ctx *ctx = digest_begin();
	uint8 hash[DIGEST_LENGTH];

	l->tenant = *tenant;
	l->resource = resource;
	digest_int64(ctx, MyDatabaseId);
	digest_bytes(ctx, tenant->data, UUID_LEN);
	digest_field(ctx, resource);
	digest_end(ctx, hash);
	lock_tag(&l->tag, LOCK_LEASE, hash, DIGEST_LENGTH);
	memcpy(l->waiters.data, hash, UUID_LEN);
}

static void
arg_lease(FunctionCallInfo fcinfo, Lease *l)
{
	pg_uuid_t tenant = tenant_current();

	access_require(&tenant, GetUserId(), CAPABILITY_AGENT, "use a lease");
	name_lease(l, &tenant, arg_text(fcinfo, 0, "resource", RESOURCE_LIMIT));
}

static Interval *
arg_ttl(FunctionCallInfo fcinfo, int n)
{
	arg_require(fcinfo, n, "ttl");
	return PG_GETARG_INTERVAL_P(n);
}

/* A lease whose row a crash takes away would be given to somebody else while it is believed in. */
static void
commit_durably(void)
{
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

/* ---- taking ---- */

/* The primary key. */
static DbArgs
args_of(DbStatement *statement, const Lease *l)
{
	DbArgs args = db_args(statement);

	db_arg_uuid(&args, &l->tenant);
	db_arg_text(&args, l->resource);
	return args;
}

/* Inside a scope: looks at what is there. */
static bool
is_free(Lease *l, TimestampTz now)
{
	DbArgs args = args_of(&read_lease, l);
	bool isnull;

	l->expires_at = DT_NOEND;
	l->own = false;
	if (db_run_args(&args) == 0 || db_time(0, 2, 0) <= now)
		return true;
	l->expires_at = db_time(0, 2, 0);
	l->own = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(db_datum(0, 3, &isnull)));
	return false;
}

/* Inside a scope: writes the row. */
static void
lease_insert(Lease *l, const AuditActor *actor, TimestampTz now)
{
	TimestampTz end = end_of(l->ttl, now);
	int64 token = token_next();
	DbArgs args = args_of(&put_lease, l);

	db_arg_int64(&args, token);
	db_arg_time(&args, now);
	db_arg_time(&args, end);
	db_arg_text(&args, actor->person);
	db_arg_text(&args, actor->role);
	db_arg_int32(&args, MyProcPid);
	db_arg_text(&args, application_name ? application_name : "");
	if (db_run_args(&args) == 0)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not take the lease of \"%s\"", l->resource),
						errdetail("Somebody else took it after the transaction's snapshot.")));
	l->token = token;
	wake_lease(end);
}

/* Takes the lease if it is free. */
static bool
try_to_take(void *arg)
{
	Lease *l = arg;
	TimestampTz now;
	AuditActor actor;
	DbScope scope;
	bool is_there;

	commit_durably();
	if (!lock_wait_until(&l->tag, ExclusiveLock, false, l->deadline))
		return false;
	audit_actor(&actor, NULL);
	db_enter(&scope);
	now = GetCurrentTimestamp();
	is_there = is_free(l, now);
	if (is_there)
		lease_insert(l, &actor, now);
	db_leave(&scope);
	if (!is_there)
		(void) LockRelease(&l->tag, ExclusiveLock, false);
	return is_there;
}

static void
wait_for_lease(Lease *l)
{
	do
	{
		TimestampTz late = l->expires_at;
		TimestampTz until = l->deadline;

		if (l->own)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot wait for the lease of \"%s\", which this transaction has taken",
							l->resource)));
		/* there may be no dispatcher to end it */
		if (late != DT_NOEND)
			until = Min(until, TimestampTzPlusMilliseconds(late, LATE_MS));
		if (l->wait(&l->waiters, try_to_take, l, until))
			return;
	} while (!wait_deadline_passed(l->deadline));
}

static void
stop_showing(int code pg_attribute_unused(), Datum arg)
{
	locktable_leave((LockKey *) DatumGetPointer(arg));
}

/* Waits, and can be seen in the view locks meanwhile. */
static void
wait_visibly(Lease *l)
{
	LockKey key = locktable_key_of(lock_key_of(l->resource), true);

	(void) locktable_wait(&key, l->resource, &l->tenant);
	PG_ENSURE_ERROR_CLEANUP(stop_showing, PointerGetDatum(&key));
	{
		wait_for_lease(l);
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_showing, PointerGetDatum(&key));
	stop_showing(0, PointerGetDatum(&key));
}

static void
arg_length(FunctionCallInfo fcinfo, Lease *l)
{
	l->ttl = arg_ttl(fcinfo, 1);
	l->deadline = wait_deadline(fcinfo, 2);
	(void) end_of(l->ttl, GetCurrentTimestamp());
}

static void
take(Lease *l)
{
	if (try_to_take(l) || wait_deadline_passed(l->deadline))
		return;
	wait_require("Add it and restart the server, or call again later.");
	wait_visibly(l);
}

/*
 * lease_lock(resource text, ttl interval, timeout interval) returns a token, or NULL when the time
 *		is over
 *
 * In: resource of 1 to 255 characters, in the tenant of hotswap.tenant; ttl positive; timeout
 * NULL: no limit, zero: tries once. Counts when the transaction commits; cannot be taken twice,
 * and does not exclude acquire_lock(). Errors: 22023; 55000 it has to wait and the lease is the
 * transaction's own, the isolation level is not READ COMMITTED, or hotswap is not preloaded; 40001
 * REPEATABLE READ and taken after the snapshot; 25006 read-only; those of any lock, 55P03 while a statement of a
 * task waits for its snapshot. Writes lease.
 */
Datum
hotswap_lease_lock(PG_FUNCTION_ARGS)
{
	Lease l = { .wait = wait_until };

	arg_lease(fcinfo, &l);
	arg_length(fcinfo, &l);
	PreventCommandIfReadOnly("lease_lock()");
	take(&l);
	if (l.token == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(l.token);
}

/*
 * await_lease(resource text, ttl interval, timeout interval, INOUT token bigint)
 *
 * Like lease_lock(), but ends the transaction it is called in and holds no snapshot while it waits; the lease counts
 * at once.  In: what is given as token is ignored.  Errors: as lease_lock(); 2D000 inside a transaction block.  Writes
 * lease.
 */
Datum
hotswap_await_lease(PG_FUNCTION_ARGS)
{
	Lease l = { .wait = wait_in_call };
	TupleDesc row;
	Datum token;
	bool isnull;

	arg_lease(fcinfo, &l);
	arg_length(fcinfo, &l);
	PreventCommandIfReadOnly("await_lease()");
	wait_enter_call(fcinfo, "Use hotswap.lease_lock() there.");
	take(&l);
	token = Int64GetDatum(l.token);
	isnull = l.token == 0;
	row = wait_leave_call(fcinfo);
	return HeapTupleGetDatum(heap_form_tuple(row, &token, &isnull));
}

/* ---- keeping and giving back ---- */

static void
refuse_stale(const Lease *l, int64 token)
{
	ereport(ERROR, (errcode(ERRCODE_HOTSWAP_STALE_TOKEN),
					errmsg("token " INT64_FORMAT " of \"%s\" is stale", token, l->resource),
					errdetail("The lease that it was given for is over."),
					errhint("Somebody else may have it now: stop, and take it again.")));
}

/* renew_lease(resource text, token bigint, ttl interval) returns its new end, or raises YH002 */
Datum
hotswap_renew_lease(PG_FUNCTION_ARGS)
{
	Lease l = { .token = arg_int64(fcinfo, 1, "token") };
	TimestampTz now;
	TimestampTz end;
	DbScope scope;
	DbArgs args;

	arg_lease(fcinfo, &l);
	l.ttl = arg_ttl(fcinfo, 2);
	PreventCommandIfReadOnly("renew_lease()");
	commit_durably();
	(void) lock_wait_until(&l.tag, ShareLock, false, DT_NOEND);
	now = GetCurrentTimestamp();
	end = end_of(l.ttl, now);
	db_enter(&scope);
	args = args_of(&extend_lease, &l);
	db_arg_int64(&args, l.token);
	db_arg_time(&args, now);
	db_arg_time(&args, end);
	if (db_run_args(&args) == 0)
		refuse_stale(&l, l.token);
	wake_lease(end);
	db_leave(&scope);
	PG_RETURN_TIMESTAMPTZ(end);
}

/*
 * release_lease(resource text, token bigint) returns whether the lease was still the token's
 *
 * Wakes at commit who waits for it. Errors: 22023, 42501, 25006 read-only. Writes lease.
 */
Datum
hotswap_release_lease(PG_FUNCTION_ARGS)
{
	Lease l = { .token = arg_int64(fcinfo, 1, "token") };
	DbScope scope;
	DbArgs args;
	bool found;

	arg_lease(fcinfo, &l);
	PreventCommandIfReadOnly("release_lease()");
	(void) lock_wait_until(&l.tag, ShareLock, false, DT_NOEND);
	db_enter(&scope);
	args = args_of(&delete_lease, &l);
	db_arg_int64(&args, l.token);
	db_arg_time(&args, GetCurrentTimestamp());
	found = db_run_args(&args) > 0;
	if (found)
	{
		found = db_bool(0, 1);
		wake_waiters(&l.waiters);
	}
	db_leave(&scope);
	PG_RETURN_BOOL(found);
}

/* ---- for check_token() and the dispatcher ---- */

static TokenState
lease_compare(const Lease *l, int64 token, int64 *newest)
{
	DbArgs args = args_of(&read_lease, l);

	/* whatever the transaction's snapshot shows: a newer token may have been given since */
	if (db_run_newest(&read_lease, args.values, NULL) == 0)
		return TOKEN_UNKNOWN;
	*newest = db_int64(0, 1);
	return token == *newest && db_time(0, 2, 0) > GetCurrentTimestamp() ? TOKEN_CURRENT :
																		  TOKEN_STALE;
}

/* Is this the token of the lease now?  If so, it stays so until the transaction ends. */
TokenState
lease_check(const char *resource, int64 token, int64 *newest)
{
	pg_uuid_t tenant = tenant_current();
	TokenState state;
	DbScope scope;
	Lease l;

	name_lease(&l, &tenant, pstrdup(resource));
	db_enter(&scope);
	state = lease_compare(&l, token, newest);
	if (state == TOKEN_CURRENT)
	{
		(void) lock_wait_until(&l.tag, ShareLock, false, DT_NOEND);
		state = lease_compare(&l, token, newest);
	}
	db_leave(&scope);
	return state;
}

/*
 * Removes the leases that are over and wakes those who wait for them, when the transaction
 * commits.  Returns when the next one ends, DT_NOEND: there is none.
 */
TimestampTz
lease_expire(void)
{
	TimestampTz now = GetCurrentTimestamp();
	DbArgs args = db_args(&delete_expired);
	TimestampTz next;
	DbScope scope;
	uint64 count;

	db_enter(&scope);
	db_arg_time(&args, now);
	count = db_run_args(&args);
	for (uint64 i = 0; i < count; i++)
	{
		pg_uuid_t tenant = db_uuid(i, 1);
		Lease l;

		name_lease(&l, &tenant, db_text(i, 2));
		wake_waiters(&l.waiters);
	}
	(void) db_run(&next_end, NULL, NULL);
	next = db_time(0, 1, DT_NOEND);
	db_leave(&scope);
	/* one that somebody has locked is looked at again soon */
	return next == DT_NOEND ? next : Max(next, TimestampTzPlusMilliseconds(now, 100));
}
