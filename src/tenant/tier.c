/*
 * tier.c
 *		Tiers, resources, and how much of each a tier gives; the tier of a tenant.
 *
 * Changes of the tiers themselves concern the whole installation, follow one another, and are
 * recorded as events of the tenant "default".
 *
 * Locks: installation row, then the tier's row; or the tenant's row, then what it has used, in the
 * order of the resources' names: whoever consumes at the same time is counted, or sees the new
 * tier.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/installation.h"
#include "core/quota.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "shm/wakeup.h"
#include "tenant/tier.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_configure_tier);
PG_FUNCTION_INFO_V1(hotswap_set_tier_quota);
PG_FUNCTION_INFO_V1(hotswap_define_resource);
PG_FUNCTION_INFO_V1(hotswap_upgrade_tier);
PG_FUNCTION_INFO_V1(hotswap_downgrade_tier);

#define RANK_LIMIT 1000
#define WEIGHT_LIMIT 1000

/* What a tier is made of, as JSON: the before and after of its audit events. */
#define TIER_JSON                                                                       \
	"pg_catalog.jsonb_build_object('name', t.name, 'rank', t.rank, 'weight', t.weight," \
	" 'monthly_price_cents', t.monthly_price_cents)::text"

static DbStatement lock_tier =
	DB_STATEMENT("SELECT " TIER_JSON " FROM hotswap.tier t WHERE t.name = $1 FOR NO KEY UPDATE",
				 TEXTOID);

static DbStatement find_tier_rank =
	DB_STATEMENT("SELECT name FROM hotswap.tier WHERE rank = $2 AND name <> $1", TEXTOID, INT4OID);

static DbStatement insert_tier =
	DB_STATEMENT("INSERT INTO hotswap.tier AS t (name, rank, weight, monthly_price_cents)"
				 " VALUES ($1, $2, coalesce($3, 1), coalesce($4, 0)) RETURNING " TIER_JSON,
				 TEXTOID, INT4OID, INT4OID, INT4OID);

static DbStatement update_tier =
	DB_STATEMENT("UPDATE hotswap.tier t SET rank = coalesce($2, t.rank),"
				 " weight = coalesce($3, t.weight),"
				 " monthly_price_cents = coalesce($4, t.monthly_price_cents)"
				 " WHERE t.name = $1 RETURNING " TIER_JSON,
				 TEXTOID, INT4OID, INT4OID, INT4OID);

static DbStatement find_tier =
	DB_STATEMENT("SELECT rank FROM hotswap.tier WHERE name = $1", TEXTOID);

static DbStatement insert_resource = DB_STATEMENT(
	"INSERT INTO hotswap.resource (name, counted) VALUES ($1, false) ON CONFLICT DO NOTHING",
	TEXTOID);

static DbStatement lock_quota =
	DB_STATEMENT("SELECT amount::text FROM hotswap.tier_quota WHERE tier = $1 AND resource = $2"
				 " FOR UPDATE",
				 TEXTOID, TEXTOID);

static DbStatement write_quota =
	DB_STATEMENT("INSERT INTO hotswap.tier_quota (tier, resource, amount) VALUES ($1, $2, $3)"
				 " ON CONFLICT (tier, resource) DO UPDATE SET amount = excluded.amount",
				 TEXTOID, TEXTOID, INT8OID);

static DbStatement delete_quota =
	DB_STATEMENT("DELETE FROM hotswap.tier_quota WHERE tier = $1 AND resource = $2", TEXTOID,
				 TEXTOID);

static DbStatement read_tenant_tier =
	DB_STATEMENT("SELECT tier FROM hotswap.tenant WHERE id = $1", UUIDOID);

static DbStatement update_tenant_tier =
	DB_STATEMENT("UPDATE hotswap.tenant SET tier = $2 WHERE id = $1", UUIDOID, TEXTOID);

/* Returns a tier's rank; raises P0002. */
int
tier_require(const char *tier)
{
	Datum args[] = { CStringGetTextDatum(tier) };

	if (db_run(&find_tier, args, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND), errmsg("tier \"%s\" does not exist", tier),
						errhint("Make it with hotswap.configure_tier().")));
	return db_int32(0, 1);
}

/* ---- tiers ---- */

enum
{
	ARG_NAME,
	ARG_RANK,
	ARG_WEIGHT,
	ARG_PRICE,
	ARG_COUNT
};

static void
read_number(FunctionCallInfo fcinfo, int n, const char *word, int32 min, int32 max, Datum *args,
			bool *nulls)
{
	nulls[n] = PG_ARGISNULL(n);
	args[n] = nulls[n] ? (Datum) 0 : Int32GetDatum(arg_int32(fcinfo, n, word, min, max));
}

/* Makes or changes the row; returns what it is now, with *before what it was, or NULL. */
static char *
write_tier(const char *name, Datum *args, const bool *nulls, char **before)
{
	*before = db_run(&lock_tier, args, NULL) > 0 ? db_text(0, 1) : NULL;
	if (*before == NULL && nulls[ARG_RANK])
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND), errmsg("tier \"%s\" does not exist", name),
						errhint("Give a rank to make it.")));
	if (!nulls[ARG_RANK] && db_run(&find_tier_rank, args, NULL) > 0)
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("rank %d is taken", DatumGetInt32(args[ARG_RANK])),
						errdetail("Tier \"%s\" has it.", db_text(0, 1))));
	if (db_run(*before ? &update_tier : &insert_tier, args, nulls) != 1)
		elog(ERROR, "tier \"%s\" was not written", name);
	return db_text(0, 1);
}

/*
 * configure_tier(name text, rank integer, weight integer, monthly_price_cents integer)
 *
 * In: NULL leaves what is there.  Errors: 22023, 42501, P0002 no such tier and no rank, 23505 rank
 * taken.  Locks the installation, the tier and the tenant "default"; writes the tier and, when
 * something has changed, the audit log; wakes the dispatcher.
 */
Datum
hotswap_configure_tier(PG_FUNCTION_ARGS)
{
	char *name = arg_identifier(fcinfo, ARG_NAME, "name");
	Datum args[ARG_COUNT] = { CStringGetTextDatum(name) };
	bool nulls[ARG_COUNT] = { false };
	Call c;
	char *before;
	char *after;

	read_number(fcinfo, ARG_RANK, "rank", 1, RANK_LIMIT, args, nulls);
	read_number(fcinfo, ARG_WEIGHT, "weight", 1, WEIGHT_LIMIT, args, nulls);
	read_number(fcinfo, ARG_PRICE, "monthly_price_cents", 0, PG_INT32_MAX, args, nulls);
	call_begin_installation(&c, CAPABILITY_ADMIN, "configure a tier");
	after = write_tier(name, args, nulls, &before);
	if (before == NULL || strcmp(before, after) != 0)
	{
		installation_audit(&c.actor, "configure_tier", before, after, NULL,
						   audit_detail("tier", name, NULL));
		wake_reload();
	}
	call_end(&c);
	PG_RETURN_VOID();
}

/*
 * set_tier_quota(tier text, resource text, amount bigint)
 *
 * In: amount NULL: unlimited.  Errors: 22023, 42501, P0002 no such tier or resource.  Locks the
 * installation, the quota and the tenant "default"; writes tier_quota and the audit log; wakes the
 * dispatcher.
 */
Datum
hotswap_set_tier_quota(PG_FUNCTION_ARGS)
{
	char *tier = arg_text(fcinfo, 0, "tier", NAME_LIMIT);
	char *resource = arg_text(fcinfo, 1, "resource", NAME_LIMIT);
	NullableDatum amount = arg_quota(fcinfo, 2, "amount");
	Datum args[] = { CStringGetTextDatum(tier), CStringGetTextDatum(resource), amount.value };
	Call c;
	char *before;

	call_begin_installation(&c, CAPABILITY_ADMIN, "set the quota of a tier");
	(void) tier_require(tier);
	(void) resource_require(resource);
	before = db_run(&lock_quota, args, NULL) > 0 ? db_text(0, 1) : NULL;
	(void) db_run(amount.isnull ? &delete_quota : &write_quota, args, NULL);
	installation_audit(&c.actor, "set_tier_quota", quota_text(before),
					   quota_text(quota_amount_text(amount)), NULL,
					   audit_detail("tier", tier, "resource", resource, NULL));
	wake_reload();
	call_end(&c);
	PG_RETURN_VOID();
}

/*
 * define_resource(name text)
 *
 * Errors: 22023, 42501.  Locks the installation and the tenant "default"; writes resource and the
 * audit log, nothing where the resource is there already.
 */
Datum
hotswap_define_resource(PG_FUNCTION_ARGS)
{
	char *name = arg_identifier(fcinfo, 0, "name");
	Datum args[] = { CStringGetTextDatum(name) };
	Call c;

	call_begin_installation(&c, CAPABILITY_ADMIN, "define a resource");
	if (db_run(&insert_resource, args, NULL) > 0)
		installation_audit(&c.actor, "define_resource", NULL, NULL, NULL,
						   audit_detail("resource", name, NULL));
	call_end(&c);
	PG_RETURN_VOID();
}

/* ---- the tier of a tenant ---- */

static void
require_direction(const char *before, const char *after, bool up)
{
	int from = tier_require(before);
	int to = tier_require(after);

	if (up ? to > from : to < from)
		return;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					up ? errmsg("cannot upgrade from tier \"%s\" to tier \"%s\"", before, after) :
						 errmsg("cannot downgrade from tier \"%s\" to tier \"%s\"", before, after),
					up ? errdetail("Its rank is %d and must be higher than %d.", to, from) :
						 errdetail("Its rank is %d and must be lower than %d.", to, from)));
}

/* Moves a tenant to another tier, in the direction that is meant. */
static void
change_tier(FunctionCallInfo fcinfo, bool up)
{
	pg_uuid_t tenant = arg_uuid(fcinfo, 0, "tenant");
	char *tier = arg_text(fcinfo, 1, "tier", NAME_LIMIT);
	Datum args[] = { UUIDPGetDatum(&tenant), CStringGetTextDatum(tier) };
	Call c;
	char *before;

	call_begin_everywhere(&c, CAPABILITY_ADMIN, "change the tier of a tenant");
	tenant_lock_for_change(&tenant);
	(void) db_run(&read_tenant_tier, args, NULL);
	before = db_text(0, 1);
	require_direction(before, tier, up);
	if (!up)
		quota_freeze(&tenant, tier);
	(void) db_run(&update_tenant_tier, args, NULL);
	if (!up)
		quota_require_fit(&tenant, tier);
	audit_tenant(&c.actor, &tenant, up ? "upgrade_tier" : "downgrade_tier", before, tier, NULL,
				 NULL);
	wake_reload();
	call_end(&c);
}

/*
 * upgrade_tier(tenant uuid, tier text)
 *
 * Errors: 22023, 42501, P0002 no such tenant or tier, 55000 not a higher rank, YH003.  Locks the
 * tenant row; writes it and the audit log; wakes the dispatcher.
 */
Datum
hotswap_upgrade_tier(PG_FUNCTION_ARGS)
{
	change_tier(fcinfo, true);
	PG_RETURN_VOID();
}

/*
 * downgrade_tier(tenant uuid, tier text)
 *
 * Errors: 22023, 42501, P0002 no such tenant or tier, 55000 not a lower rank, 53400 it uses more
 * than that tier gives, YH003.  Locks the tenant row and what the tenant has used; writes the
 * tenant and the audit log; wakes the dispatcher.
 */
Datum
hotswap_downgrade_tier(PG_FUNCTION_ARGS)
{
	change_tier(fcinfo, false);
	PG_RETURN_VOID();
}
