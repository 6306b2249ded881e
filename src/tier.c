/*
 * tier.c
 *		Tiers, resources, and how much of each a tier gives.
 */
#include "postgres.h"

#include "db.h"
#include "tier.h"

static DbStatement insert_tiers = DB_STATEMENT0(
	"INSERT INTO hotswap.tier (name, rank, weight, monthly_price_cents) VALUES ('free', 10, 1, 0),"
	" ('starter', 20, 2, 2900), ('professional', 30, 4, 9900), ('enterprise', 40, 8, 49900),"
	" ('custom', 50, 8, 0) ON CONFLICT DO NOTHING");

static DbStatement insert_resources = DB_STATEMENT0(
	"INSERT INTO hotswap.resource (name, counted) VALUES ('websites', false), ('storage_gb', false),"
	" ('bandwidth_gb', false), ('custom_domains', false), ('concurrent_deployments', true),"
	" ('modules', true), ('nodes', true), ('stored_bytes', true) ON CONFLICT DO NOTHING");

/* custom has none: unlimited */
static DbStatement insert_quotas = DB_STATEMENT0(
	"INSERT INTO hotswap.tier_quota (tier, resource, amount) SELECT t.tier, r.resource, r.amount"
	" FROM (VALUES ('free', 1, 1, 10, 1, 0), ('starter', 5, 10, 100, 3, 5),"
	" ('professional', 25, 50, 500, 10, 25), ('enterprise', 100, 500, 5000, 50, 100))"
	" t (tier, websites, storage, bandwidth, deployments, domains)"
	" CROSS JOIN LATERAL (VALUES ('websites', t.websites), ('storage_gb', t.storage),"
	" ('bandwidth_gb', t.bandwidth), ('concurrent_deployments', t.deployments),"
	" ('custom_domains', t.domains)) r (resource, amount) ON CONFLICT DO NOTHING");

/* Inside a scope: the tiers and resources that every installation begins with. */
void
tier_install(void)
{
	(void) db_run(&insert_tiers, NULL, NULL);
	(void) db_run(&insert_resources, NULL, NULL);
	(void) db_run(&insert_quotas, NULL, NULL);
}
