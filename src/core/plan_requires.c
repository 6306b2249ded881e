/*
 * plan_requires.c
 *		Whether plans leave each node with what its modules ask of each other (requirement.c).
 *
 * Each step that brings a version is looked at with what the node runs at that moment, after the steps
 * before it; where several modules come together, what is there in the end will do.  In the end, what other
 * modules of the node ask for, and had, must still be there; what was missing before is not the fault of
 * this plan.  A node on which that is not so has no way.
 *
 * A version of a graph is there if the node runs it or something that builds on it; a complete one, if the
 * node runs it, one that was published after it, or one with the same content, which it would not replace.
 *
 * The steps stay in the plan: an approval is about what will run when what they ask for has come.
 *
 * Plans whose steps ask for nothing, of modules that nobody asks for, are not looked at.  Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/plan.h"
#include "core/requirement.h"
#include "utils/builtins.h"

static DbStatement running_query =
	DB_STATEMENT("SELECT n.ordinal, m.ordinal, r.version, r.heads, r.requires"
				 " FROM unnest($2) WITH ORDINALITY n (id, ordinal)"
				 " CROSS JOIN unnest($3) WITH ORDINALITY m (name, ordinal)"
				 " CROSS JOIN LATERAL (SELECT nm.version, nm.heads, (SELECT v.requires"
				 " FROM hotswap.module_version v WHERE v.tenant_id = $1 AND v.module = nm.module"
				 " AND v.version = nm.version) FROM hotswap.node_module nm WHERE nm.tenant_id = $1"
				 " AND nm.node_id = n.id AND nm.module = m.name ORDER BY nm.swap DESC LIMIT 1)"
				 " r (version, heads, requires)",
				 UUIDOID, UUIDARRAYOID, TEXTARRAYOID);

enum
{
	RUNNING_NODE = 1,
	RUNNING_MODULE,
	RUNNING_VERSION,
	RUNNING_HEADS,
	RUNNING_REQUIRES
};

static DbStatement names_query = DB_STATEMENT(
	"SELECT r.ordinal, v.version, v.ordinal, v.digest"
	" FROM unnest($2, $3) WITH ORDINALITY r (module, name, ordinal) CROSS JOIN LATERAL"
	" (SELECT v.version, v.ordinal, v.digest FROM hotswap.module_version v WHERE v.tenant_id = $1"
	" AND v.module = r.module AND v.version = coalesce((SELECT t.version FROM hotswap.version_tag t"
	" WHERE t.tenant_id = $1 AND t.module = r.module AND t.tag = r.name), r.name) OFFSET 0) v",
	UUIDOID, TEXTARRAYOID, TEXTARRAYOID);

/* A module that is asked for, or asks. */
typedef struct Module
{
	char *name;
	const VersionGraph *graph; /* NULL: its versions are complete, or it has none */
} Module;

/* A name of a version that no graph knows: of a complete one, or a tag. */
typedef struct NamedVersion
{
	const char *module;
	const char *name;
	char *version; /* NULL: there is none */
	int32 ordinal;
	uint8 digest[DIGEST_LENGTH];
} NamedVersion;

/* What a node runs of a module. */
typedef struct Runs
{
	List *heads;        /* of char * */
	Bitmapset *members; /* of the graph, once somebody has asked */
	bool has_members;
	List *requirements; /* of Requirement: what its complete version asks for */
} Runs;

typedef struct Survey
{
	const pg_uuid_t *tenant;
	bool is_joint; /* several modules come together */
	List *plans;   /* of NodePlan: those that run something */
	List *modules; /* of Module */
	List *names;   /* of NamedVersion */
	Runs *runs;    /* of each node those of each module, before the plan */
} Survey;

/* ---- what there is to know ---- */

static int
find_module(const Survey *s, const char *name)
{
	ListCell *cell;

	foreach (cell, s->modules)
		if (strcmp(((Module *) lfirst(cell))->name, name) == 0)
			return foreach_current_index(cell);
	return -1;
}

static void
add_module(Survey *s, char *name)
{
	Module *m;

	if (find_module(s, name) >= 0)
		return;
	m = palloc0(sizeof(Module));
	m->name = name;
	s->modules = lappend(s->modules, m);
}

/* The modules that it takes to judge these plans; none: there is nothing to judge. */
static void
find_modules(Survey *s, List *dependents)
{
	ListCell *cell;

	foreach (cell, s->plans)
	{
		ListCell *step;
		ListCell *r;

		foreach (step, ((NodePlan *) lfirst(cell))->steps)
		{
			if (dependents != NIL)
				add_module(s, ((Step *) lfirst(step))->module);
			foreach (r, ((Step *) lfirst(step))->requirements)
				add_module(s, ((Requirement *) lfirst(r))->module);
		}
	}
	foreach (cell, dependents)
		add_module(s, lfirst(cell));
	foreach (cell, s->modules)
	{
		Module *m = lfirst(cell);
		MemoryContext context = CurrentMemoryContext;

		m->graph = graph_load(s->tenant, m->name);
		MemoryContextSwitchTo(context);
	}
}

static uint64
query_running(const Survey *s)
{
	MemoryContext context = CurrentMemoryContext;
	Datum *nodes = palloc(list_length(s->plans) * sizeof(Datum));
	List *modules = NIL;
	DbArgs args = db_args(&running_query);
	ListCell *cell;
	uint64 n;

	foreach (cell, s->plans)
		nodes[foreach_current_index(cell)] = UUIDPGetDatum(&((NodePlan *) lfirst(cell))->node);
	foreach (cell, s->modules)
		modules = lappend(modules, ((Module *) lfirst(cell))->name);
	db_arg_uuid(&args, s->tenant);
	db_arg_datum(&args, UUIDARRAYOID, uuid_array(nodes, list_length(s->plans)), false);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(modules), false);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	return n;
}

static void
read_running(Survey *s)
{
	uint64 n = query_running(s);
	int nmodules = list_length(s->modules);

	s->runs = palloc0(list_length(s->plans) * nmodules * sizeof(Runs));
	for (uint64 i = 0; i < n; i++)
	{
		int module = (int) db_int64(i, RUNNING_MODULE) - 1;
		Runs *runs = &s->runs[((int) db_int64(i, RUNNING_NODE) - 1) * nmodules + module];
		bool isnull;
		Datum requirements = db_datum(i, RUNNING_REQUIRES, &isnull);

		runs->heads = plan_head_names(i, RUNNING_VERSION, RUNNING_HEADS);
		if (!isnull && ((Module *) list_nth(s->modules, module))->graph == NULL)
			runs->requirements = requirement_list(requirements);
	}
}

/* ---- names of versions ---- */

static const NamedVersion *
find_name(const Survey *s, const char *module, const char *name)
{
	ListCell *cell;

	foreach (cell, s->names)
	{
		const NamedVersion *known = lfirst(cell);

		if (strcmp(known->name, name) == 0 && strcmp(known->module, module) == 0)
			return known;
	}
	return NULL;
}

/* A name will be needed, unless nobody asks for its module or its graph knows it. */
static void
add_name(Survey *s, const char *module, const char *name)
{
	int index = find_module(s, module);
	const VersionGraph *graph = index < 0 ? NULL : ((Module *) list_nth(s->modules, index))->graph;
	NamedVersion *added;

	if (index < 0 || name == NULL || (graph && graph_find(graph, name) >= 0) ||
		find_name(s, module, name))
		return;
	added = palloc0(sizeof(NamedVersion));
	added->module = module;
	added->name = name;
	s->names = lappend(s->names, added);
}

static void
add_names_of(Survey *s, List *requirements)
{
	ListCell *cell;

	foreach (cell, requirements)
		add_name(s, ((Requirement *) lfirst(cell))->module,
				 ((Requirement *) lfirst(cell))->version);
}

/* The names in the plans, and in what nodes run. */
static void
find_names(Survey *s)
{
	ListCell *cell;

	foreach (cell, s->plans)
	{
		const Runs *runs = &s->runs[foreach_current_index(cell) * list_length(s->modules)];
		ListCell *c;

		foreach (c, ((NodePlan *) lfirst(cell))->steps)
		{
			const Step *step = lfirst(c);

			add_name(s, step->module, step->version);
			add_names_of(s, step->requirements);
			if (step->heads != NIL)
				add_name(s, step->module, linitial(step->heads));
		}
		foreach (c, s->modules)
		{
			const Runs *r = &runs[foreach_current_index(c)];

			if (r->heads != NIL)
				add_name(s, ((Module *) lfirst(c))->name, linitial(r->heads));
			add_names_of(s, r->requirements);
		}
	}
	foreach (cell, s->modules)
	{
		const VersionGraph *graph = ((Module *) lfirst(cell))->graph;

		for (int i = 0; graph && i < graph->count; i++)
			add_names_of(s, graph->versions[i].requirements);
	}
}

static void
read_names(Survey *s)
{
	MemoryContext context = CurrentMemoryContext;
	List *modules = NIL;
	List *names = NIL;
	DbArgs args = db_args(&names_query);
	ListCell *cell;
	uint64 n;

	find_names(s);
	if (s->names == NIL)
		return;
	foreach (cell, s->names)
	{
		modules = lappend(modules, unconstify(char *, ((NamedVersion *) lfirst(cell))->module));
		names = lappend(names, unconstify(char *, ((NamedVersion *) lfirst(cell))->name));
	}
	db_arg_uuid(&args, s->tenant);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(modules), false);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(names), false);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		NamedVersion *name = list_nth(s->names, (int) db_int64(i, 1) - 1);

		name->version = db_text(i, 2);
		name->ordinal = db_int32(i, 3);
		(void) db_digest(i, 4, name->digest);
	}
}

/* ---- judging ---- */

static Bitmapset *
members_of(const VersionGraph *graph, Runs *runs)
{
	if (!runs->has_members)
		runs->members = graph_closure(graph, plan_find_versions(graph, runs->heads));
	runs->has_members = true;
	return runs->members;
}

/* Does a node run this version, or one that has it? */
static bool
has_version(const Survey *s, const Module *m, Runs *runs, const char *version)
{
	const NamedVersion *wanted;
	const NamedVersion *present;
	int index;

	if (m->graph)
	{
		index = graph_find(m->graph, version);
		if (index < 0 && (wanted = find_name(s, m->name, version)) != NULL && wanted->version)
			index = graph_find(m->graph, wanted->version);
		return index >= 0 && bms_is_member(index, members_of(m->graph, runs));
	}
	wanted = find_name(s, m->name, version);
	present = find_name(s, m->name, linitial(runs->heads));
	return wanted && wanted->version && present && present->version &&
		   (present->ordinal >= wanted->ordinal ||
			memcmp(present->digest, wanted->digest, DIGEST_LENGTH) == 0);
}

/* runs: what a node runs of each module */
static bool
is_met(const Survey *s, Runs *runs, const Requirement *r)
{
	int index = find_module(s, r->module);
	const Module *m = list_nth(s->modules, index);
	bool found = runs[index].heads != NIL &&
				 (r->version == NULL || has_version(s, m, &runs[index], r->version));

	return found != r->is_conflict;
}

static char *
requirement_words(const Requirement *r)
{
	return r->version ? psprintf("version \"%s\" of module \"%s\"", r->version, r->module) :
						psprintf("module \"%s\"", r->module);
}

/* A step brings a version that asks for something: is it there, or will it be in the end? */
static bool
check_step(const Survey *s, NodePlan *p, Runs *runs, Runs *end, const Step *step)
{
	ListCell *cell;

	foreach (cell, step->requirements)
	{
		const Requirement *r = lfirst(cell);

		if (is_met(s, runs, r) || (s->is_joint && is_met(s, end, r)))
			continue;
		if (r->is_conflict)
			plan_block(p,
					   psprintf("node \"%s\" runs %s, beside which version \"%s\" of module \"%s\""
								" must not run",
								p->name, requirement_words(r), step->version, step->module),
					   "Take it back with hotswap.rollback() first.");
		else
			plan_block(p,
					   psprintf("node \"%s\" does not run %s, which version \"%s\" of module"
								" \"%s\" requires",
								p->name, requirement_words(r), step->version, step->module),
					   psprintf("Deploy %s first.", requirement_words(r)));
		return false;
	}
	return true;
}

static void
apply_step(const Survey *s, Runs *runs, const Step *step)
{
	int index = find_module(s, step->module);
	Runs *r;

	if (index < 0)
		return;
	r = &runs[index];
	memset(r, 0, sizeof(Runs));
	r->heads = step->heads;
	r->requirements = step->requirements;
	if (!step->is_graph && step->heads == NIL && step->direction == STEP_UP)
		r->heads = list_make1(step->version);
}

/* Which of these requirements of a version would not be met any more? */
static void
add_losses(const Survey *s, Runs *before, Runs *after, const char *version, List *requirements,
		   const char *module, List **losses)
{
	ListCell *cell;

	foreach (cell, requirements)
	{
		const Requirement *r = lfirst(cell);

		if (find_module(s, r->module) >= 0 && is_met(s, before, r) && !is_met(s, after, r))
			*losses =
				lappend(*losses, psprintf("version \"%s\" of module \"%s\" %s %s", version, module,
										  r->is_conflict ? "must not run beside" : "requires",
										  requirement_words(r)));
	}
}

/* What was met on a node before, and would not be after. */
static List *
find_losses(const Survey *s, Runs *before, Runs *after)
{
	List *losses = NIL;
	ListCell *cell;

	foreach (cell, s->modules)
	{
		const Module *m = lfirst(cell);
		Runs *runs = &after[foreach_current_index(cell)];
		Bitmapset *members = m->graph ? members_of(m->graph, runs) : NULL;
		int member = -1;

		while ((member = bms_next_member(members, member)) >= 0)
			add_losses(s, before, after, m->graph->versions[member].name,
					   m->graph->versions[member].requirements, m->name, &losses);
		if (runs->requirements != NIL && m->graph == NULL)
			add_losses(s, before, after, linitial(runs->heads), runs->requirements, m->name,
					   &losses);
	}
	return losses;
}

static void
check_node(const Survey *s, NodePlan *p, Runs *before)
{
	Size size = list_length(s->modules) * sizeof(Runs);
	Runs *after = palloc(size);
	Runs *end = palloc(size);
	StringInfoData words;
	List *losses;
	ListCell *cell;

	memcpy(after, before, size);
	memcpy(end, before, size);
	foreach (cell, p->steps)
		apply_step(s, end, lfirst(cell));
	foreach (cell, p->steps)
	{
		if (!check_step(s, p, after, end, lfirst(cell)))
			return;
		apply_step(s, after, lfirst(cell));
	}
	losses = find_losses(s, before, after);
	if (losses == NIL)
		return;
	initStringInfo(&words);
	foreach (cell, losses)
		appendStringInfo(&words, "%s%s", words.len > 0 ? ", " : "", (char *) lfirst(cell));
	plan_block(p, psprintf("on node \"%s\" %s", p->name, words.data), "Take it back first.");
}

void
plan_check_requirements(const pg_uuid_t *tenant, List *plans, List *dependents, bool is_joint)
{
	Survey s = { .tenant = tenant, .is_joint = is_joint };
	ListCell *cell;

	foreach (cell, plans)
		if (((NodePlan *) lfirst(cell))->outcome == NODE_RUNS)
			s.plans = lappend(s.plans, lfirst(cell));
	find_modules(&s, dependents);
	if (s.modules == NIL || s.plans == NIL)
		return;
	read_running(&s);
	read_names(&s);
	foreach (cell, s.plans)
		check_node(&s, lfirst(cell), &s.runs[foreach_current_index(cell) * list_length(s.modules)]);
}
