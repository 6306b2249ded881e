/*
 * quota.c
 *		Quotas of tenants: set_quota(), clear_quota(), consume_quota(), release_quota().
 *
 * Which quota holds is looked up with the newest snapshot, under the lock that keeps others from
 * using more: the row of what was used, or the tenant's row.  So no number of sessions together
 * uses more than there is, whatever their isolation level.
 *
 * Locks: tenant row, then the tenant's rows of quota_usage; who consumes or releases locks only the
 * one row of quota_usage, until its transaction ends.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/installation.h"
#include "core/quota.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_set_quota);
PG_FUNCTION_INFO_V1(hotswap_clear_quota);
PG_FUNCTION_INFO_V1(hotswap_consume_quota);
PG_FUNCTION_INFO_V1(hotswap_release_quota);

static DbStatement read_quota = DB_STATEMENT(
	"SELECT coalesce(amount::text, 'unlimited') FROM hotswap.quota WHERE tenant_id = $1 AND resource = $2",
	UUIDOID, TEXTOID);

static DbStatement write_quota =
	DB_STATEMENT("INSERT INTO hotswap.quota (tenant_id, resource, amount) VALUES ($1, $2, $3)"
				 " ON CONFLICT (tenant_id, resource) DO UPDATE SET amount = excluded.amount",
				 UUIDOID, TEXTOID, INT8OID);

static DbStatement delete_quota =
	DB_STATEMENT("DELETE FROM hotswap.quota WHERE tenant_id = $1 AND resource = $2", UUIDOID,
				 TEXTOID);

static DbStatement update_usage =
	DB_STATEMENT("UPDATE hotswap.quota_usage SET used = $3 WHERE tenant_id = $1 AND resource = $2",
				 UUIDOID, TEXTOID, INT8OID);

static DbStatement read_limit = DB_STATEMENT(
	"SELECT t.status, l.amount FROM hotswap.tenant t"
	" JOIN hotswap.quota_limits l ON l.tenant_id = t.id WHERE t.id = $1 AND l.resource = $2",
	UUIDOID, TEXTOID);

/* ---- quotas ---- */

/* A call that sets (amount) or clears (NULL) a tenant's own quota. */
static void
change_quota(FunctionCallInfo fcinfo, const NullableDatum *amount)
{
	pg_uuid_t tenant = arg_uuid(fcinfo, 0, "tenant");
	char *resource = arg_text(fcinfo, 1, "resource", NAME_LIMIT);
	Datum key[] = { UUIDPGetDatum(&tenant), CStringGetTextDatum(resource) };
	Call c;
	char *before;

	call_begin_everywhere(&c, CAPABILITY_ADMIN, "change the quota of a tenant");
	tenant_lock_living(&tenant);
	(void) resource_require(resource);
	before = db_run(&read_quota, key, NULL) > 0 ? db_text(0, 1) : NULL;
	if (amount)
	{
		DbArgs args = db_args(&write_quota);

		db_arg_uuid(&args, &tenant);
		db_arg_text(&args, resource);
		db_arg_datum(&args, INT8OID, amount->value, amount->isnull);
		(void) db_run_args(&args);
	}
	else if (db_run(&delete_quota, key, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("tenant \"%s\" has no quota of its own of \"%s\"",
							   uuid_text(&tenant), resource)));
	audit_tenant(&c.actor, &tenant, amount ? "set_quota" : "clear_quota", before,
				 amount ? quota_text(quota_amount_text(*amount)) : NULL, NULL,
				 audit_detail("resource", resource, NULL));
	wake_reload();
	call_end(&c);
}

/*
 * set_quota(tenant uuid, resource text, amount bigint)
 *
 * In: amount NULL: unlimited.  Less than what is used refuses only further use.  Errors: 22023,
 * 42501, P0002 no such tenant or resource, YH003 it is deprovisioning or deleted.  Locks the tenant
 * row; writes quota and the audit log; wakes the dispatcher.
 */
Datum
hotswap_set_quota(PG_FUNCTION_ARGS)
{
	NullableDatum amount = arg_quota(fcinfo, 2, "amount");

	change_quota(fcinfo, &amount);
	PG_RETURN_VOID();
}

/*
 * clear_quota(tenant uuid, resource text)
 *
 * Errors: 22023, 42501, P0002 no such tenant or resource, or it has none of its own, YH003 it is
 * deprovisioning or deleted.  Locks the tenant row; deletes from quota, writes the audit log; wakes
 * the dispatcher.
 */
Datum
hotswap_clear_quota(PG_FUNCTION_ARGS)
{
	change_quota(fcinfo, NULL);
	PG_RETURN_VOID();
}

/* ---- consuming and releasing ---- */

/* What a call of consume_quota() or release_quota() is about. */
typedef struct Consumption
{
	pg_uuid_t tenant;
	char *resource;
	int64 amount;
	int64 used;
	int64 limit;
	bool unlimited;
} Consumption;

static void
read_consumption(FunctionCallInfo fcinfo, Consumption *c)
{
	c->tenant = arg_uuid(fcinfo, 0, "tenant");
	c->resource = arg_text(fcinfo, 1, "resource", NAME_LIMIT);
	c->amount = arg_int64(fcinfo, 2, "amount");
	if (c->amount <= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"amount\" must be positive: %lld", (long long) c->amount)));
}

/* Enters the tenant, which must be active, and locks and reads what there is. */
static void
begin_consumption(Consumption *c, Oid caller, const char *action)
{
	Datum args[] = { UUIDPGetDatum(&c->tenant), CStringGetTextDatum(c->resource) };

	access_require(&c->tenant, caller, CAPABILITY_AGENT, action);
	installation_ensure();
	tenant_enter_active(&c->tenant);
	c->used = quota_lock_used(&c->tenant, c->resource);
	if (db_run_newest(&read_limit, args, NULL) != 1)
		elog(ERROR, "quota of \"%s\" was not found", c->resource);
	tenant_require_active(&c->tenant, db_text(0, 1));
	c->unlimited = db_isnull(0, 2);
	c->limit = c->unlimited ? 0 : db_int64(0, 2);
}

/* Writes what is used now; returns what is left. */
static Datum
end_consumption(Consumption *c, FunctionCallInfo fcinfo)
{
	Datum args[] = { UUIDPGetDatum(&c->tenant), CStringGetTextDatum(c->resource),
					 Int64GetDatum(c->used) };

	(void) db_run(&update_usage, args, NULL);
	fcinfo->isnull = c->unlimited;
	return Int64GetDatum(Max(c->limit - c->used, 0));
}

/*
 * consume_quota(tenant uuid, resource text, amount bigint) returns what is left, NULL: unlimited
 *
 * Counts when the transaction commits; others who consume the same wait until then.  Errors: 22023,
 * 42501, P0002 no such tenant or resource, 53400 not so much is left, YH003; 40001 REPEATABLE READ
 * and used after the snapshot; 22003 more than a bigint holds.  Locks and writes the row of
 * quota_usage.
 */
Datum
hotswap_consume_quota(PG_FUNCTION_ARGS)
{
	Consumption c;
	DbScope scope;
	Datum left;

	read_consumption(fcinfo, &c);
	db_enter(&scope);
	begin_consumption(&c, scope.caller, "consume a quota");
	if (!c.unlimited && c.amount > c.limit - c.used)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("quota of \"%s\" exceeded", c.resource),
				 errdetail("The quota is %lld, the use is %lld, and the request is for %lld.",
						   (long long) c.limit, (long long) c.used, (long long) c.amount)));
	if (c.amount > PG_INT64_MAX - c.used)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("bigint out of range")));
	c.used += c.amount;
	left = end_consumption(&c, fcinfo);
	db_leave(&scope);
	return left;
}

/*
 * release_quota(tenant uuid, resource text, amount bigint) returns what is left, NULL: unlimited
 *
 * Errors: 22023 bad argument, or more than is used, 42501, P0002 no such tenant or resource, YH003;
 * 40001 REPEATABLE READ and used after the snapshot.  Locks and writes the row of quota_usage.
 */
Datum
hotswap_release_quota(PG_FUNCTION_ARGS)
{
	Consumption c;
	DbScope scope;
	Datum left;

	read_consumption(fcinfo, &c);
	db_enter(&scope);
	begin_consumption(&c, scope.caller, "release a quota");
	if (c.amount > c.used)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cannot release %lld of \"%s\"", (long long) c.amount, c.resource),
						errdetail("The use is %lld.", (long long) c.used)));
	c.used -= c.amount;
	left = end_consumption(&c, fcinfo);
	db_leave(&scope);
	return left;
}
