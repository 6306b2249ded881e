/*
 * rehearsal_right.c
 *		What may be rehearsed, and what must have been.
 *
 * A rehearsal counts for a node if it has succeeded, in this environment and in the last 24 hours, ran there the
 * same steps, and began where the node is now: what came to it in between and went again does not matter, but
 * for a release, of which several modules would have to be looked at.  Steps
 * that cannot be rehearsed, since they run outside of transactions, are not asked for.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/columns.h"
#include "core/plan.h"
#include "core/rehearsal_right.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static DbStatement free_query =
	DB_STATEMENT("SELECT min_approvals = 0 OR rehearse_without_approval FROM hotswap.environment"
				 " WHERE tenant_id = $1 AND name = $2",
				 UUIDOID, TEXTOID);

static DbStatement required_query = DB_STATEMENT(
	"SELECT require_rehearsal FROM hotswap.environment WHERE tenant_id = $1 AND name = $2", UUIDOID,
	TEXTOID);

/* What a node ran of the module after a swap. */
#define STATE_AFTER(swap_)                                                                     \
	"(SELECT (coalesce(m.heads, ARRAY[m.version]), m.digest)::text FROM hotswap.node_module m" \
	" WHERE m.tenant_id = $1 AND m.node_id = p.node AND m.module = $3 AND m.swap = " swap_ ")"

static DbStatement missing_query = DB_STATEMENT(
	"SELECT n.name FROM unnest($4, $5, $6) p (node, digest, swap)"
	" JOIN hotswap.node n ON n.tenant_id = $1 AND n.id = p.node WHERE NOT EXISTS ("
	"SELECT FROM hotswap.rehearsal r CROSS JOIN LATERAL (SELECT FROM hotswap.deployment d"
	" WHERE d.tenant_id = $1 AND d.id = r.deployment_id AND d.status = 'succeeded'"
	" AND d.environment = $2 OFFSET 0) d"
	" CROSS JOIN LATERAL (SELECT FROM hotswap.task t WHERE t.tenant_id = $1"
	" AND t.deployment_id = r.deployment_id AND t.node_id = p.node AND t.kind = 'swap'"
	" AND t.plan_digest = p.digest"
	" AND t.finished_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(hours => 24)"
	" AND (t.swap_from = p.swap OR NOT $7 AND " STATE_AFTER("t.swap_from") " IS NOT DISTINCT FROM " STATE_AFTER(
		"p.swap") ") OFFSET 0) t"
				  " WHERE r.tenant_id = $1 AND r.node_id = p.node AND r.step = 1)"
				  " ORDER BY n.name LIMIT 1",
	UUIDOID, TEXTOID, TEXTOID, UUIDARRAYOID, BYTEAARRAYOID, INT8ARRAYOID, BOOLOID);

/* The first of its steps that runs outside of transactions, or NULL. */
static const Step *
outside_step(const NodePlan *p)
{
	ListCell *cell;

	foreach (cell, p->steps)
		if (!((Step *) lfirst(cell))->transactional)
			return lfirst(cell);
	return NULL;
}

void
rehearsal_require_possible(List *plans)
{
	ListCell *cell;

	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);
		const Step *step = p->outcome == NODE_RUNS && !p->is_agent ? outside_step(p) : NULL;

		if (step)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("version \"%s\" of module \"%s\" cannot be rehearsed on node \"%s\"",
							step->version, step->module, p->name),
					 errdetail("It runs outside of transactions: nothing would take it back."),
					 errhint("Rehearse the versions before it, and try this one in an environment"
							 " of lower rank.")));
	}
}

bool
rehearsal_is_free(const pg_uuid_t *tenant, const char *environment)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment) };

	return db_run_newest(&free_query, args, NULL) > 0 && db_bool(0, 1);
}

/* A row for each node that must have been rehearsed on. */
static Columns *
rows_of_plans(List *plans, const Oid *types, int count)
{
	Columns *rows = columns_make(types, count);
	ListCell *cell;

	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);
		uint8 *digest = palloc(DIGEST_LENGTH);

		/* nothing takes back what an agent does */
		if (p->outcome != NODE_RUNS || p->is_agent || outside_step(p))
			continue;
		plan_digest(p->steps, digest);
		columns_add_row(rows);
		columns_put_uuid(rows, 0, &p->node);
		columns_put(rows, 1, digest_datum(digest), false);
		columns_put(rows, 2, Int64GetDatum(p->swap_from), false);
	}
	return rows;
}

char *
rehearsal_missing(const Deployment *d, const char *environment, List *plans)
{
	static const Oid types[] = { UUIDOID, BYTEAOID, INT8OID };
	MemoryContext context = CurrentMemoryContext;
	Datum key[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(environment) };
	DbArgs args = db_args(&missing_query);
	Columns *rows;

	/* what goes back, or only says what is there, is in a hurry or runs nothing; others run it here already */
	if (d->kind != KIND_DEPLOY || db_run_newest(&required_query, key, NULL) == 0 || !db_bool(0, 1))
		return NULL;
	MemoryContextSwitchTo(context);
	rows = rows_of_plans(plans, types, lengthof(types));
	db_arg_uuid(&args, &d->tenant);
	db_arg_text(&args, environment);
	db_arg_text(&args, d->module);
	for (int i = 0; i < (int) lengthof(types); i++)
		db_arg_datum(&args, get_array_type(types[i]), columns_array(rows, i), false);
	db_arg_bool(&args, d->release != NULL);
	return db_run_args(&args) > 0 ? db_text(0, 1) : NULL;
}
