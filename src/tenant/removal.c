/*
 * removal.c
 *		What ends with a tenant: its deployments when it is deprovisioned, the rest when it is
 *		deleted.
 *
 * Of a deleted tenant the audit log and, until retention removes them, its deployments remain, with
 * their stages, tasks, approvals and votes; and a row that says no more than that it was there.
 *
 * Locks: the tenant's row, then the deployments' rows in the order of their ids.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/deployment.h"
#include "deployment/cancel.h"
#include "tenant/removal.h"

#define BATCH 100 /* deployments whose memory is given back together */

/* $2: the last id of the batch before; OFFSET 0 keeps it a look-up by key for each */
static DbStatement next_deployments = DB_STATEMENT(
	"SELECT w.deployment_id, d.status FROM hotswap.work_item w CROSS JOIN LATERAL"
	" (SELECT d.status FROM hotswap.deployment d"
	" WHERE d.tenant_id = w.tenant_id AND d.id = w.deployment_id OFFSET 0) d"
	" WHERE w.tenant_id = $1 AND w.deployment_id > $2 ORDER BY w.deployment_id LIMIT 100",
	UUIDOID, UUIDOID);

/* Waits for those who, without entering, rely on the tenant's being there (KEY SHARE). */
static DbStatement lock_for_removal =
	DB_STATEMENT("SELECT FROM hotswap.tenant WHERE id = $1 FOR UPDATE", UUIDOID);

static DbStatement anonymise = DB_STATEMENT(
	"UPDATE hotswap.tenant SET name = 'deleted', subdomain = NULL, contact_email = NULL,"
	" metadata = '{}' WHERE id = $1",
	UUIDOID);

#define DELETE_FROM(table) \
	DB_STATEMENT("DELETE FROM hotswap." table " WHERE tenant_id = $1", UUIDOID)

static DbStatement deletions[] = { DELETE_FROM("version_signature"),
								   DELETE_FROM("installer_signature"),
								   DELETE_FROM("signing_key"),
								   DELETE_FROM("environment_rule"),
								   DELETE_FROM("release_module"),
								   DELETE_FROM("release"),
								   DELETE_FROM("version_tag"),
								   DELETE_FROM("held_version"),
								   DELETE_FROM("rehearsal"),
								   DELETE_FROM("withdrawn_version"),
								   DELETE_FROM("module_version"),
								   DELETE_FROM("module"),
								   DELETE_FROM("failed_rollback"),
								   DELETE_FROM("statement"),
								   DELETE_FROM("rollout"),
								   DELETE_FROM("rollout_gate"),
								   DELETE_FROM("analysis"),
								   DELETE_FROM("pause"),
								   DELETE_FROM("route"),
								   DELETE_FROM("route_slot"),
								   DELETE_FROM("node_module"),
								   DELETE_FROM("node_metric"),
								   DELETE_FROM("node_pin"),
								   DELETE_FROM("node"),
								   DELETE_FROM("hook"),
								   DELETE_FROM("gate"),
								   DELETE_FROM("idempotency_key"),
								   DELETE_FROM("lease"),
								   DELETE_FROM("notification"),
								   DELETE_FROM("freeze_override"),
								   DELETE_FROM("environment_window"),
								   DELETE_FROM("approval_delegation"),
								   DELETE_FROM("access"),
								   DELETE_FROM("quota"),
								   DELETE_FROM("quota_usage"),
								   DELETE_FROM("environment") };

static void
cancel_one(const pg_uuid_t *tenant, const pg_uuid_t *id, const AuditActor *actor, char *reason,
		   bool running)
{
	Deployment d;

	/* it was there in the newest snapshot: the transaction's own is older */
	if (deployment_lock(&d, tenant, id, actor, false) == DEPLOYMENT_MISSING)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update"),
				 errdetail("Deployment \"%s\" was requested after the transaction's snapshot.",
						   uuid_text(id))));
	/* meanwhile it may have started, or have ended; what is being cancelled already goes on */
	if ((deployment_has_started(d.status) && !running) || d.cancel_requested_at != TIME_NULL ||
		!machine_allows(&deployment_machine, d.status, DEPLOYMENT_CANCEL))
		return;
	deployment_cancel(&d, reason);
}

/* One batch in a scope of its own, which gives its memory back; false at the end. */
static bool
cancel_batch(const pg_uuid_t *tenant, pg_uuid_t *last, const AuditActor *actor, char *reason,
			 bool running)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(last) };
	pg_uuid_t ids[BATCH];
	bool wanted[BATCH];
	DbScope scope;
	uint64 count;

	db_enter(&scope);
	count = db_run_newest(&next_deployments, args, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		ids[i] = db_uuid(i, 1);
		wanted[i] =
			running || !deployment_has_started(machine_parse(&deployment_machine, db_text(i, 2)));
	}
	for (uint64 i = 0; i < count; i++)
		if (wanted[i])
			cancel_one(tenant, &ids[i], actor, reason, running);
	if (count > 0)
		*last = ids[count - 1];
	db_leave(&scope);
	return count > 0;
}

/* Cancels what has not started, and what is running if that is wanted too. */
void
tenant_cancel_deployments(const pg_uuid_t *tenant, const AuditActor *actor, char *reason,
						  bool running)
{
	pg_uuid_t last = { { 0 } };

	while (cancel_batch(tenant, &last, actor, reason, running))
		;
}

/* Raises 55000 where a deployment has not ended. */
void
tenant_require_idle(const pg_uuid_t *tenant)
{
	pg_uuid_t id = { { 0 } };
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(&id) };

	if (db_run_newest(&next_deployments, args, NULL) == 0)
		return;
	id = db_uuid(0, 1);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("tenant \"%s\" has deployments that have not ended", uuid_text(tenant)),
			 errdetail("Deployment \"%s\" is in status \"%s\".", uuid_text(&id), db_text(0, 2)),
			 errhint("Wait for its end, or cancel it.")));
}

/* Removes or anonymises what retention does not keep. */
void
tenant_remove(const pg_uuid_t *tenant)
{
	Datum args[] = { UUIDPGetDatum(tenant) };

	(void) db_run(&lock_for_removal, args, NULL);
	for (int i = 0; i < (int) lengthof(deletions); i++)
		(void) db_run(&deletions[i], args, NULL);
	(void) db_run(&anonymise, args, NULL);
}
