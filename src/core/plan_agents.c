/*
 * plan_agents.c
 *		What agents are left out of: releases and rehearsals.
 *
 * The modules of a release come to a node in one transaction, and what is rehearsed is taken back: an agent does
 * neither.  A release that has something for an agent is whole only if the agent runs that already; and what is for
 * agents alone cannot be rehearsed.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/plan.h"
#include "utils/builtins.h"

/* The first of the artifacts of a release that a node of the environment does not run. */
static DbStatement lacking_query = DB_STATEMENT(
	"SELECT DISTINCT ON (n.name) n.id, n.name, m.module, m.version FROM hotswap.node n"
	" JOIN hotswap.release_module m ON m.tenant_id = $1 AND m.release = $2"
	" JOIN hotswap.module_version v ON v.tenant_id = $1 AND v.module = m.module"
	" AND v.version = m.version AND v.artifact_digest IS NOT NULL"
	" LEFT JOIN LATERAL (SELECT nm.version FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
	" AND nm.node_id = n.id AND nm.module = m.module ORDER BY nm.swap DESC LIMIT 1) r ON true"
	" WHERE n.tenant_id = $1 AND n.environment = $3 AND n.removed_at IS NULL AND n.kind = 'agent'"
	" AND ($4 IS NULL OR n.id = ANY ($4)) AND r.version IS DISTINCT FROM m.version"
	" ORDER BY n.name, m.module",
	UUIDOID, TEXTOID, TEXTOID, UUIDARRAYOID);

static DbStatement artifact_query =
	DB_STATEMENT("SELECT FROM hotswap.module_version WHERE tenant_id = $1 AND module = $2"
				 " AND version = $3 AND artifact_digest IS NOT NULL",
				 UUIDOID, TEXTOID, TEXTOID);

static NodePlan *
blocked_agent(uint64 row)
{
	NodePlan *p = palloc0(sizeof(NodePlan));
	char *module = db_text(row, 3);
	char *version = db_text(row, 4);

	p->node = db_uuid(row, 1);
	p->name = db_text(row, 2);
	p->is_agent = true;
	plan_block(p,
			   psprintf("node \"%s\" has an agent, which takes no release, and does not run version"
						" \"%s\" of module \"%s\"",
						p->name, version, module),
			   psprintf("Deploy version \"%s\" of module \"%s\" there by itself first", version,
						module));
	return p;
}

List *
plan_blocked_agents(const PlanRequest *request)
{
	MemoryContext context = CurrentMemoryContext;
	DbArgs args = db_args(&lacking_query);
	List *plans = NIL;
	uint64 n;

	if (request->is_rehearsal)
		return NIL;
	db_arg_uuid(&args, request->tenant);
	db_arg_text(&args, request->release);
	db_arg_text(&args, request->environment);
	db_arg_datum(&args, UUIDARRAYOID, request->nodes, request->all_nodes);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
		plans = lappend(plans, blocked_agent(i));
	return plans;
}

void
plan_refuse_rehearsal_by_agents(const Deployment *d, List *plans)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), 0, 0 };

	if (plans != NIL || d->release)
		return;
	args[1] = CStringGetTextDatum(d->module);
	args[2] = CStringGetTextDatum(d->version);
	if (db_run(&artifact_query, args, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("version \"%s\" of module \"%s\" cannot be rehearsed in environment \"%s\"",
						d->version, d->module, d->environment),
				 errdetail("It is for agents there: nothing would take back what they do."),
				 errhint("Try it in an environment of lower rank.")));
}
