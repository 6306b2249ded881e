/*
 * declare.c
 *		What a node runs is declared: set_node_version().
 *
 * For a database that has been there before hotswap, or that somebody has changed without it.  A declaration is a
 * deployment of its own kind, which runs the verify scripts of the versions and nothing else, so that it is
 * approved, audited and in its lane like any other.  It is about the node as it is now: if another deployment
 * comes to the node before it, it has no way any more.
 *
 * Locks: the tenant's activity (tenant_enter()).
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/installation.h"
#include "core/machine.h"
#include "core/missing.h"
#include "core/release.h"
#include "core/tenant.h"
#include "core/version_graph.h"
#include "deployment/request.h"
#include "fmgr.h"
#include "module/tag.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_set_node_version);

static DbStatement node_query = DB_STATEMENT(
	"SELECT n.name, n.environment, e.min_approvals > 0 FROM hotswap.node n"
	" JOIN hotswap.environment e ON e.tenant_id = n.tenant_id AND e.name = n.environment"
	" WHERE n.tenant_id = $1 AND n.id = $2 AND n.removed_at IS NULL",
	UUIDOID, UUIDOID);

static DbStatement find_version =
	DB_STATEMENT("SELECT 1 FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement find_routed =
	DB_STATEMENT("SELECT FROM hotswap.module WHERE tenant_id = $1 AND name = $2 AND routed",
				 UUIDOID, TEXTOID);

#define IS_ABOUT_MODULE IS_ABOUT("d", "$2")

/* Who has the lane: on the way to an environment, all those before it as well, until it is through with them. */
static DbStatement lane_query = DB_STATEMENT(
	"SELECT d.id FROM hotswap.work_item w CROSS JOIN LATERAL"
	" (SELECT * FROM hotswap.deployment d"
	" WHERE d.tenant_id = w.tenant_id AND d.id = w.deployment_id OFFSET 0) d"
	" JOIN hotswap.environment t ON t.tenant_id = $1 AND t.name = d.environment"
	" JOIN hotswap.environment e ON e.tenant_id = $1 AND e.name = $3"
	" WHERE w.tenant_id = $1 AND " IS_ABOUT_MODULE " AND d.status IN " STARTED_STATUSES
	" AND (d.environment = $3 OR (NOT d.only_target AND t.rank > e.rank AND NOT EXISTS ("
	"SELECT FROM hotswap.stage s WHERE s.tenant_id = $1 AND s.deployment_id = d.id"
	" AND s.kind = 'deploy' AND s.environment = $3 AND s.status IN ('succeeded', 'skipped'))))"
	" LIMIT 1",
	UUIDOID, TEXTOID, TEXTOID);

/* The versions without those that others of them build on, in the order of their publication. */
static List *
heads_of_graph(const VersionGraph *g, List *versions)
{
	List *indexes = NIL;
	List *heads = NIL;
	AppliedSet set;
	ListCell *cell;

	foreach (cell, versions)
		indexes = lappend_int(indexes, graph_find(g, lfirst(cell)));
	applied_begin(&set, g, indexes);
	foreach (cell, set.heads)
		heads = lappend(heads, g->versions[lfirst_int(cell)].name);
	return heads;
}

/* What is declared, as it is recorded; raises P0002, 22023. */
static List *
declared_heads(const Request *r, List *given)
{
	List *versions = version_resolve_all(&r->tenant, r->module, given);
	const VersionGraph *g;
	ListCell *cell;

	foreach (cell, versions)
	{
		Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->module),
						 CStringGetTextDatum(lfirst(cell)) };

		if (db_run_newest(&find_version, args, NULL) == 0)
			version_refuse_missing(r->module, lfirst(cell));
	}
	g = graph_load(&r->tenant, r->module);
	if (g)
		return heads_of_graph(g, versions);
	if (list_length(versions) > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"version\" must have one element"),
						errdetail("The versions of module \"%s\" are complete in themselves.",
								  r->module)));
	return versions;
}

static void
require_free_lane(const Request *r)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->module),
					 CStringGetTextDatum(r->environment) };
	pg_uuid_t other;

	if (db_run_newest(&lane_query, args, NULL) == 0)
		return;
	other = db_uuid(0, 1);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot declare what runs in environment \"%s\" while a deployment of module"
					" \"%s\" is running there",
					r->environment, r->module),
			 errdetail("It is deployment \"%s\".", uuid_text(&other)),
			 errhint("Wait for its end.")));
}

/* A version that is called through entries has to be in a slot: there is something to do for it. */
static void
require_direct(const Request *r)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->module) };

	if (db_run_newest(&find_routed, args, NULL) > 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot declare what runs of module \"%s\"", r->module),
						errdetail("It is routed: a version runs where it is installed."),
						errhint("Deploy the version.")));
}

/* Looks up what the request refers to. */
static void
check_references(Request *r, const pg_uuid_t *node, List *versions)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(&r->tenant), UUIDPGetDatum(node) };
	Datum id = UUIDPGetDatum(node);

	if (db_run_newest(&node_query, args, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("node \"%s\" does not exist", uuid_text(node))));
	MemoryContextSwitchTo(context);
	r->environment = db_text(0, 2);
	r->is_protected = db_bool(0, 3);
	r->nodes = uuid_array(&id, 1);
	r->has_nodes = true;
	r->heads = declared_heads(r, versions);
	r->version = llast(r->heads);
	require_direct(r);
	require_free_lane(r);
}

/*
 * set_node_version(node uuid, module text, version text[], reason text) returns the id of a deployment
 *
 * In: version: 1 to 100 versions or tags, of which the node is declared to run those that no other one of them
 * builds on, and what they build on; reason of 1 to 10,000 characters.  Errors: 22023; P0002 no such node or
 * version; 42501; 55000 a deployment of the lane is running, or
 * the module is routed; YH003.  Locks nothing; writes a deployment, its work
 * item, audit events, and, where the environment is protected, an approval.
 */
Datum
hotswap_set_node_version(PG_FUNCTION_ARGS)
{
	pg_uuid_t node = arg_uuid(fcinfo, 0, "node");
	List *versions = arg_names(fcinfo, 2, "version", VERSION_LIMIT);
	pg_uuid_t *result = palloc(sizeof(pg_uuid_t));
	char *module = arg_module(fcinfo, 1);
	char *reason = arg_text(fcinfo, 3, "reason", REASON_LIMIT);
	Request r;
	Call c;

	arg_require(fcinfo, 2, "version");
	if (versions == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"version\" must not be empty")));
	request_begin(&r, KIND_DECLARE, reason);
	r.module = module;
	call_begin(&c, &r.tenant, CAPABILITY_OPERATOR, "declare what a node runs");
	installation_ensure();
	tenant_enter_active(&r.tenant);
	check_references(&r, &node, versions);
	request_create(&r, &c.actor);
	call_end(&c);
	*result = r.id;
	PG_RETURN_UUID_P(result);
}
