/*
 * installation.c
 *		The installation: which database this is, whether it may dispatch, and what it starts with.
 *
 * The rows that every installation needs (tiers, resources, reserved subdomains, the tenant
 * "default", its environments, the row of hotswap.installation) are made at the first call that
 * writes something, not by the install script: pg_dump dumps the script's tables with all their
 * rows, and a row that both the script and the dump bring would make the restore fail.  It also
 * means that the tables of a database that is just being restored hold no installation row that
 * fits, so that nothing is dispatched from it.
 *
 * Locks: installation row before tenant row.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/db.h"
#include "base/kept.h"
#include "catalog/pg_type.h"
#include "core/audit_partition.h"
#include "core/completeness.h"
#include "core/installation.h"
#include "core/tenant.h"
#include "miscadmin.h"
#include "shm/wakeup.h"

static DbStatement insert_installation = DB_STATEMENT(
	"INSERT INTO hotswap.installation (system_identifier, database_oid) VALUES ($1, $2)"
	" ON CONFLICT DO NOTHING",
	INT8OID, OIDOID);

static DbStatement read_installation =
	DB_STATEMENT0("SELECT system_identifier, database_oid, stop_reason FROM hotswap.installation");

static Kept installation = KEPT(read_installation, "installation");

static DbStatement lock_installation =
	DB_STATEMENT0("SELECT system_identifier, database_oid, stop_reason FROM hotswap.installation"
				  " FOR NO KEY UPDATE");

static DbStatement insert_usual_tiers = DB_STATEMENT0(
	"INSERT INTO hotswap.tier (name, rank, weight, monthly_price_cents) VALUES ('free', 10, 1, 0),"
	" ('starter', 20, 2, 2900), ('professional', 30, 4, 9900), ('enterprise', 40, 8, 49900),"
	" ('custom', 50, 8, 0) ON CONFLICT DO NOTHING");

static DbStatement insert_usual_resources = DB_STATEMENT0(
	"INSERT INTO hotswap.resource (name, counted) VALUES ('websites', false), ('storage_gb', false),"
	" ('bandwidth_gb', false), ('custom_domains', false), ('concurrent_deployments', true),"
	" ('modules', true), ('nodes', true), ('stored_bytes', true) ON CONFLICT DO NOTHING");

/* custom has none: unlimited */
static DbStatement insert_usual_quotas = DB_STATEMENT0(
	"INSERT INTO hotswap.tier_quota (tier, resource, amount) SELECT t.tier, r.resource, r.amount"
	" FROM (VALUES ('free', 1, 1, 10, 1, 0), ('starter', 5, 10, 100, 3, 5),"
	" ('professional', 25, 50, 500, 10, 25), ('enterprise', 100, 500, 5000, 50, 100))"
	" t (tier, websites, storage, bandwidth, deployments, domains)"
	" CROSS JOIN LATERAL (VALUES ('websites', t.websites), ('storage_gb', t.storage),"
	" ('bandwidth_gb', t.bandwidth), ('concurrent_deployments', t.deployments),"
	" ('custom_domains', t.domains)) r (resource, amount) ON CONFLICT DO NOTHING");

static DbStatement insert_usual_subdomains = DB_STATEMENT0(
	"INSERT INTO hotswap.reserved_subdomain (name) SELECT pg_catalog.unnest('{www, api, admin, app, cdn, ftp,"
	" mail, smtp, pop, imap, webmail, ns, ns1, ns2, dns, status, help, support, docs, blog, forum, shop,"
	" store, assets, static, images, img, files, downloads, dev, staging, test, qa, demo, sandbox}'::text[])"
	" ON CONFLICT DO NOTHING");

static DbStatement insert_default_tenant =
	DB_STATEMENT("INSERT INTO hotswap.tenant (id, name, status, tier)"
				 " VALUES ($1, 'default', 'active', 'custom') ON CONFLICT DO NOTHING",
				 UUIDOID);

static void
make_rows(void)
{
	pg_uuid_t default_tenant = tenant_default();
	Datum args[] = { UUIDPGetDatum(&default_tenant) };

	(void) db_run(&insert_usual_tiers, NULL, NULL);
	(void) db_run(&insert_usual_resources, NULL, NULL);
	(void) db_run(&insert_usual_quotas, NULL, NULL);
	(void) db_run(&insert_usual_subdomains, NULL, NULL);
	(void) db_run(&insert_default_tenant, args, NULL);
	tenant_make_environments(&default_tenant);
}

/* Inside a scope: makes the rows that every installation needs, where they are missing. */
void
installation_ensure(void)
{
	Datum here[] = { Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId) };

	if (kept_run(&installation, NULL) > 0)
		return;
	completeness_require();
	if (db_run(&insert_installation, here, NULL) == 0)
		return; /* somebody else did */
	make_rows();
	audit_partition_make();
	wake_reload();
}

/*
 * Inside a scope: nobody else changes what concerns the whole installation until the transaction
 * ends.
 */
void
installation_lock(void)
{
	installation_ensure();
	(void) db_run(&lock_installation, NULL, NULL);
}

/* Such a change is recorded as an event of the tenant "default"; the installation row is locked. */
void
installation_audit(const AuditActor *actor, const char *event, const char *before,
				   const char *after, const char *reason, Jsonb *detail)
{
	pg_uuid_t default_tenant = tenant_default();

	audit_tenant(actor, &default_tenant, event, before, after, reason, detail);
}

/* Inside a scope: may this database dispatch? */
DispatchState
installation_dispatch_state(void)
{
	if (kept_run(&installation, NULL) == 0)
		return DISPATCH_NOTHING;
	if (db_int64(0, 1) != (int64) GetSystemIdentifier() || (Oid) db_int32(0, 2) != MyDatabaseId)
		return DISPATCH_FOREIGN;
	return db_isnull(0, 3) ? DISPATCH_ALLOWED : DISPATCH_STOPPED;
}
