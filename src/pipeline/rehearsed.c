/*
 * rehearsed.c
 *		The end of a rehearsal: the outbox says what it has locked, and deployments that wait for it look again.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/notification.h"
#include "pipeline/rehearsed.h"
#include "utils/builtins.h"

/* The lock that was in the way of others for the longest time. */
static DbStatement longest_query = DB_STATEMENT(
	"SELECT l.mode, l.relation, n.name, l.held_ms::bigint FROM hotswap.rehearsal r"
	" CROSS JOIN LATERAL jsonb_to_recordset(r.locks) l (relation text, mode text, held_ms numeric)"
	" JOIN hotswap.node n ON n.tenant_id = $1 AND n.id = r.node_id"
	" WHERE r.tenant_id = $1 AND r.deployment_id = $2"
	" ORDER BY l.mode = 'AccessExclusiveLock' DESC, l.held_ms DESC, l.relation LIMIT 1",
	UUIDOID, UUIDOID);

static DbStatement parked_query =
	DB_STATEMENT("SELECT d.id FROM hotswap.work_item w CROSS JOIN LATERAL"
				 " (SELECT * FROM hotswap.deployment d"
				 " WHERE d.tenant_id = w.tenant_id AND d.id = w.deployment_id OFFSET 0) d"
				 " WHERE w.tenant_id = $1 AND d.module = $2 AND d.status = 'pending_approval'",
				 UUIDOID, TEXTOID);

/* What was locked for the longest time, in words. */
static char *
longest_lock(const Visit *v)
{
	Datum args[] = { UUIDPGetDatum(&v->d.tenant), UUIDPGetDatum(&v->d.id) };

	if (db_run(&longest_query, args, NULL) == 0)
		return pstrdup("it has locked nothing that was there before");
	return psprintf("its longest lock was %s on %s of node \"%s\", for " INT64_FORMAT " ms",
					db_text(0, 1), db_text(0, 2), db_text(0, 3), db_int64(0, 4));
}

void
rehearsed_tell(Visit *v)
{
	Datum args[] = { UUIDPGetDatum(&v->d.tenant), CStringGetTextDatum(v->d.module) };
	uint64 n;

	notification_add(&v->d, v->d.environment, "rehearsed", list_make1(v->d.requested_by),
					 longest_lock(v));
	n = db_run(&parked_query, args, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		pg_uuid_t id = db_uuid(i, 1);

		visit_report(v, &v->result->waited_for_it, &id, sizeof(id));
	}
}
