/*
 * held.c
 *		Versions that a rollback takes back are held: they do not come to the environment again before somebody
 *		says so.  They are from the moment on at which the rollback starts to act, in the same transaction.
 *
 * The caller holds the lock on the deployment's row.  Locks the rows of held versions briefly.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/release.h"
#include "pipeline/held.h"
#include "utils/builtins.h"

static DbStatement insert_held = DB_STATEMENT(
	"INSERT INTO hotswap.held_version (tenant_id, environment, module, version, held_at, held_by,"
	" deployment_id, reason) SELECT $1, d.environment, $3, v.version, pg_catalog.now(),"
	" d.requested_by, d.id, d.reason FROM hotswap.deployment d"
	" CROSS JOIN unnest($4) v (version) WHERE d.tenant_id = $1 AND d.id = $2 AND NOT EXISTS ("
	"SELECT FROM hotswap.deployment b WHERE b.tenant_id = $1 AND b.id = d.rolls_back"
	" AND b.kind = 'bring_up')"
	" ON CONFLICT (tenant_id, environment, module, version) DO UPDATE SET held_at = excluded.held_at,"
	" held_by = excluded.held_by, deployment_id = excluded.deployment_id, reason = excluded.reason",
	UUIDOID, UUIDOID, TEXTOID, TEXTARRAYOID);

static DbStatement delete_held =
	DB_STATEMENT("DELETE FROM hotswap.held_version WHERE tenant_id = $1 AND environment = $2"
				 " AND module = $3 AND version = ANY ($4)",
				 UUIDOID, TEXTOID, TEXTOID, TEXTARRAYOID);

/* What goes back of a module on some node. */
static List *
versions_taken_back(const PlanTarget *target, List *plans)
{
	List *versions = NIL;
	ListCell *cell;

	foreach (cell, plans)
	{
		ListCell *s;

		foreach (s, ((NodePlan *) lfirst(cell))->steps)
		{
			const Step *step = lfirst(s);

			if (strcmp(step->module, target->module) != 0)
				continue;
			/* a complete version may go by another one's deploy script */
			if (!step->is_graph)
				return list_make1(target->version);
			if (step->direction == STEP_DOWN)
				versions = lappend(versions, step->version);
		}
	}
	return arg_sort_names(versions);
}

/*
 * A rollback begins: what it takes back is held.  That one node has been brought up says nothing of the others,
 * which run the same.
 */
void
held_add(const Deployment *d, List *plans)
{
	ListCell *cell;

	foreach (cell, deployment_targets(d))
	{
		const PlanTarget *target = lfirst(cell);
		List *versions = versions_taken_back(target, plans);
		DbArgs args = db_args(&insert_held);

		db_arg_uuid(&args, &d->tenant);
		db_arg_uuid(&args, &d->id);
		db_arg_text(&args, target->module);
		db_arg_datum(&args, TEXTARRAYOID, db_text_array(versions), false);
		(void) db_run_args(&args);
	}
}

/* A deployment brings held versions again, as it was told to: what its version consists of is held no more. */
void
held_remove(const Deployment *d, const char *environment)
{
	ListCell *cell;

	foreach (cell, deployment_targets(d))
	{
		const PlanTarget *target = lfirst(cell);
		List *versions = plan_ancestry(&d->tenant, target->module, target->version);
		DbArgs args = db_args(&delete_held);

		db_arg_uuid(&args, &d->tenant);
		db_arg_text(&args, environment);
		db_arg_text(&args, target->module);
		db_arg_datum(&args, TEXTARRAYOID, db_text_array(versions), false);
		(void) db_run_args(&args);
	}
}
