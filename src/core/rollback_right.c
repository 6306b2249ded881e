/*
 * rollback_right.c
 *		Does a rollback need an approval?
 *
 * It takes back what came with the deployment, by the revert scripts of these versions: who approved it has
 * approved them.  So it goes without, if that was not long ago, votes decided it (or somebody has looked at the
 * bypass since), and no node goes back to what was declared, which nobody approved.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/plan.h"
#include "core/rollback_right.h"

static DbStatement right_query = DB_STATEMENT(
	"SELECT e.min_approvals = 0, NOT e.rollback_needs_approval"
	" AND d.finished_at + e.rollback_within > pg_catalog.clock_timestamp()"
	" AND EXISTS (SELECT FROM hotswap.approval a WHERE a.tenant_id = $1 AND a.deployment_id = $2"
	" AND a.environment = d.environment AND " APPROVAL_COUNTS(
		"a") ")"
			 " FROM hotswap.deployment d JOIN hotswap.environment e ON e.tenant_id = $1"
			 " AND e.name = d.environment WHERE d.tenant_id = $1 AND d.id = $2",
	UUIDOID, UUIDOID);

bool
rollback_is_free(const pg_uuid_t *tenant, const pg_uuid_t *deployment, List *plans)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(deployment) };
	ListCell *cell;

	if (db_run_newest(&right_query, args, NULL) == 0)
		return false;
	if (db_bool(0, 1))
		return true;
	if (!db_bool(0, 2))
		return false;
	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);

		if (p->outcome == NODE_RUNS && p->from_declared)
			return false;
	}
	return true;
}
