/*
 * failed_rollback.c
 *		Deployments whose rollback failed, and whether that has been dealt with.
 *
 * A row stands for an environment whose nodes run different versions.  It is there as long as its
 * deployment is rollback_failed and its tenant is not deleted, and counts until somebody acknowledges it,
 * or a later deployment of its modules has brought their versions to every node there.
 *
 * The caller holds the lock on the deployment's row; the rows of others' failed rollbacks are locked
 * briefly, at the end of a deployment.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/kept.h"
#include "catalog/pg_type.h"
#include "core/failed_rollback.h"
#include "core/machine.h"
#include "core/release.h"
#include "utils/builtins.h"

static DbStatement insert_failed = DB_STATEMENT(
	"INSERT INTO hotswap.failed_rollback (tenant_id, deployment_id, module, environment, failed_at)"
	" VALUES ($1, $2, $3, $4, pg_catalog.now()) ON CONFLICT (tenant_id, deployment_id) DO UPDATE"
	" SET failed_at = excluded.failed_at, put_right_by = NULL, acknowledged_at = NULL",
	UUIDOID, UUIDOID, TEXTOID, TEXTOID);

static DbStatement delete_failed =
	DB_STATEMENT("DELETE FROM hotswap.failed_rollback WHERE tenant_id = $1 AND deployment_id = $2",
				 UUIDOID, UUIDOID);

static DbStatement acknowledge_failed =
	DB_STATEMENT("UPDATE hotswap.failed_rollback SET acknowledged_at = pg_catalog.now()"
				 " WHERE tenant_id = $1 AND deployment_id = $2"
				 " AND acknowledged_at IS NULL AND put_right_by IS NULL",
				 UUIDOID, UUIDOID);

static DbStatement read_put_right_by =
	DB_STATEMENT("SELECT put_right_by FROM hotswap.failed_rollback"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND put_right_by IS NOT NULL",
				 UUIDOID, UUIDOID);

#define ITS_TARGETS TARGETS_OF("d")

/* Of its target a deployment is only sure when it has succeeded; what it passed it is through with. */
static DbStatement put_right =
	DB_STATEMENT("UPDATE hotswap.failed_rollback f SET put_right_by = $2 FROM hotswap.stage s"
				 " WHERE f.tenant_id = $1 AND NOT EXISTS (SELECT FROM hotswap.deployment d"
				 " CROSS JOIN LATERAL " ITS_TARGETS
				 " t WHERE d.tenant_id = $1 AND d.id = f.deployment_id"
				 " AND t.module <> ALL ($3)) AND f.deployment_id <> $2 AND s.tenant_id = $1"
				 " AND s.deployment_id = $2 AND s.kind = 'deploy' AND s.environment = f.environment"
				 " AND s.status IN ('succeeded', 'skipped') AND s.finished_at > f.failed_at"
				 " AND (s.environment <> $4 OR $5)",
				 UUIDOID, UUIDOID, TEXTARRAYOID, TEXTOID, BOOLOID);

static DbStatement any_failed =
	DB_STATEMENT("SELECT FROM hotswap.failed_rollback WHERE tenant_id = $1 LIMIT 1", UUIDOID);

static Kept any = KEPT(any_failed, "failed_rollback");

void
failed_rollback_add(const Deployment *d, const char *environment)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 CStringGetTextDatum(d->module), CStringGetTextDatum(environment) };

	(void) db_run(&insert_failed, args, NULL);
}

/* It is being rolled back again. */
void
failed_rollback_remove(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };

	(void) db_run(&delete_failed, args, NULL);
}

/* False if there is none that is still to be dealt with. */
bool
failed_rollback_acknowledge(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };

	return db_run(&acknowledge_failed, args, NULL) > 0;
}

/* Has a later deployment put the nodes right, and which? */
bool
failed_rollback_put_right_by(const Deployment *d, pg_uuid_t *other)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };

	if (db_run(&read_put_right_by, args, NULL) == 0)
		return false;
	*other = db_uuid(0, 1);
	return true;
}

/* A deployment that was started has ended: where it was successful, it has put right what others left. */
void
failed_rollback_put_right(const Deployment *d)
{
	Datum args[] = {
		UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
		db_text_array(target_modules(deployment_targets(d))), CStringGetTextDatum(d->environment),
		BoolGetDatum(d->status == DEPLOYMENT_SUCCEEDED && d->all_nodes && d->nodes_behind == 0)
	};

	if (kept_run(&any, args) > 0)
		(void) db_run(&put_right, args, NULL);
}
