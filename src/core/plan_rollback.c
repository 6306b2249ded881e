/*
 * plan_rollback.c
 *		What takes back a deployment that has ended, on each node of its environment.
 *
 * A node goes back to what it ran before the deployment came to it, if nothing has come on top since but other
 * rollbacks of the same deployment.  A module whose versions are a graph: the reverse of each step, the last one
 * first.  One whose versions are complete: the version's revert script, or the deploy script of the version
 * before.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/plan.h"
#include "core/requirement.h"
#include "utils/builtins.h"

/* The deployment, and those that took it back already, in part or as a whole. */
static DbStatement deployment_query = DB_STATEMENT(
	"SELECT d.module, d.version, d.environment, m.is_graph, v.digest, v.revert_sql IS NOT NULL,"
	" ARRAY(SELECT d.id UNION ALL SELECT r.id FROM hotswap.deployment r"
	" WHERE r.tenant_id = $1 AND r.rolls_back = $2), v.transactional, " DEPENDENTS(
		"d.module") " FROM hotswap.deployment d JOIN hotswap.module m ON m.tenant_id = $1 AND m.name = d.module"
					" LEFT JOIN hotswap.module_version v ON v.tenant_id = $1 AND v.module = d.module"
					" AND v.version = d.version WHERE d.tenant_id = $1 AND d.id = $2",
	UUIDOID, UUIDOID);

/* What a node runs, whether that is the deployments' doing, and what it ran before the first of them. */
static DbStatement nodes_query = DB_STATEMENT(
	"SELECT n.id, n.name, n.run_as::oid, e.strategy, l.version, l.digest, l.swap, l.deployment_id,"
	" l.deployment_id = ANY ($4), f.swap, b.version, b.digest, b.direction = 'declared',"
	" (SELECT v.transactional FROM hotswap.module_version v"
	" WHERE v.tenant_id = $1 AND v.module = $3 AND v.version = b.version),"
	" (SELECT v.requires FROM hotswap.module_version v"
	" WHERE v.tenant_id = $1 AND v.module = $3 AND v.version = b.version), n.kind = 'agent'"
	" FROM hotswap.node n"
	" JOIN hotswap.environment e ON e.tenant_id = n.tenant_id AND e.name = n.environment"
	" LEFT JOIN LATERAL (SELECT nm.* FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
	" AND nm.node_id = n.id AND nm.module = $3 ORDER BY nm.swap DESC LIMIT 1) l ON true"
	" LEFT JOIN LATERAL (SELECT nm.swap FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
	" AND nm.node_id = n.id AND nm.module = $3 AND nm.deployment_id = ANY ($4)"
	" ORDER BY nm.swap LIMIT 1) f ON true"
	" LEFT JOIN LATERAL (SELECT nm.* FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
	" AND nm.node_id = n.id AND nm.module = $3 AND nm.swap < f.swap"
	" ORDER BY nm.swap DESC LIMIT 1) b ON true"
	" WHERE n.tenant_id = $1 AND n.environment = $2 AND n.removed_at IS NULL"
	" AND ($5 IS NULL OR n.id = $5) ORDER BY n.name",
	UUIDOID, TEXTOID, TEXTOID, UUIDARRAYOID, UUIDOID);

enum
{
	NODE_ID = 1,
	NODE_NAME,
	NODE_RUN_AS,
	NODE_STRATEGY,
	LAST_VERSION,
	LAST_DIGEST,
	LAST_SWAP,
	LAST_DEPLOYMENT,
	LAST_IS_THEIRS,
	FIRST_SWAP,
	BEFORE_VERSION,
	BEFORE_DIGEST,
	BEFORE_IS_DECLARED,
	BEFORE_TRANSACTIONAL,
	BEFORE_REQUIRES,
	NODE_IS_AGENT
};

/* The deployment that is taken back. */
typedef struct Undone
{
	const pg_uuid_t *tenant;
	char *module;
	char *version;
	char *environment;
	bool is_graph;
	uint8 digest[DIGEST_LENGTH]; /* of its version */
	bool has_revert;
	bool transactional;
	Datum deployments; /* uuid[] */
	List *dependents;  /* of char *: modules that ask for this one */
} Undone;

static void
read_undone(Undone *u, const pg_uuid_t *deployment)
{
	Datum args[] = { UUIDPGetDatum(u->tenant), UUIDPGetDatum(deployment) };
	MemoryContext context = CurrentMemoryContext;
	bool isnull;

	if (db_run(&deployment_query, args, NULL) != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("deployment \"%s\" has been removed", uuid_text(deployment))));
	MemoryContextSwitchTo(context);
	u->module = db_text(0, 1);
	u->version = db_text(0, 2);
	u->environment = db_text(0, 3);
	u->is_graph = db_bool(0, 4);
	(void) db_digest(0, 5, u->digest);
	u->has_revert = db_bool(0, 6);
	u->transactional = db_isnull(0, 8) || db_bool(0, 8);
	u->deployments = PointerGetDatum(DatumGetArrayTypePCopy(db_datum(0, 7, &isnull)));
	u->dependents = db_text_list(db_datum(0, 9, &isnull));
}

/* What one node ran before, and whether anybody has been there since. */
typedef struct Past
{
	bool was_there;
	bool is_theirs;
	pg_uuid_t latest; /* the deployment that was there last */
	bool has_latest;
	char *before; /* NULL: it ran nothing */
	bool before_transactional;
	uint8 before_digest[DIGEST_LENGTH];
	List *requirements;          /* of Requirement: what it asked for */
	uint8 digest[DIGEST_LENGTH]; /* of what it runs now */
} Past;

static NodePlan *
read_node(uint64 row, Past *past)
{
	NodePlan *p = palloc0(sizeof(NodePlan));
	Datum requirements;
	bool isnull;

	p->node = db_uuid(row, NODE_ID);
	p->name = db_text(row, NODE_NAME);
	p->run_as = db_oid(row, NODE_RUN_AS);
	p->is_agent = db_bool(row, NODE_IS_AGENT);
	p->strategy = db_text(row, NODE_STRATEGY);
	p->previous_version = db_text(row, LAST_VERSION);
	if (!db_isnull(row, LAST_SWAP))
		p->swap_from = db_int64(row, LAST_SWAP);
	p->from_declared = !db_isnull(row, BEFORE_IS_DECLARED) && db_bool(row, BEFORE_IS_DECLARED);
	memset(past, 0, sizeof(Past));
	past->was_there = !db_isnull(row, FIRST_SWAP);
	past->is_theirs = !db_isnull(row, LAST_IS_THEIRS) && db_bool(row, LAST_IS_THEIRS);
	past->has_latest = !db_isnull(row, LAST_DEPLOYMENT);
	if (past->has_latest)
		past->latest = db_uuid(row, LAST_DEPLOYMENT);
	past->before = db_text(row, BEFORE_VERSION);
	past->before_transactional =
		db_isnull(row, BEFORE_TRANSACTIONAL) || db_bool(row, BEFORE_TRANSACTIONAL);
	(void) db_digest(row, BEFORE_DIGEST, past->before_digest);
	(void) db_digest(row, LAST_DIGEST, past->digest);
	requirements = db_datum(row, BEFORE_REQUIRES, &isnull);
	if (!isnull)
		past->requirements = requirement_list(requirements);
	return p;
}

/* What takes a complete version back, its script or that of the one before; NIL: there is none. */
static List *
step_of_complete(const Undone *u, const NodePlan *p, const Past *past)
{
	bool has_revert = p->is_agent ? past->before == NULL : u->has_revert;
	Step *step;

	if (!has_revert && past->before == NULL)
		return NIL;
	step = palloc0(sizeof(Step));
	step->module = u->module;
	step->direction = has_revert ? STEP_DOWN : STEP_UP;
	step->version = has_revert ? u->version : past->before;
	memcpy(step->digest, has_revert ? u->digest : past->before_digest, DIGEST_LENGTH);
	step->transactional = has_revert ? u->transactional : past->before_transactional;
	if (past->before)
	{
		step->heads = list_make1(past->before);
		if (!has_revert)
			step->requirements = past->requirements;
		memcpy(step->head_digest, past->before_digest, DIGEST_LENGTH);
	}
	return list_make1(step);
}

/* Is what the deployment did to the node undone already, by itself or by a rollback? */
static bool
is_undone(const Undone *u, const Past *past, List *steps)
{
	if (u->is_graph)
		return steps == NIL;
	return memcmp(past->digest, past->before_digest, DIGEST_LENGTH) == 0;
}

static void
plan_node(const Undone *u, NodePlan *p, const Past *past)
{
	List *steps;
	List *missing;

	if (!past->was_there)
	{
		plan_skip(p, psprintf("the deployment did nothing to node \"%s\"", p->name));
		return;
	}
	if (!past->is_theirs)
	{
		plan_block(p,
				   past->has_latest ?
					   psprintf("node \"%s\" runs what deployment \"%s\" has brought since",
								p->name, uuid_text(&past->latest)) :
					   psprintf("node \"%s\" runs what was declared since", p->name),
				   NULL);
		return;
	}
	steps = u->is_graph ? plan_back(u->tenant, &p->node, u->module, u->deployments, 0) :
						  step_of_complete(u, p, past);
	if (is_undone(u, past, steps))
	{
		plan_skip(p,
				  psprintf("what the deployment did to node \"%s\" has been taken back", p->name));
		return;
	}
	missing = p->is_agent  ? NIL :
			  u->is_graph  ? plan_missing_reverts(u->tenant, steps) :
			  steps == NIL ? list_make1(u->version) :
							 NIL;
	if (missing != NIL)
	{
		plan_block(p,
				   psprintf("node \"%s\" cannot go back over what has no revert script: %s",
							p->name, plan_names(missing)),
				   NULL);
		return;
	}
	p->outcome = NODE_RUNS;
	p->steps = steps;
}

List *
plan_rollback(const pg_uuid_t *tenant, const pg_uuid_t *deployment, const pg_uuid_t *node)
{
	MemoryContext context = CurrentMemoryContext;
	DbArgs args = db_args(&nodes_query);
	Undone u = { .tenant = tenant };
	List *plans = NIL;
	Past *past;
	uint64 n;

	read_undone(&u, deployment);
	db_arg_uuid(&args, tenant);
	db_arg_text(&args, u.environment);
	db_arg_text(&args, u.module);
	db_arg_datum(&args, UUIDARRAYOID, u.deployments, false);
	db_arg_uuid(&args, node);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	past = palloc(Max(n, 1) * sizeof(Past));
	for (uint64 i = 0; i < n; i++)
		plans = lappend(plans, read_node(i, &past[i]));
	for (uint64 i = 0; i < n; i++)
		plan_node(&u, list_nth(plans, (int) i), &past[i]);
	plan_check_requirements(tenant, plans, u.dependents);
	return plans;
}
