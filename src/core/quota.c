/*
 * quota.c
 *		What quotas are about, what is used, and the checks of what hotswap counts itself.
 *
 * What holds for whom is said by the view hotswap.quota_limits.
 *
 * Locks: the caller holds the tenant's row, or has entered the tenant (quota_lock_used()); then the
 * tenant's rows of quota_usage.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/quota.h"
#include "utils/builtins.h"

static DbStatement find_resource =
	DB_STATEMENT("SELECT counted FROM hotswap.resource WHERE name = $1", TEXTOID);

static DbStatement lock_usage =
	DB_STATEMENT("SELECT used FROM hotswap.quota_usage WHERE tenant_id = $1 AND resource = $2"
				 " FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

static DbStatement insert_usage =
	DB_STATEMENT("INSERT INTO hotswap.quota_usage (tenant_id, resource, used) VALUES ($1, $2, 0)"
				 " ON CONFLICT DO NOTHING",
				 UUIDOID, TEXTOID);

/* Nothing is counted where there is no limit. */
static DbStatement count_used =
	DB_STATEMENT("SELECT amount, used FROM hotswap.quota_limits"
				 " WHERE tenant_id = $1 AND resource = $2 AND amount IS NOT NULL AND amount < used",
				 UUIDOID, TEXTOID);

/* A row for each resource that a tier limits, so that it can be locked. */
static DbStatement insert_usages = DB_STATEMENT(
	"INSERT INTO hotswap.quota_usage (tenant_id, resource, used) SELECT $1, l.resource, 0"
	" FROM hotswap.tier_quota l JOIN hotswap.resource r ON r.name = l.resource"
	" WHERE l.tier = $2 AND NOT r.counted ORDER BY l.resource ON CONFLICT DO NOTHING",
	UUIDOID, TEXTOID);

static DbStatement lock_usages = DB_STATEMENT(
	"SELECT FROM hotswap.quota_usage WHERE tenant_id = $1 ORDER BY resource FOR UPDATE", UUIDOID);

static DbStatement find_excess =
	DB_STATEMENT("SELECT resource, used, amount FROM hotswap.quota_limits"
				 " WHERE tenant_id = $1 AND NOT own AND amount < used ORDER BY resource LIMIT 1",
				 UUIDOID);

/* NULL: unlimited. */
NullableDatum
arg_quota(FunctionCallInfo fcinfo, int n, const char *word)
{
	if (!PG_ARGISNULL(n) && PG_GETARG_INT64(n) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must not be negative: %lld", word, (long long) PG_GETARG_INT64(n)),
				 errhint("NULL is unlimited.")));
	return fcinfo->args[n];
}

/* The amount as text, NULL for NULL. */
char *
quota_amount_text(NullableDatum amount)
{
	return amount.isnull ? NULL : psprintf("%lld", (long long) DatumGetInt64(amount.value));
}

const char *
quota_text(const char *amount)
{
	return amount ? amount : "unlimited";
}

/* Is it one that hotswap counts itself?  Raises P0002. */
bool
resource_require(const char *resource)
{
	Datum args[] = { CStringGetTextDatum(resource) };

	if (db_run(&find_resource, args, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("resource \"%s\" does not exist", resource),
				 errhint("Make it with hotswap.define_resource().")));
	return db_bool(0, 1);
}

/* Locks the row of what is used, and makes it if it is the first time; returns what is used. */
int64
quota_lock_used(const pg_uuid_t *tenant, const char *resource)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(resource) };

	while (db_run(&lock_usage, args, NULL) == 0)
	{
		if (resource_require(resource))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("resource \"%s\" cannot be consumed or released explicitly", resource),
					 errdetail("The extension counts its use itself.")));
		if (db_run(&insert_usage, args, NULL) == 0 && IsolationUsesXactSnapshot())
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("could not serialize access due to concurrent update")));
	}
	return db_int64(0, 1);
}

/* After something was made: raises 53400 where it is more than the quota allows. */
void
quota_require(const pg_uuid_t *tenant, const char *resource)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(resource) };

	if (db_run_newest(&count_used, args, NULL) > 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("quota of \"%s\" exceeded", resource),
						errdetail("The quota is %lld; with this it would be %lld.",
								  (long long) db_int64(0, 1), (long long) db_int64(0, 2))));
}

/* Before a tenant goes to a tier that may give less: nobody consumes until the transaction ends. */
void
quota_freeze(const pg_uuid_t *tenant, const char *tier)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(tier) };

	(void) db_run(&insert_usages, args, NULL);
	(void) db_run(&lock_usages, args, NULL);
}

/* After it has gone there: raises 53400 where it uses more. */
void
quota_require_fit(const pg_uuid_t *tenant, const char *tier)
{
	Datum args[] = { UUIDPGetDatum(tenant) };

	if (db_run_newest(&find_excess, args, NULL) > 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("tenant \"%s\" uses more of \"%s\" than tier \"%s\" gives",
							   uuid_text(tenant), db_text(0, 1), tier),
						errdetail("It uses %lld; the tier gives %lld.", (long long) db_int64(0, 2),
								  (long long) db_int64(0, 3))));
}
