/*
 * tenant.c
 *		Tenants: which one a call is about, and that it is there, active, and stays so.
 *
 * Locks: installation row before tenant row before a tenant's activity (tenant_close()).
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/db.h"
#include "base/errors.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "shm/advisory.h"
#include "utils/builtins.h"

/* The tenant "default" has the same id everywhere, so that it can be named without a look-up. */
static const pg_uuid_t default_tenant = { { 0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0,
											1 } };

static DbStatement insert_environments = DB_STATEMENT(
	"INSERT INTO hotswap.environment (tenant_id, name, rank, strategy, revert_on_failure, min_approvals)"
	" SELECT $1, e.name, e.rank, 'auto', true, e.min_approvals FROM hotswap.usual_environments e"
	" ON CONFLICT DO NOTHING",
	UUIDOID);

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
	ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
					errmsg("tenant \"%s\" does not exist", uuid_text(tenant))));
}

/* Raises P0002 (status NULL: there is no such tenant) or YH003. */
void
tenant_require_active(const pg_uuid_t *tenant, const char *status)
{
	if (status == NULL)
		refuse_missing(tenant);
	if (strcmp(status, "active") != 0)
		ereport(ERROR, (errcode(ERRCODE_HOTSWAP_TENANT_NOT_ACTIVE),
						errmsg("tenant \"%s\" is not active", uuid_text(tenant)),
						errdetail("It is in status \"%s\".", status)));
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
	(void) lock_wait_until(&tag, mode, false, DT_NOEND);
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
	found = db_run_newest(&read_status, args, NULL) > 0;
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
