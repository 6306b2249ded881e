/*
 * plan_declaration.c
 *		What a node does to run what it is declared to run: the verify scripts, and a row for each head.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/plan.h"
#include "utils/builtins.h"

/* The node, whether it runs that already, and whether somebody has been there since. */
static DbStatement node_query = DB_STATEMENT(
	"SELECT n.name, n.run_as::oid, e.strategy, e.require_signature, l.version, l.swap,"
	" coalesce(coalesce(l.heads, ARRAY[l.version]) = $4, false), coalesce(l.swapped_at >= $5, false), n.kind = 'agent'"
	" FROM hotswap.node n"
	" JOIN hotswap.environment e ON e.tenant_id = n.tenant_id AND e.name = n.environment"
	" LEFT JOIN LATERAL (SELECT nm.* FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
	" AND nm.node_id = n.id AND nm.module = $3 ORDER BY nm.swap DESC LIMIT 1) l ON true"
	" WHERE n.tenant_id = $1 AND n.id = $2 AND n.removed_at IS NULL",
	UUIDOID, UUIDOID, TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID);

enum
{
	NODE_NAME = 1,
	NODE_RUN_AS,
	NODE_STRATEGY,
	NODE_REQUIRE_SIGNATURE,
	NODE_VERSION,
	NODE_SWAP,
	NODE_IS_THERE,
	NODE_HAS_CHANGED,
	NODE_IS_AGENT
};

static DbStatement digest_query =
	DB_STATEMENT("SELECT digest, parents IS NOT NULL FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static NodePlan *
read_node(const pg_uuid_t *node)
{
	NodePlan *p = palloc0(sizeof(NodePlan));

	p->node = *node;
	p->name = db_text(0, NODE_NAME);
	p->run_as = db_oid(0, NODE_RUN_AS);
	p->is_agent = db_bool(0, NODE_IS_AGENT);
	p->strategy = db_text(0, NODE_STRATEGY);
	p->require_signature = db_bool(0, NODE_REQUIRE_SIGNATURE);
	p->previous_version = db_text(0, NODE_VERSION);
	if (!db_isnull(0, NODE_SWAP))
		p->swap_from = db_int64(0, NODE_SWAP);
	if (db_bool(0, NODE_HAS_CHANGED))
		plan_block(p,
				   psprintf("node \"%s\" has changed since it was asked to be declared", p->name),
				   NULL);
	else if (db_bool(0, NODE_IS_THERE))
		plan_skip(p, psprintf("node \"%s\" already runs that", p->name));
	else
		p->outcome = NODE_RUNS;
	return p;
}

static Step *
declared_step(const pg_uuid_t *tenant, const char *module, char *version, List *heads)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module),
					 CStringGetTextDatum(version) };
	Step *step = palloc0(sizeof(Step));

	if (db_run(&digest_query, args, NULL) != 1)
		elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", version, module);
	MemoryContextSwitchTo(context);
	step->module = pstrdup(module);
	step->version = version;
	step->direction = STEP_DECLARED;
	step->transactional = true;
	step->heads = heads;
	(void) db_digest(0, 1, step->digest);
	(void) db_digest(0, 1, step->head_digest);
	step->is_graph = db_bool(0, 2);
	return step;
}

List *
plan_declaration(const pg_uuid_t *tenant, const char *module, const pg_uuid_t *node, List *heads,
				 TimestampTz since)
{
	MemoryContext context = CurrentMemoryContext;
	DbArgs args = db_args(&node_query);
	NodePlan *p;
	bool found;

	db_arg_uuid(&args, tenant);
	db_arg_uuid(&args, node);
	db_arg_text(&args, module);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(heads), false);
	db_arg_time(&args, since);
	found = db_run_args(&args) > 0;
	MemoryContextSwitchTo(context);
	if (!found)
		return NIL;
	p = read_node(node);
	for (int i = 0; p->outcome == NODE_RUNS && i < list_length(heads); i++)
		p->steps = lappend(p->steps, declared_step(tenant, module, list_nth(heads, i),
												   list_truncate(list_copy(heads), i + 1)));
	return list_make1(p);
}
