/*
 * plan_rollback.c
 *		What takes back a deployment that has ended, on each node of its environment.
 *
 * A node goes back to what it ran before the deployment came to it, if nothing has come on top since but other
 * rollbacks of the same deployment, and what has gone again.  A module whose versions are a graph: the reverse of
 * each step, the last one first.  One whose versions are complete: the version's revert script, or the deploy
 * script of the version before.  Of a release: all its modules together.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/plan.h"
#include "core/release.h"
#include "core/requirement.h"
#include "utils/builtins.h"

#define ITS_TARGETS TARGETS_OF("d")

/*
 * A row for each module of the deployment, with the deployment, and those that took it back already, in part or
 * as a whole.
 */
static DbStatement deployment_query = DB_STATEMENT(
	"SELECT t.module, t.version, d.environment, m.is_graph, v.digest, v.revert_sql IS NOT NULL AND NOT m.routed,"
	" ARRAY(SELECT d.id UNION ALL SELECT r.id FROM hotswap.deployment r"
	" WHERE r.tenant_id = $1 AND r.rolls_back = $2), v.transactional, " DEPENDENTS(
		"t.module") ", v.requires, d.release IS NOT NULL, m.routed FROM hotswap.deployment d"
					" CROSS JOIN LATERAL " ITS_TARGETS
					" t JOIN hotswap.module m ON m.tenant_id = $1 AND m.name = t.module"
					" LEFT JOIN hotswap.module_version v ON v.tenant_id = $1 AND v.module = t.module"
					" AND v.version = t.version WHERE d.tenant_id = $1 AND d.id = $2"
					" ORDER BY t.module COLLATE \"C\"",
	UUIDOID, UUIDOID);

/* A row of node_module is not of a deployment that went back by itself, or of a rollback, or taken back by one. */
#define STAYS                                                                                         \
	"NOT EXISTS (SELECT FROM hotswap.deployment o WHERE o.tenant_id = $1 AND o.id = nm.deployment_id" \
	" AND (o.status IN ('rolled_back', 'cancelled') OR o.kind = 'rollback'"                           \
	" OR EXISTS (SELECT FROM hotswap.deployment r WHERE r.tenant_id = $1 AND r.rolls_back = o.id"     \
	" AND r.status = 'succeeded')))"

/*
 * What a node runs, whether that is the deployments' doing, though others may have come on top and gone, and what
 * it ran before the first of them.
 */
static DbStatement nodes_query = DB_STATEMENT(
	"SELECT n.id, n.name, n.run_as::oid, e.strategy, l.version, l.digest, l.swap, l.deployment_id,"
	" l.deployment_id = ANY ($4) OR l.digest IS NOT DISTINCT FROM t.digest"
	" AND l.heads IS NOT DISTINCT FROM t.heads AND NOT EXISTS (SELECT FROM hotswap.node_module nm"
	" WHERE nm.tenant_id = $1 AND nm.node_id = n.id AND nm.module = $3 AND nm.swap > t.swap AND " STAYS
	"), f.swap, b.version, b.digest, b.direction = 'declared',"
	" (SELECT v.transactional FROM hotswap.module_version v"
	" WHERE v.tenant_id = $1 AND v.module = $3 AND v.version = b.version),"
	" (SELECT v.requires FROM hotswap.module_version v"
	" WHERE v.tenant_id = $1 AND v.module = $3 AND v.version = b.version), n.kind = 'agent'"
	" FROM hotswap.node n"
	" JOIN hotswap.environment e ON e.tenant_id = n.tenant_id AND e.name = n.environment"
	" LEFT JOIN LATERAL (SELECT nm.* FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
	" AND nm.node_id = n.id AND nm.module = $3 ORDER BY nm.swap DESC LIMIT 1) l ON true"
	" LEFT JOIN LATERAL (SELECT nm.* FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
	" AND nm.node_id = n.id AND nm.module = $3 AND nm.deployment_id = ANY ($4)"
	" ORDER BY nm.swap DESC LIMIT 1) t ON true"
	" LEFT JOIN LATERAL (SELECT nm.swap FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
	" AND nm.node_id = n.id AND nm.module = $3 AND nm.deployment_id = ANY ($4)"
	" AND nm.swap > $6 ORDER BY nm.swap LIMIT 1) f ON true"
	" LEFT JOIN LATERAL (SELECT nm.* FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
	" AND nm.node_id = n.id AND nm.module = $3 AND nm.swap < f.swap"
	" ORDER BY nm.swap DESC LIMIT 1) b ON true"
	" WHERE n.tenant_id = $1 AND ($2 IS NULL OR n.environment = $2 AND n.removed_at IS NULL)"
	" AND ($5 IS NULL OR n.id = $5) ORDER BY n.name",
	UUIDOID, TEXTOID, TEXTOID, UUIDARRAYOID, UUIDOID, INT8OID);

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

/* A module's part of the deployment that is taken back. */
typedef struct Undone
{
	const pg_uuid_t *tenant;
	char *module;
	char *version;
	char *environment;
	bool is_graph;
	uint8 digest[DIGEST_LENGTH]; /* of its version */
	bool has_revert;
	bool is_routed; /* what is taken back needs no script */
	bool transactional;
	Datum deployments;  /* uuid[] */
	List *dependents;   /* of char *: modules that ask for this one */
	List *requirements; /* of Requirement: what a complete version asks for */
	bool is_release;    /* it is one of several */
	int64 swap_from;    /* what is earlier is not meant */
} Undone;

static Undone *
read_undone(const pg_uuid_t *tenant, uint64 row)
{
	Undone *u = palloc0(sizeof(Undone));
	Datum requirements;
	bool isnull;

	u->tenant = tenant;
	u->module = db_text(row, 1);
	u->version = db_text(row, 2);
	u->environment = db_text(row, 3);
	u->is_graph = db_bool(row, 4);
	(void) db_digest(row, 5, u->digest);
	u->has_revert = db_bool(row, 6);
	u->transactional = db_isnull(row, 8) || db_bool(row, 8);
	u->deployments = PointerGetDatum(DatumGetArrayTypePCopy(db_datum(row, 7, &isnull)));
	u->dependents = db_text_list(db_datum(row, 9, &isnull));
	requirements = db_datum(row, 10, &isnull);
	if (!isnull && !u->is_graph)
		u->requirements = requirement_list(requirements);
	u->is_release = db_bool(row, 11);
	u->is_routed = db_bool(row, 12);
	return u;
}

/* Of Undone: a part for each module. */
static List *
read_parts(const pg_uuid_t *tenant, const pg_uuid_t *deployment)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(deployment) };
	MemoryContext context = CurrentMemoryContext;
	uint64 n = db_run(&deployment_query, args, NULL);
	List *parts = NIL;

	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("deployment \"%s\" has been removed", uuid_text(deployment))));
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
		parts = lappend(parts, read_undone(tenant, i));
	return parts;
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
	bool down = (u->has_revert && !p->is_agent) || past->before == NULL;
	Step *step;

	if (down && !u->has_revert && !u->is_routed && !p->is_agent)
		return NIL;
	step = palloc0(sizeof(Step));
	step->module = u->module;
	step->direction = down ? STEP_DOWN : STEP_UP;
	step->version = down ? u->version : past->before;
	memcpy(step->digest, down ? u->digest : past->before_digest, DIGEST_LENGTH);
	step->transactional = down ? u->transactional : past->before_transactional;
	step->asks = down ? u->requirements : past->requirements;
	if (past->before)
	{
		step->heads = list_make1(past->before);
		if (!down)
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
	steps = u->is_graph ? plan_back(u->tenant, &p->node, u->module, u->deployments, u->swap_from) :
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

/* The nodes, and what each of them ran of the module; environment NULL: that of the node. */
static List *
plan_part(const Undone *u, const char *environment, const pg_uuid_t *node)
{
	MemoryContext context = CurrentMemoryContext;
	DbArgs args = db_args(&nodes_query);
	List *plans = NIL;
	Past *past;
	uint64 n;

	db_arg_uuid(&args, u->tenant);
	db_arg_text(&args, environment);
	db_arg_text(&args, u->module);
	db_arg_datum(&args, UUIDARRAYOID, u->deployments, false);
	db_arg_uuid(&args, node);
	db_arg_int64(&args, u->swap_from);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	past = palloc(Max(n, 1) * sizeof(Past));
	for (uint64 i = 0; i < n; i++)
		plans = lappend(plans, read_node(i, &past[i]));
	for (uint64 i = 0; i < n; i++)
		plan_node(u, list_nth(plans, (int) i), &past[i]);
	return plans;
}

/* The plans of the next module of a release join those of the modules before it. */
static void
merge_part(List *plans, List *parts)
{
	ListCell *cell;

	foreach (cell, parts)
	{
		const NodePlan *part = lfirst(cell);
		NodePlan *p = list_nth(plans, foreach_current_index(cell));

		p->swap_from = Max(p->swap_from, part->swap_from);
		plan_merge(p, part, false);
	}
}

/* Of a release a node goes back over all modules together. */
static void
join_parts(List *plans)
{
	ListCell *cell;

	foreach (cell, plans)
	{
		NodePlan *p = lfirst(cell);

		if (p->outcome == NODE_RUNS)
			plan_join(p);
		p->previous_version = NULL;
	}
}

/* The plans of all parts, which have the same nodes. */
static List *
plan_parts(List *parts, const char *environment, const pg_uuid_t *node)
{
	List *plans = plan_part(linitial(parts), environment, node);
	ListCell *cell;

	for_each_from(cell, parts, 1) merge_part(plans, plan_part(lfirst(cell), environment, node));
	return plans;
}

List *
plan_rollback(const pg_uuid_t *tenant, const pg_uuid_t *deployment, const pg_uuid_t *node)
{
	List *parts = read_parts(tenant, deployment);
	const Undone *first = linitial(parts);
	List *plans = plan_parts(parts, first->environment, node);
	List *dependents = NIL;
	ListCell *cell;

	foreach (cell, parts)
		dependents = list_concat(dependents, ((Undone *) lfirst(cell))->dependents);
	if (first->is_release)
		join_parts(plans);
	plan_check_requirements(tenant, plans, dependents, first->is_release);
	return plans;
}

NodePlan *
plan_undo(const pg_uuid_t *tenant, const pg_uuid_t *deployment, const pg_uuid_t *node,
		  int64 swap_from)
{
	List *parts = read_parts(tenant, deployment);
	List *plans;
	ListCell *cell;

	foreach (cell, parts)
		((Undone *) lfirst(cell))->swap_from = swap_from;
	plans = plan_parts(parts, NULL, node);
	join_parts(plans);
	return linitial(plans);
}
