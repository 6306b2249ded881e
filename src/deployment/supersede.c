/*
 * supersede.c
 *		What a deployment that supersedes others does to them: those that run in one of its lanes are
 *		cancelled when it is requested.
 *
 * What the cancelled one has swapped in the environment it is in stays where the new one goes on from it: its
 * path leads through there, to all nodes, and its version builds on what is there or replaces it as a whole.
 * Else the nodes go back first.  Environments before that one keep what they got, as after any cancel.
 *
 * One that starts after the look, and before the commit of the request, is not cancelled: whoever holds the
 * lane until then is, so that only its own end lets another one in.
 *
 * Locks: the rows of the deployments that are cancelled, in the order of their ids.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/names.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/path.h"
#include "core/plan.h"
#include "core/release.h"
#include "core/version_graph.h"
#include "deployment/cancel.h"
#include "deployment/supersede.h"
#include "utils/builtins.h"

/* What holds a lane of the path.  Rollbacks and their like are short, and nobody wants them broken off. */
static DbStatement running_query = DB_STATEMENT(
	"SELECT d.id FROM hotswap.work_item w CROSS JOIN LATERAL (SELECT * FROM hotswap.deployment d"
	" WHERE d.tenant_id = $1 AND d.id = w.deployment_id OFFSET 0) d"
	" WHERE w.tenant_id = $1 AND d.kind = 'deploy'"
	" AND EXISTS (SELECT FROM " TARGETS_OF(
		"d") " x WHERE x.module = ANY ($2))"
			 " AND d.status IN ('running', 'paused') AND EXISTS (SELECT FROM hotswap.stage s"
			 " WHERE s.tenant_id = $1 AND s.deployment_id = d.id AND s.kind = 'deploy'"
			 " AND s.environment = ANY ($3) AND (s.environment = d.environment"
			 " OR s.status NOT IN ('succeeded', 'skipped'))) ORDER BY d.id",
	UUIDOID, TEXTARRAYOID, TEXTARRAYOID);

/* The environment that it has swapped in: that of a deploy stage that runs, else the target. */
static DbStatement environment_query =
	DB_STATEMENT("SELECT coalesce((SELECT s.environment FROM hotswap.stage s WHERE s.tenant_id = $1"
				 " AND s.deployment_id = $2 AND s.kind = 'deploy' AND s.status = 'running'), $3)",
				 UUIDOID, UUIDOID, TEXTOID);

static DbStatement update_on_failure = DB_STATEMENT(
	"UPDATE hotswap.deployment SET on_failure = $3::hotswap.failure_action WHERE tenant_id = $1"
	" AND id = $2",
	UUIDOID, UUIDOID, TEXTOID);

static List *
find_running(const Request *r, List *path)
{
	List *modules = r->release ? target_modules(release_targets(&r->tenant, r->release)) :
								 list_make1(r->module);
	Datum args[] = { UUIDPGetDatum(&r->tenant), db_text_array(modules), db_text_array(path) };

	return db_uuid_rows(db_run_newest(&running_query, args, NULL));
}

/*
 * Does the request go on from what this one, which is locked, has swapped?  Of releases that is not asked: what
 * is half a release goes back.
 */
static bool
takes_over(const Request *r, List *path, List *ancestry, const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 CStringGetTextDatum(d->environment) };

	if (r->has_nodes || r->release || d->release ||
		(ancestry != NIL && !names_have(ancestry, d->version)))
		return false;
	(void) db_run_newest(&environment_query, args, NULL);
	return names_have(path, db_text(0, 1));
}

static void
end(const Request *r, Deployment *d, FailureAction nodes)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 CStringGetTextDatum(failure_action_label(nodes)) };

	(void) db_run(&update_on_failure, args, NULL);
	deployment_cancel(d, psprintf("superseded by deployment %s of %s \"%s\"", uuid_text(&r->id),
								  r->release ? "release" : "version",
								  r->release ? r->release : r->version));
}

void
supersede_running(const Request *r, const AuditActor *actor)
{
	List *path = r->only_target ? list_make1(r->environment) : path_of(&r->tenant, r->environment);
	List *ids = find_running(r, path);
	List *ancestry = NIL;
	ListCell *cell;

	/* complete versions have none: each replaces what is there */
	if (ids != NIL && r->release == NULL && graph_load(&r->tenant, r->module))
		ancestry = plan_ancestry(&r->tenant, r->module, r->version);
	foreach (cell, ids)
	{
		Deployment d;

		if (deployment_lock(&d, &r->tenant, lfirst(cell), actor, false) != DEPLOYMENT_FOUND ||
			(d.status != DEPLOYMENT_RUNNING && d.status != DEPLOYMENT_PAUSED) ||
			d.cancel_requested_at != TIME_NULL)
			continue;
		end(r, &d, takes_over(r, path, ancestry, &d) ? ON_FAILURE_STAY : ON_FAILURE_BACK);
	}
}
