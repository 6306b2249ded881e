/*
 * tenant.c
 *		Tenants, and the installation: which database this is, and whether the line is stopped.
 *
 * The rows that every installation needs (tiers, resources, reserved subdomains, the tenant
 * "default", its environments, the row of hotswap.installation) are made at the first call that writes something, not by the install
 * script: pg_dump dumps the script's tables with all their rows, and a row that both the script and
 * the dump bring would make the restore fail.  It also means that the tables of a database that is
 * just being restored hold no installation row that fits, so that nothing is dispatched from it.
 *
 * Locks: installation row before tenant row before a tenant's activity (tenant_close()).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/errors.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/audit.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "operations/retention.h"
#include "shm/advisory.h"
#include "shm/wakeup.h"
#include "tenant/subdomain.h"
#include "tenant/tier.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(hotswap_adopt);
PG_FUNCTION_INFO_V1(hotswap_stop_dispatching);
PG_FUNCTION_INFO_V1(hotswap_start_dispatching);

/* The tenant "default" has the same id everywhere, so that it can be named without a look-up. */
static const pg_uuid_t default_tenant = { { 0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0,
											1 } };

static DbStatement insert_installation = DB_STATEMENT(
	"INSERT INTO hotswap.installation (system_identifier, database_oid) VALUES ($1, $2)"
	" ON CONFLICT DO NOTHING",
	INT8OID, OIDOID);

static DbStatement insert_default_tenant =
	DB_STATEMENT("INSERT INTO hotswap.tenant (id, name, status, tier)"
				 " VALUES ($1, 'default', 'active', 'custom') ON CONFLICT DO NOTHING",
				 UUIDOID);

static DbStatement insert_environments = DB_STATEMENT(
	"INSERT INTO hotswap.environment (tenant_id, name, rank, strategy, revert_on_failure, min_approvals)"
	" SELECT $1, e.name, e.rank, 'direct', true, e.min_approvals FROM (VALUES ('development', 10, 0),"
	" ('qa', 20, 0), ('staging', 30, 1), ('production', 40, 1)) e (name, rank, min_approvals)"
	" ON CONFLICT DO NOTHING",
	UUIDOID);

static DbStatement read_installation =
	DB_STATEMENT0("SELECT system_identifier, database_oid, stop_reason FROM hotswap.installation");

static DbStatement lock_installation =
	DB_STATEMENT0("SELECT system_identifier, database_oid, stop_reason FROM hotswap.installation"
				  " FOR NO KEY UPDATE");

static DbStatement update_owner =
	DB_STATEMENT("UPDATE hotswap.installation SET system_identifier = $1, database_oid = $2",
				 INT8OID, OIDOID);

static DbStatement update_stop = DB_STATEMENT(
	"UPDATE hotswap.installation SET stop_reason = $1, stopped_by = $2, stopped_at = pg_catalog.now()",
	TEXTOID, TEXTOID);

static DbStatement clear_stop = DB_STATEMENT0(
	"UPDATE hotswap.installation SET stop_reason = NULL, stopped_by = NULL, stopped_at = NULL");

static DbStatement read_tenant =
	DB_STATEMENT("SELECT status FROM hotswap.tenant WHERE id = $1 FOR KEY SHARE", UUIDOID);

static DbStatement read_status =
	DB_STATEMENT("SELECT status FROM hotswap.tenant WHERE id = $1", UUIDOID);

static DbStatement lock_tenant =
	DB_STATEMENT("SELECT status FROM hotswap.tenant WHERE id = $1 FOR NO KEY UPDATE", UUIDOID);

/* The tenant of the setting hotswap.tenant, or the default one. */
pg_uuid_t
tenant_current(void)
{
	if (hotswap_tenant == NULL || hotswap_tenant[0] == '\0')
		return default_tenant;
	return *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(hotswap_tenant)));
}

pg_uuid_t
tenant_default(void)
{
	return default_tenant;
}

/* The tenant of an argument, where NULL means tenant_current(). */
pg_uuid_t
tenant_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? tenant_current() : *PG_GETARG_UUID_P(n);
}

bool
tenant_is_default(const pg_uuid_t *tenant)
{
	return uuid_equal(tenant, &default_tenant);
}

pg_noreturn static void
refuse_missing(const pg_uuid_t *tenant)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND), errmsg("no such tenant: %s", uuid_text(tenant))));
}

/* Raises P0002 (status NULL: there is no such tenant) or YH003. */
void
tenant_require_active(const pg_uuid_t *tenant, const char *status)
{
	if (status == NULL)
		refuse_missing(tenant);
	if (strcmp(status, "active") != 0)
		ereport(ERROR, (errcode(ERRCODE_HOTSWAP_TENANT_NOT_ACTIVE),
						errmsg("tenant %s is not active", uuid_text(tenant)),
						errdetail("It is %s.", status)));
}

/* Looks a tenant up inside a scope, keeps it from being removed, and requires it to be active. */
void
tenant_lock_active(const pg_uuid_t *tenant)
{
	Datum args[] = { UUIDPGetDatum(tenant) };

	tenant_require_active(tenant, db_run(&read_tenant, args, NULL) ? db_text(0, 1) : NULL);
}

/* Locks a tenant's row against other changes of the tenant; returns its status. */
const char *
tenant_lock(const pg_uuid_t *tenant)
{
	Datum args[] = { UUIDPGetDatum(tenant) };

	if (db_run(&lock_tenant, args, NULL) == 0)
		refuse_missing(tenant);
	return db_text(0, 1);
}

/*
 * The same for whoever changes what belongs to the tenant and will record it with audit_tenant():
 * taken before any other lock, so that two such changes follow one another instead of deadlocking.
 */
void
tenant_lock_for_change(const pg_uuid_t *tenant)
{
	tenant_require_active(tenant, tenant_lock(tenant));
}

/* The same for what may be changed as long as the tenant is not about to go. */
void
tenant_lock_living(const pg_uuid_t *tenant)
{
	const char *status = tenant_lock(tenant);

	if (strcmp(status, "deprovisioning") == 0 || strcmp(status, "deleted") == 0)
		tenant_require_active(tenant, status);
}

static void
lock_activity(const pg_uuid_t *tenant, LOCKMODE mode)
{
	LOCKTAG tag;

	lock_tag(&tag, LOCK_TENANT, tenant, UUID_LEN);
	(void) LockAcquire(&tag, mode, false, false);
}

/*
 * Whoever is about to request something of a tenant enters before it looks at the tenant's status,
 * with the newest snapshot: up to the end of the transaction the tenant is not deprovisioned.  An
 * advisory lock, which many share without writing anything, rather than a lock of the row.
 */
void
tenant_enter(const pg_uuid_t *tenant)
{
	lock_activity(tenant, ShareLock);
}

/* Enters, and requires the tenant to be active. */
void
tenant_enter_active(const pg_uuid_t *tenant)
{
	Datum args[] = { UUIDPGetDatum(tenant) };
	bool found;

	tenant_enter(tenant);
	found = db_run_snapshot(&read_status, args, GetLatestSnapshot()) > 0;
	tenant_require_active(tenant, found ? db_text(0, 1) : NULL);
}

/*
 * Waits until everybody who has entered is through, and keeps others from entering; what they have
 * requested is then there to be seen, and whoever comes later sees the status that is written now.
 */
void
tenant_close(const pg_uuid_t *tenant)
{
	lock_activity(tenant, ExclusiveLock);
}

/* Inside a scope: the environments that a tenant begins with. */
void
tenant_make_environments(const pg_uuid_t *tenant)
{
	Datum args[] = { UUIDPGetDatum(tenant) };

	(void) db_run(&insert_environments, args, NULL);
}

/* Inside a scope: makes the rows that every installation needs, where they are missing. */
void
installation_ensure(void)
{
	Datum here[] = { Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId) };
	Datum tenant[] = { UUIDPGetDatum(&default_tenant) };

	if (db_run(&read_installation, NULL, NULL) > 0)
		return;
	if (db_run(&insert_installation, here, NULL) == 0)
		return; /* somebody else did */
	tier_install();
	subdomain_install();
	(void) db_run(&insert_default_tenant, tenant, NULL);
	tenant_make_environments(&default_tenant);
	retention_partitions();
	wake_reload();
}

/* Inside a scope: nobody else changes what concerns the whole installation until the transaction ends. */
void
installation_lock(void)
{
	installation_ensure();
	(void) db_run(&lock_installation, NULL, NULL);
}

/* Such a change is recorded as an event of the tenant "default"; the installation row is locked. */
void
installation_audit(const AuditActor *actor, const char *event, const char *before,
				   const char *after, Jsonb *detail)
{
	audit_tenant(actor, &default_tenant, event, before, after, NULL, detail);
}

/* Inside a scope: may this database dispatch? */
DispatchState
installation_dispatch_state(void)
{
	if (db_run(&read_installation, NULL, NULL) == 0)
		return DISPATCH_NOTHING;
	if (db_int64(0, 1) != (int64) GetSystemIdentifier() || (Oid) db_int32(0, 2) != MyDatabaseId)
		return DISPATCH_FOREIGN;
	return db_isnull(0, 3) ? DISPATCH_ALLOWED : DISPATCH_STOPPED;
}

/* adopt(): this database may dispatch what it contains. */
Datum
hotswap_adopt(PG_FUNCTION_ARGS)
{
	Datum here[] = { Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId) };
	AuditActor actor;
	DbScope scope;

	audit_actor(&actor, NULL);
	db_enter(&scope);
	access_require_everywhere(scope.caller, CAPABILITY_ADMIN,
							  "adopt the deployments of this database");
	installation_lock();
	if (installation_dispatch_state() == DISPATCH_FOREIGN)
	{
		(void) db_run(&update_owner, here, NULL);
		installation_audit(&actor, "adopt", NULL, NULL, NULL);
		wake_reload();
	}
	db_leave(&scope);
	PG_RETURN_VOID();
}

/* stop_dispatching(reason text) */
Datum
hotswap_stop_dispatching(PG_FUNCTION_ARGS)
{
	char *reason = arg_text(fcinfo, 0, "reason", REASON_LIMIT);
	AuditActor actor;
	DbScope scope;
	Datum args[2];

	audit_actor(&actor, NULL);
	db_enter(&scope);
	access_require_everywhere(scope.caller, CAPABILITY_OPERATOR, "stop dispatching");
	installation_lock();
	args[0] = CStringGetTextDatum(reason);
	args[1] = CStringGetTextDatum(actor.person);
	(void) db_run(&update_stop, args, NULL);
	audit_tenant(&actor, &default_tenant, "stop_dispatching", NULL, NULL, reason, NULL);
	wake_reload();
	db_leave(&scope);
	PG_RETURN_VOID();
}

/* start_dispatching() */
Datum
hotswap_start_dispatching(PG_FUNCTION_ARGS)
{
	AuditActor actor;
	DbScope scope;

	audit_actor(&actor, NULL);
	db_enter(&scope);
	access_require_everywhere(scope.caller, CAPABILITY_OPERATOR, "start dispatching");
	if (db_run(&lock_installation, NULL, NULL) == 0 || db_isnull(0, 3))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("dispatching is not stopped in this database")));
	(void) db_run(&clear_stop, NULL, NULL);
	installation_audit(&actor, "start_dispatching", NULL, NULL, NULL);
	wake_reload();
	db_leave(&scope);
	PG_RETURN_VOID();
}
