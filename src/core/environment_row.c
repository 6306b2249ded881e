/*
 * environment_row.c
 *		The row of an environment: that it is there, locked, and what it says changed.
 *
 * Locks: the environment's row, where it says so.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/environment_row.h"
#include "core/missing.h"
#include "utils/builtins.h"

#define FIND "SELECT 1 FROM hotswap.environment WHERE tenant_id = $1 AND name = $2"

static DbStatement find_environment = DB_STATEMENT(FIND, UUIDOID, TEXTOID);

static DbStatement lock_environment = DB_STATEMENT(FIND " FOR NO KEY UPDATE", UUIDOID, TEXTOID);

static void
run_existing(DbStatement *statement, const pg_uuid_t *tenant, const char *name)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(name) };

	if (db_run(statement, args, NULL) == 0)
		environment_refuse_missing(tenant, name);
}

void
environment_require(const pg_uuid_t *tenant, const char *name)
{
	run_existing(&find_environment, tenant, name);
}

void
environment_lock(const pg_uuid_t *tenant, const char *name)
{
	run_existing(&lock_environment, tenant, name);
}

char *
environment_settings(const pg_uuid_t *tenant, const char *name, DbStatement *lock)
{
	run_existing(lock, tenant, name);
	return db_text(0, 1);
}

bool
environment_change(const Call *c, const pg_uuid_t *tenant, const char *name, const char *before,
				   DbArgs *update, const char *event)
{
	char *after;

	(void) db_run_args(update);
	after = db_text(0, 1);
	if (strcmp(before, after) == 0)
		return false;
	audit_tenant(&c->actor, tenant, event, before, after, NULL,
				 audit_detail("environment", name, NULL));
	return true;
}
