/*
 * plan.c
 *		What each node of an environment would run for a deployment, and why not.
 *
 * A module whose versions are complete: the version's deploy script, unless the node runs the same content.
 * One whose versions are a graph: what the version builds on, and the node has not got, in the order of
 * publication; a node that runs nothing begins with the nearest installer.  What the version does not build on
 * is taken back only when that is asked for, in the environment where the deployment ends.
 *
 * What is planned here is what preview() shows, what an approval is about, and what the dispatcher gives an
 * executor, which makes the plan again under the lock of the lane.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/missing.h"
#include "core/plan.h"
#include "core/release.h"
#include "core/requirement.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

const char *const step_direction_names[] = { "up", "down", "install", "declared" };
const char *const step_script_names[] = { "deploy", "revert", "install", "verify" };

/*
 * A row for each node that the version is for, by its scripts or its artifact: what it runs of the module now, and
 * what the version is.  A release ($6) is for all database nodes, a rehearsal ($7)
 * for none but those.
 */
static DbStatement nodes_query = DB_STATEMENT(
	"SELECT n.id, n.name, n.run_as::oid, e.strategy, e.require_signature, m.version, m.digest, m.heads,"
	" m.swap, m.deployment_id, v.digest, v.parents IS NOT NULL, v.transactional,"
	" EXISTS (SELECT FROM hotswap.held_version h"
	" WHERE h.tenant_id = $1 AND h.environment = $2 AND h.module = $3), v.requires, n.kind = 'agent', " DEPENDENTS(
		"$3") ", i.version, i.until, i.pinned_by, i.reason FROM hotswap.node n"
			  " JOIN hotswap.environment e ON e.tenant_id = n.tenant_id AND e.name = n.environment"
			  " JOIN hotswap.module_version v ON v.tenant_id = $1 AND v.module = $3 AND v.version = $4"
			  " LEFT JOIN LATERAL (SELECT nm.version, nm.digest, nm.heads, nm.swap, nm.deployment_id"
			  " FROM hotswap.node_module nm"
			  " WHERE nm.tenant_id = n.tenant_id AND nm.node_id = n.id AND nm.module = $3"
			  " ORDER BY nm.swap DESC LIMIT 1) m ON true"
			  " LEFT JOIN LATERAL (SELECT p.* FROM hotswap.node_pin p WHERE p.tenant_id = $1"
			  " AND p.node_id = n.id AND p.module = $3 AND p.until > pg_catalog.clock_timestamp()"
			  " OFFSET 0) i ON true"
			  " WHERE n.tenant_id = $1 AND n.environment = $2 AND n.removed_at IS NULL"
			  " AND ($5 IS NULL OR n.id = ANY ($5)) AND CASE n.kind WHEN 'agent' THEN"
			  " v.artifact_digest IS NOT NULL AND NOT $6 AND NOT $7 ELSE v.deploy_sql IS NOT NULL OR $6 END"
			  " ORDER BY n.name",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID, UUIDARRAYOID, BOOLOID, BOOLOID);

enum
{
	NODE_ID = 1,
	NODE_NAME,
	NODE_RUN_AS,
	NODE_STRATEGY,
	NODE_REQUIRE_SIGNATURE,
	NODE_VERSION,
	NODE_DIGEST,
	NODE_HEADS,
	NODE_SWAP,
	NODE_DEPLOYMENT,
	TARGET_DIGEST,
	TARGET_IS_GRAPH,
	TARGET_TRANSACTIONAL,
	TARGET_HAS_HELD,
	TARGET_REQUIRES,
	NODE_IS_AGENT,
	TARGET_DEPENDENTS,
	PIN_VERSION, /* NULL: it has none */
	PIN_UNTIL,
	PIN_BY,
	PIN_REASON
};

static DbStatement held_query =
	DB_STATEMENT("SELECT version, held_by, held_at, reason FROM hotswap.held_version"
				 " WHERE tenant_id = $1 AND environment = $2 AND module = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement installers_query =
	DB_STATEMENT("SELECT version, install_digest FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND install_sql IS NOT NULL",
				 UUIDOID, TEXTOID);

static DbStatement heads_query = DB_STATEMENT(
	"SELECT version, heads FROM hotswap.node_module"
	" WHERE tenant_id = $1 AND node_id = $2 AND module = $3 ORDER BY swap DESC LIMIT 1",
	UUIDOID, UUIDOID, TEXTOID);

/* What came to a node, oldest first. */
static DbStatement arrivals_query = DB_STATEMENT(
	"SELECT step, direction, heads FROM hotswap.node_module WHERE tenant_id = $1 AND node_id = $2"
	" AND module = $3 AND direction IN ('up', 'install', 'declared') ORDER BY swap",
	UUIDOID, UUIDOID, TEXTOID);

static DbStatement done_query = DB_STATEMENT(
	"SELECT step, direction FROM hotswap.node_module WHERE tenant_id = $1 AND node_id = $2"
	" AND module = $3 AND swap > $4 AND deployment_id = ANY ($5) ORDER BY swap",
	UUIDOID, UUIDOID, TEXTOID, INT8OID, UUIDARRAYOID);

/* ---- words ---- */

/* Names in quotes, the first ones of very many. */
char *
plan_names(List *names)
{
	StringInfoData words;
	int count = 0;
	ListCell *cell;

	initStringInfo(&words);
	foreach (cell, names)
	{
		if (count == 10)
		{
			appendStringInfo(&words, " and %d more", list_length(names) - count);
			break;
		}
		appendStringInfo(&words, "%s\"%s\"", count++ > 0 ? ", " : "", (char *) lfirst(cell));
	}
	return words.data;
}

/* ---- steps ---- */

/* The indexes of versions that a node runs or ran. */
List *
plan_find_versions(const VersionGraph *g, List *names)
{
	List *versions = NIL;
	ListCell *cell;

	foreach (cell, names)
	{
		int version = graph_find(g, lfirst(cell));

		if (version < 0)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("version \"%s\" of module \"%s\" runs on a node, but does not"
								   " exist any more",
								   (char *) lfirst(cell), g->module)));
		versions = lappend_int(versions, version);
	}
	return versions;
}

/* The names of members of a set, the newest first. */
static List *
names_of(const VersionGraph *g, Bitmapset *set)
{
	List *names = NIL;
	int member = -1;

	while ((member = bms_prev_member(set, member)) >= 0)
		names = lappend(names, g->versions[member].name);
	return names;
}

/* The names of the heads of a row of node_module; of one that is older than heads the version is it. */
List *
plan_head_names(uint64 row, int version_column, int heads_column)
{
	bool isnull;
	Datum heads = db_datum(row, heads_column, &isnull);
	char *version;

	if (!isnull)
		return db_text_list(heads);
	version = db_text(row, version_column);
	return version ? list_make1(version) : NIL;
}

static List *
read_heads(const VersionGraph *g, uint64 row, int version_column, int heads_column)
{
	return plan_find_versions(g, plan_head_names(row, version_column, heads_column));
}

static StepDirection
read_direction(uint64 row, int column)
{
	return label_parse(db_text(row, column), step_direction_names, lengthof(step_direction_names));
}

/* Adds a step, which the set has been through. */
static void
add_step(List **steps, const AppliedSet *set, StepDirection direction, int version,
		 const uint8 *digest)
{
	const VersionGraph *g = set->graph;
	Step *step = palloc0(sizeof(Step));
	ListCell *cell;

	step->module = g->module;
	step->version = g->versions[version].name;
	step->direction = direction;
	memcpy(step->digest, digest, DIGEST_LENGTH);
	step->transactional = g->versions[version].transactional;
	step->is_graph = true;
	step->asks = g->versions[version].requirements;
	if (direction != STEP_DOWN)
		step->requirements = step->asks;
	foreach (cell, set->heads)
		step->heads = lappend(step->heads, g->versions[lfirst_int(cell)].name);
	if (set->heads != NIL)
		memcpy(step->head_digest, g->versions[llast_int(set->heads)].digest, DIGEST_LENGTH);
	*steps = lappend(*steps, step);
}

static void
step_up(List **steps, AppliedSet *set, int version)
{
	applied_add(set, version);
	add_step(steps, set, STEP_UP, version, set->graph->versions[version].digest);
}

static void
step_down(List **steps, AppliedSet *set, int version)
{
	applied_remove(set, version);
	add_step(steps, set, STEP_DOWN, version, set->graph->versions[version].digest);
}

/* The digests of the installers of a module: a list of versions, and as many digests. */
static List *
read_installers(const pg_uuid_t *tenant, const VersionGraph *g, uint8 **digests)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(g->module) };
	uint64 n = db_run(&installers_query, args, NULL);
	List *versions = NIL;

	MemoryContextSwitchTo(context);
	*digests = palloc(Max(n, 1) * DIGEST_LENGTH);
	for (uint64 i = 0; i < n; i++)
	{
		int version = graph_find(g, db_text(i, 1));

		if (version < 0)
			continue;
		(void) db_digest(i, 2, *digests + list_length(versions) * DIGEST_LENGTH);
		versions = lappend_int(versions, version);
	}
	return versions;
}

/* From nothing: the installer that leaves the fewest steps to what is wanted, if there is one. */
static void
step_install(List **steps, AppliedSet *set, const pg_uuid_t *tenant, const Bitmapset *wanted)
{
	uint8 *digests;
	List *versions = read_installers(tenant, set->graph, &digests);
	int best = -1;
	int most = 0;

	for (int i = 0; i < list_length(versions); i++)
	{
		int version = list_nth_int(versions, i);
		int covers;

		if (!bms_is_member(version, wanted))
			continue;
		covers = bms_num_members(graph_closure(set->graph, list_make1_int(version)));
		if (covers > most || (covers == most && version > list_nth_int(versions, best)))
		{
			best = i;
			most = covers;
		}
	}
	if (best < 0)
		return;
	applied_add_all(set, list_nth_int(versions, best));
	add_step(steps, set, STEP_INSTALL, list_nth_int(versions, best),
			 digests + best * DIGEST_LENGTH);
}

/* ---- the order in which versions came to a node ---- */

typedef struct Arrival
{
	int version;
	int64 at; /* 0: before all that is remembered */
} Arrival;

static int
later_first(const void *a, const void *b)
{
	const Arrival *x = a;
	const Arrival *y = b;

	if (x->at != y->at)
		return x->at < y->at ? 1 : -1;
	return y->version - x->version;
}

/* When each version of the graph came to a node last. */
static Arrival *
read_arrivals(const pg_uuid_t *tenant, const pg_uuid_t *node, const VersionGraph *g)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(node), CStringGetTextDatum(g->module) };
	uint64 n = db_run(&arrivals_query, args, NULL);
	Arrival *arrivals;

	MemoryContextSwitchTo(context);
	arrivals = palloc0(Max(g->count, 1) * sizeof(Arrival));
	for (int i = 0; i < g->count; i++)
		arrivals[i].version = i;
	for (uint64 i = 0; i < n; i++)
	{
		StepDirection direction = read_direction(i, 2);
		int version = graph_find(g, db_text(i, 1));
		Bitmapset *came;
		int member = -1;

		if (version < 0)
			continue; /* withdrawn since */
		if (direction == STEP_UP)
		{
			arrivals[version].at = (int64) i + 1;
			continue;
		}
		came = graph_closure(g, direction == STEP_INSTALL ? list_make1_int(version) :
															read_heads(g, i, 1, 3));
		while ((member = bms_next_member(came, member)) >= 0)
			arrivals[member].at = (int64) i + 1;
	}
	return arrivals;
}

/* Takes back what is not wanted, what came last first. */
static void
steps_down(List **steps, AppliedSet *set, const pg_uuid_t *tenant, const pg_uuid_t *node,
		   const Bitmapset *wanted)
{
	Bitmapset *unwanted = bms_difference(set->members, wanted);
	Arrival *arrivals;

	if (bms_is_empty(unwanted))
		return;
	arrivals = read_arrivals(tenant, node, set->graph);
	qsort(arrivals, set->graph->count, sizeof(Arrival), later_first);
	for (int i = 0; i < set->graph->count; i++)
		if (bms_is_member(arrivals[i].version, unwanted))
			step_down(steps, set, arrivals[i].version);
}

/* From some heads to what is wanted, which is closed under parents. */
static List *
find_steps(const pg_uuid_t *tenant, const pg_uuid_t *node, const VersionGraph *g, List *heads,
		   const Bitmapset *wanted, bool take_down)
{
	AppliedSet set;
	List *steps = NIL;
	int version = -1;

	applied_begin(&set, g, heads);
	if (take_down)
		steps_down(&steps, &set, tenant, node, wanted);
	if (bms_is_empty(set.members))
		step_install(&steps, &set, tenant, wanted);
	while ((version = bms_next_member(wanted, version)) >= 0)
		if (!bms_is_member(version, set.members))
			step_up(&steps, &set, version);
	return steps;
}

/* ---- what an executor asks ---- */

static VersionGraph *
load_existing(const pg_uuid_t *tenant, const char *module)
{
	VersionGraph *g = graph_load(tenant, module);

	if (g == NULL)
		elog(ERROR, "module \"%s\" has no graph", module);
	return g;
}

/* What a node runs now. */
static List *
present_heads(const pg_uuid_t *tenant, const pg_uuid_t *node, const VersionGraph *g)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(node), CStringGetTextDatum(g->module) };
	bool runs = db_run(&heads_query, args, NULL) > 0;

	MemoryContextSwitchTo(context);
	return runs ? read_heads(g, 0, 1, 2) : NIL;
}

List *
plan_remaining(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
			   const char *version, bool take_down)
{
	MemoryContext context = CurrentMemoryContext;
	VersionGraph *g = load_existing(tenant, module);
	List *wanted;

	MemoryContextSwitchTo(context);
	wanted = plan_find_versions(g, list_make1(unconstify(char *, version)));
	return find_steps(tenant, node, g, present_heads(tenant, node, g), graph_closure(g, wanted),
					  take_down);
}

static uint64
query_done(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module, Datum deployments,
		   int64 swap_from)
{
	MemoryContext context = CurrentMemoryContext;
	DbArgs args = db_args(&done_query);
	uint64 n;

	db_arg_uuid(&args, tenant);
	db_arg_uuid(&args, node);
	db_arg_text(&args, module);
	db_arg_int64(&args, swap_from);
	db_arg_datum(&args, UUIDARRAYOID, deployments, false);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	return n;
}

/* The digest of an installer that ran. */
static void
put_install_digest(const pg_uuid_t *tenant, const VersionGraph *g, Step *step)
{
	uint8 *digests;
	List *versions = read_installers(tenant, g, &digests);

	for (int i = 0; i < list_length(versions); i++)
		if (list_nth_int(versions, i) == graph_find(g, step->version))
			memcpy(step->digest, digests + i * DIGEST_LENGTH, DIGEST_LENGTH);
}

List *
plan_done(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
		  const pg_uuid_t *deployment, int64 swap_from)
{
	MemoryContext context = CurrentMemoryContext;
	VersionGraph *g = load_existing(tenant, module);
	Datum id = UUIDPGetDatum(deployment);
	List *steps = NIL;
	uint64 n;
	ListCell *cell;

	MemoryContextSwitchTo(context);
	n = query_done(tenant, node, module, uuid_array(&id, 1), swap_from);
	for (uint64 i = 0; i < n; i++)
	{
		Step *step = palloc0(sizeof(Step));
		char *version = db_text(i, 1);
		int index = linitial_int(plan_find_versions(g, list_make1(version)));

		step->module = g->module;
		step->version = version;
		step->direction = read_direction(i, 2);
		step->is_graph = true;
		memcpy(step->digest, g->versions[index].digest, DIGEST_LENGTH);
		steps = lappend(steps, step);
	}
	foreach (cell, steps)
		if (((Step *) lfirst(cell))->direction == STEP_INSTALL)
			put_install_digest(tenant, g, lfirst(cell));
	return steps;
}

/* What a deployment has done and not taken back: version by version, in order. */
typedef struct Change
{
	int version;
	bool up;
} Change;

/* Taking back is doing the reverse of what was done last. */
static List *
add_change(List *changes, int version, bool up)
{
	Change *last = changes != NIL ? llast(changes) : NULL;
	Change *change;

	if (last && last->version == version && last->up != up)
		return list_delete_last(changes);
	change = palloc(sizeof(Change));
	change->version = version;
	change->up = up;
	return lappend(changes, change);
}

static List *
read_changes(const VersionGraph *g, uint64 n)
{
	List *changes = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		StepDirection direction = read_direction(i, 2);
		List *version = plan_find_versions(g, list_make1(db_text(i, 1)));
		Bitmapset *installed;
		int member = -1;

		if (direction != STEP_INSTALL)
		{
			changes = add_change(changes, linitial_int(version), direction == STEP_UP);
			continue;
		}
		installed = graph_closure(g, version);
		while ((member = bms_next_member(installed, member)) >= 0)
			changes = add_change(changes, member, true);
	}
	return changes;
}

List *
plan_back(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module, Datum deployments,
		  int64 swap_from)
{
	MemoryContext context = CurrentMemoryContext;
	VersionGraph *g = load_existing(tenant, module);
	AppliedSet set;
	List *heads;
	List *changes;
	List *steps = NIL;

	MemoryContextSwitchTo(context);
	heads = present_heads(tenant, node, g);
	changes = read_changes(g, query_done(tenant, node, module, deployments, swap_from));
	applied_begin(&set, g, heads);
	for (int i = list_length(changes) - 1; i >= 0; i--)
	{
		Change *change = list_nth(changes, i);

		if (change->up)
			step_down(&steps, &set, change->version);
		else
			step_up(&steps, &set, change->version);
	}
	return steps;
}

void
plan_digest(List *steps, uint8 *result)
{
	pg_cryptohash_ctx *ctx = digest_begin();
	ListCell *cell;

	foreach (cell, steps)
	{
		const Step *step = lfirst(cell);

		digest_field(ctx, step->module);
		digest_field(ctx, step_direction_names[step->direction]);
		digest_bytes(ctx, step->digest, DIGEST_LENGTH);
	}
	digest_end(ctx, result);
}

char *
plan_version_after(const List *steps)
{
	const Step *last = llast(steps);

	if (last->heads != NIL)
		return llast(last->heads);
	return last->is_graph || last->direction == STEP_DOWN ? NULL : last->version;
}

List *
plan_versions(List *steps)
{
	List *versions = NIL;
	ListCell *cell;

	foreach (cell, steps)
		versions = lappend(versions, ((Step *) lfirst(cell))->version);
	return versions;
}

List *
plan_ancestry(const pg_uuid_t *tenant, const char *module, const char *version)
{
	MemoryContext context = CurrentMemoryContext;
	VersionGraph *g = graph_load(tenant, module);
	List *names = list_make1(pstrdup(version));

	MemoryContextSwitchTo(context);
	if (g == NULL)
		return names;
	return names_of(g, graph_closure(g, plan_find_versions(g, names)));
}

/* The names of versions that are to be taken back and cannot be. */
List *
plan_missing_reverts(const pg_uuid_t *tenant, List *steps)
{
	MemoryContext context = CurrentMemoryContext;
	List *missing = NIL;
	ListCell *cell;

	foreach (cell, steps)
	{
		const Step *step = lfirst(cell);
		VersionGraph *g;

		if (step->direction != STEP_DOWN)
			continue;
		g = load_existing(tenant, step->module);
		MemoryContextSwitchTo(context);
		if (!g->versions[graph_find(g, step->version)].has_revert)
			missing = lappend(missing, step->version);
	}
	return missing;
}

/* ---- the plan of an environment ---- */

/* A module's part of a plan. */
typedef struct Planning
{
	const PlanRequest *request;
	const PlanTarget *target;
	const VersionGraph *graph; /* NULL: its versions are complete */
	int version;               /* of the graph: the target */
	Bitmapset *wanted;         /* it, and what it builds on */
	uint8 digest[DIGEST_LENGTH];
	bool transactional;
	List *requirements; /* of Requirement: of a complete target */
	List *dependents;   /* of char *: modules that ask for this one */
	List *held;         /* of char *: versions, each followed by words for it */
	bool others_run;    /* a node of the environment runs something of it */
} Planning;

/* What a node runs of a module. */
typedef struct Running
{
	char *version; /* NULL: nothing */
	uint8 digest[DIGEST_LENGTH];
	List *heads; /* of int */
	int64 swap;
	char *deployment;
	char *pin; /* why it stays there, in words; NULL: it need not */
} Running;

void
plan_skip(NodePlan *p, char *reason)
{
	p->outcome = NODE_SKIPPED;
	p->reason = reason;
}

void
plan_block(NodePlan *p, char *reason, char *hint)
{
	p->outcome = NODE_BLOCKED;
	p->reason = reason;
	p->hint = hint;
}

/* It is not for this node, nor is what comes with it. */
static void
plan_leave_out(NodePlan *p, char *reason)
{
	plan_skip(p, reason);
	p->is_left_out = true;
}

static void
skip_current(NodePlan *p, const Running *r)
{
	p->runs_target = true;
	plan_skip(p, psprintf("node \"%s\" already runs version \"%s\"%s%s", p->name, r->version,
						  r->deployment ? " from deployment " : "",
						  r->deployment ? r->deployment : ""));
}

/* Why a version may not come, or NULL. */
static char *
held_words(const Planning *g, const char *version)
{
	if (g->request->reapply)
		return NULL;
	for (int i = 0; i + 1 < list_length(g->held); i += 2)
		if (strcmp(list_nth(g->held, i), version) == 0)
			return list_nth(g->held, i + 1);
	return NULL;
}

/* Versions that a rollback took back do not come again, by an installer either. */
static char *
find_held(const Planning *g, const Step *step)
{
	Bitmapset *installed;
	char *words;
	int member = -1;

	if (step->direction == STEP_DOWN || g->held == NIL)
		return NULL;
	if (step->direction == STEP_UP)
		return held_words(g, step->version);
	installed = graph_closure(g->graph, list_make1_int(graph_find(g->graph, step->version)));
	while ((member = bms_next_member(installed, member)) >= 0)
		if ((words = held_words(g, g->graph->versions[member].name)) != NULL)
			return words;
	return NULL;
}

static void
check_steps(const Planning *g, NodePlan *p, List *steps)
{
	List *missing;
	char *held = NULL;
	ListCell *cell;

	foreach (cell, steps)
		if ((held = find_held(g, lfirst(cell))) != NULL)
			break;
	if (held)
	{
		plan_block(p, psprintf("node \"%s\" would run %s", p->name, held),
				   "Use hotswap.release_version(), or \"reapply\".");
		return;
	}
	/* an agent needs no script to run another version */
	missing = g->graph && !p->is_agent ? plan_missing_reverts(g->request->tenant, steps) : NIL;
	if (missing != NIL)
	{
		plan_block(
			p,
			psprintf(list_length(missing) == 1 ?
						 "node \"%s\" would go back over version %s, which has no revert script" :
						 "node \"%s\" would go back over versions %s, which have no revert script",
					 p->name, plan_names(missing)),
			NULL);
		return;
	}
	p->outcome = NODE_RUNS;
	p->steps = steps;
}

/* Who names a node that is to stay where it is has to know. */
static void
plan_pinned(const Planning *g, NodePlan *p, const Running *r)
{
	p->is_pinned = true;
	if (g->request->all_nodes)
		plan_leave_out(p, r->pin);
	else
		plan_block(p, r->pin, "Use hotswap.unpin_node(), or do not name the node.");
}

static void
plan_complete(const Planning *g, NodePlan *p, const Running *r)
{
	Step *step;

	if (r->version && memcmp(r->digest, g->digest, DIGEST_LENGTH) == 0)
	{
		skip_current(p, r);
		return;
	}
	step = palloc0(sizeof(Step));
	step->module = g->target->module;
	step->version = g->target->version;
	step->direction = STEP_UP;
	memcpy(step->digest, g->digest, DIGEST_LENGTH);
	step->heads = list_make1(step->version);
	memcpy(step->head_digest, g->digest, DIGEST_LENGTH);
	step->transactional = g->transactional;
	step->requirements = step->asks = g->requirements;
	check_steps(g, p, list_make1(step));
}

static char *
head_names(const VersionGraph *g, List *heads)
{
	List *names = NIL;
	ListCell *cell;

	foreach (cell, heads)
		names = lappend(names, g->versions[lfirst_int(cell)].name);
	return psprintf(list_length(names) == 1 ? "version %s" : "versions %s", plan_names(names));
}

/* The version is applied: is that the end of it? */
static bool
plan_contained(const Planning *g, NodePlan *p, const Running *r, const Bitmapset *unwanted)
{
	const VersionGraph *graph = g->graph;

	p->runs_target = true;
	if (list_member_int(r->heads, g->version) &&
		(bms_is_empty(unwanted) || !g->request->allow_revert || !g->request->is_target))
		skip_current(p, r);
	else if (!g->request->is_target)
		plan_skip(p, psprintf("node \"%s\" runs %s, which builds on version \"%s\"", p->name,
							  head_names(graph, r->heads), g->target->version));
	else if (!g->request->allow_revert)
		plan_block(p,
				   psprintf("node \"%s\" runs %s, which builds on version \"%s\"", p->name,
							head_names(graph, r->heads), g->target->version),
				   psprintf("With \"allow_revert\" these are taken back: %s.",
							plan_names(names_of(graph, unconstify(Bitmapset *, unwanted)))));
	else
		return false;
	return true;
}

static void
plan_graph(const Planning *g, NodePlan *p, const Running *r)
{
	const PlanRequest *request = g->request;
	const VersionGraph *graph = g->graph;
	Bitmapset *applied;
	Bitmapset *unwanted;

	if (r->heads == NIL && g->others_run && request->all_nodes)
	{
		plan_leave_out(p, psprintf("node \"%s\" runs nothing of module \"%s\", and is not named",
								   p->name, g->target->module));
		return;
	}
	applied = graph_closure(graph, r->heads);
	unwanted = bms_difference(applied, g->wanted);
	if (bms_is_member(g->version, applied))
	{
		if (plan_contained(g, p, r, unwanted))
			return;
	}
	else if (!request->is_target && !bms_is_empty(unwanted))
	{
		plan_leave_out(p, psprintf("node \"%s\" runs %s, which version \"%s\" does not build on",
								   p->name, head_names(graph, r->heads), g->target->version));
		return;
	}
	check_steps(g, p,
				find_steps(request->tenant, &p->node, graph, r->heads, g->wanted,
						   request->allow_revert && request->is_target));
}

static void
read_held(Planning *g)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(g->request->tenant),
					 CStringGetTextDatum(g->request->environment),
					 CStringGetTextDatum(g->target->module) };
	uint64 n = db_run(&held_query, args, NULL);

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		char *version = db_text(i, 1);

		g->held = lappend(g->held, version);
		g->held =
			lappend(g->held,
					psprintf("version \"%s\", which is held: %s rolled it back at %s: %s", version,
							 db_text(i, 2), timestamptz_to_str(db_time(i, 3, 0)), db_text(i, 4)));
	}
}

static char *
pin_words(uint64 row, const char *module)
{
	if (db_isnull(row, PIN_VERSION))
		return NULL;
	return psprintf("node \"%s\" is pinned to version \"%s\" of module \"%s\" by %s until %s: %s",
					db_text(row, NODE_NAME), db_text(row, PIN_VERSION), module,
					db_text(row, PIN_BY), timestamptz_to_str(db_time(row, PIN_UNTIL, 0)),
					db_text(row, PIN_REASON));
}

static void
read_running(uint64 row, const char *module, Running *r)
{
	pg_uuid_t deployment;

	memset(r, 0, sizeof(Running));
	r->pin = pin_words(row, module);
	r->version = db_text(row, NODE_VERSION);
	(void) db_digest(row, NODE_DIGEST, r->digest);
	if (!db_isnull(row, NODE_SWAP))
		r->swap = db_int64(row, NODE_SWAP);
	if (db_isnull(row, NODE_DEPLOYMENT))
		return;
	deployment = db_uuid(row, NODE_DEPLOYMENT);
	r->deployment = uuid_text(&deployment);
}

/* The nodes in the order of their names; the query is the same for every module of a request. */
static NodePlan *
node_plan(List **plans, uint64 row)
{
	NodePlan *p;

	if (*plans != NIL && row < (uint64) list_length(*plans))
		return list_nth(*plans, (int) row);
	p = palloc0(sizeof(NodePlan));
	p->node = db_uuid(row, NODE_ID);
	p->name = db_text(row, NODE_NAME);
	p->run_as = db_oid(row, NODE_RUN_AS);
	p->is_agent = db_bool(row, NODE_IS_AGENT);
	p->strategy = db_text(row, NODE_STRATEGY);
	p->require_signature = db_bool(row, NODE_REQUIRE_SIGNATURE);
	p->outcome = NODE_SKIPPED;
	*plans = lappend(*plans, p);
	return p;
}

static uint64
query_nodes(const Planning *g)
{
	MemoryContext context = CurrentMemoryContext;
	const PlanRequest *request = g->request;
	DbArgs args = db_args(&nodes_query);
	uint64 n;

	db_arg_uuid(&args, request->tenant);
	db_arg_text(&args, request->environment);
	db_arg_text(&args, g->target->module);
	db_arg_text(&args, g->target->version);
	db_arg_datum(&args, UUIDARRAYOID, request->nodes, request->all_nodes);
	db_arg_bool(&args, request->release != NULL);
	db_arg_bool(&args, request->is_rehearsal);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	return n;
}

/* Reads what the nodes run of the module of a target, and what there is to know of the version. */
static Running *
read_module(Planning *g, List **plans)
{
	MemoryContext context = CurrentMemoryContext;
	uint64 n = query_nodes(g);
	Running *running = palloc0(Max(n, 1) * sizeof(Running));
	List **heads = palloc0(Max(n, 1) * sizeof(List *));
	bool is_graph = n > 0 && db_bool(0, TARGET_IS_GRAPH);
	bool has_held = n > 0 && db_bool(0, TARGET_HAS_HELD);
	Datum requirements;
	bool isnull;

	for (uint64 i = 0; i < n; i++)
	{
		(void) node_plan(plans, i);
		read_running(i, g->target->module, &running[i]);
		heads[i] = plan_head_names(i, NODE_VERSION, NODE_HEADS);
		g->others_run = g->others_run || heads[i] != NIL;
	}
	if (n > 0)
	{
		(void) db_digest(0, TARGET_DIGEST, g->digest);
		g->transactional = db_bool(0, TARGET_TRANSACTIONAL);
		requirements = db_datum(0, TARGET_REQUIRES, &isnull);
		if (!isnull && !is_graph)
			g->requirements = requirement_list(requirements);
		g->dependents = db_text_list(db_datum(0, TARGET_DEPENDENTS, &isnull));
	}
	if (has_held)
		read_held(g);
	if (!is_graph)
		return running;
	g->graph = load_existing(g->request->tenant, g->target->module);
	MemoryContextSwitchTo(context);
	g->version = graph_find(g->graph, g->target->version);
	if (g->version < 0)
		/* withdrawn since the caller's snapshot was taken */
		version_refuse_missing(g->target->module, g->target->version);
	g->wanted = graph_closure(g->graph, list_make1_int(g->version));
	for (uint64 i = 0; i < n; i++)
		running[i].heads = plan_find_versions(g->graph, heads[i]);
	return running;
}

static void
plan_module(Planning *g, List **plans)
{
	Running *running = read_module(g, plans);
	ListCell *cell;

	foreach (cell, *plans)
	{
		NodePlan *p = lfirst(cell);
		const Running *r = &running[foreach_current_index(cell)];
		NodePlan part = { .node = p->node, .name = p->name, .is_agent = p->is_agent };

		p->swap_from = Max(p->swap_from, r->swap);
		p->previous_version = r->version;
		if (r->pin)
			plan_pinned(g, &part, r);
		else if (g->graph)
			plan_graph(g, &part, r);
		else
			plan_complete(g, &part, r);
		plan_merge(p, &part, g->target == linitial(g->request->targets));
		p->is_pinned = part.is_pinned;
	}
}

/* Of several modules a node runs the steps together, or none. */
static void
join_release(const PlanRequest *request, List *plans)
{
	ListCell *cell;

	foreach (cell, plans)
	{
		NodePlan *p = lfirst(cell);

		if (p->outcome == NODE_RUNS)
			plan_join(p);
		else if (p->outcome == NODE_SKIPPED && p->runs_target)
			p->reason =
				psprintf("node \"%s\" already runs release \"%s\"", p->name, request->release);
		/* which of its modules would be meant? */
		p->previous_version = NULL;
	}
}

List *
plan_environment(const PlanRequest *request)
{
	List *plans = NIL;
	List *dependents = NIL;
	ListCell *cell;

	foreach (cell, request->targets)
	{
		Planning g = { .request = request, .target = lfirst(cell) };

		plan_module(&g, &plans);
		dependents = list_concat(dependents, g.dependents);
	}
	if (request->release)
		join_release(request, plans);
	plan_check_requirements(request->tenant, plans, dependents, request->release != NULL);
	if (request->release)
		plans = list_concat(plans, plan_blocked_agents(request));
	return plans;
}

List *
plan_of_deployment(const Deployment *d, const char *environment)
{
	PlanRequest request = { .tenant = &d->tenant,
							.release = d->release,
							.is_rehearsal = d->kind == KIND_REHEARSAL,
							.environment = environment,
							.is_target = strcmp(environment, d->environment) == 0,
							.allow_revert = d->allow_revert,
							.reapply = d->reapply,
							.nodes = d->nodes };

	if (d->kind == KIND_ROLLBACK)
		return plan_rollback(&d->tenant, &d->rolls_back, NULL);
	if (d->kind == KIND_DECLARE)
		return plan_declaration(&d->tenant, d->module, uuid_array_first(d->nodes), d->heads,
								d->requested_at);
	request.targets = deployment_targets(d);
	request.all_nodes = d->all_nodes || !request.is_target;
	return plan_environment(&request);
}
