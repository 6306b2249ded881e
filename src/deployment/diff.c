/*
 * diff.c
 *		What differs between two versions, and between what two environments run.
 *
 * Nothing is run, written or locked.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/diff.h"
#include "base/names.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/environment_row.h"
#include "core/missing.h"
#include "core/tenant.h"
#include "core/version_graph.h"
#include "fmgr.h"
#include "funcapi.h"
#include "module/tag.h"
#include "module/version.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_diff_versions);
PG_FUNCTION_INFO_V1(hotswap_diff_environments);

/* The nodes of an environment, and what runs there now. */
static DbStatement nodes_query = DB_STATEMENT(
	"SELECT n.name, m.version, m.heads FROM hotswap.node n"
	" LEFT JOIN LATERAL (SELECT nm.version, nm.heads FROM hotswap.node_module nm"
	" WHERE nm.tenant_id = $1 AND nm.node_id = n.id AND nm.module = $3"
	" ORDER BY nm.swap DESC LIMIT 1) m ON true"
	" WHERE n.tenant_id = $1 AND n.environment = $2 AND n.removed_at IS NULL ORDER BY n.name",
	UUIDOID, TEXTOID, TEXTOID);

static DbStatement module_query =
	DB_STATEMENT("SELECT 1 FROM hotswap.module WHERE tenant_id = $1 AND name = $2", UUIDOID,
				 TEXTOID);

/* ---- versions ---- */

/* As the files of a release folder are called. */
static const char *const file_words[SCRIPT_COUNT] = { "deploy", "verify", "revert", "install" };

/* What else says what is done, a line each; the parents are not part of it. */
static char *
properties_of(const Version *v)
{
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	appendStringInfo(&text, "transactional %s\n", v->transactional ? "true" : "false");
	foreach (cell, v->requirements)
		appendStringInfo(&text, "requires %s\n", (char *) lfirst(cell));
	return text.data;
}

static void
append_file(StringInfo out, const Version *a, const Version *b, const char *word,
			const char *old_text, const char *new_text)
{
	diff_append(out, psprintf("%s.%s", a->name, word), old_text, psprintf("%s.%s", b->name, word),
				new_text);
}

static Version *
read_version(const pg_uuid_t *tenant, const char *module, const char *name)
{
	char *version = version_resolve(tenant, module, name);
	Version *v = version_read(tenant, module, version, VERSION_WHOLE);

	if (v == NULL)
		version_refuse_missing(module, version);
	version_require_intact(v);
	return v;
}

/*
 * diff_versions(module text, a text, b text, tenant uuid) returns text
 *
 * Out: what leads from the scripts of a to those of b, in the unified form; empty where they are equal.
 * Errors: 22023, P0002 no such version or tenant, 42501, XX001.
 */
Datum
hotswap_diff_versions(PG_FUNCTION_ARGS)
{
	char *module = arg_module(fcinfo, 0);
	char *names[] = { arg_version(fcinfo, 1, "a"), arg_version(fcinfo, 2, "b") };
	pg_uuid_t tenant = tenant_argument(fcinfo, 3);
	StringInfoData out;
	Version *a;
	Version *b;
	Call c;

	initStringInfo(&out);
	call_begin(&c, &tenant, CAPABILITY_VIEWER, "compare versions");
	a = read_version(&tenant, module, names[0]);
	b = read_version(&tenant, module, names[1]);
	for (int i = 0; i < SCRIPT_COUNT; i++)
		append_file(&out, a, b, file_words[i], a->scripts[i], b->scripts[i]);
	append_file(&out, a, b, "properties", properties_of(a), properties_of(b));
	call_end(&c);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* ---- environments ---- */

/* A node, and which versions are applied there. */
typedef struct ComparedNode
{
	char *name;
	Bitmapset *applied; /* of places in the list of names */
} ComparedNode;

typedef struct ComparedEnvironment
{
	char *name;
	List *nodes; /* of ComparedNode */
} ComparedEnvironment;

typedef struct EnvironmentDiff
{
	pg_uuid_t tenant;
	char *module;
	const VersionGraph *graph; /* NULL: the versions are complete */
	List *names;               /* of versions, in the order of the graph, or as they were met */
	ComparedEnvironment environments[2];
	ReturnSetInfo *result;
} EnvironmentDiff;

/* The place of a complete version. */
static int
place_of(EnvironmentDiff *d, char *version)
{
	int place = names_find(d->names, version);

	if (place >= 0)
		return place;
	d->names = lappend(d->names, version);
	return list_length(d->names) - 1;
}

static Bitmapset *
applied_versions(EnvironmentDiff *d, uint64 row)
{
	char *version = db_text(row, 2);
	bool isnull;
	Datum heads = db_datum(row, 3, &isnull);
	List *versions = NIL;
	ListCell *cell;

	if (version == NULL)
		return NULL;
	if (d->graph == NULL)
		return bms_make_singleton(place_of(d, version));
	foreach (cell, isnull ? list_make1(version) : db_text_list(heads))
		versions = lappend_int(versions, graph_find(d->graph, lfirst(cell)));
	return graph_closure(d->graph, versions);
}

static void
read_environment(EnvironmentDiff *d, ComparedEnvironment *e)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(e->name),
					 CStringGetTextDatum(d->module) };
	uint64 n;

	environment_require(&d->tenant, e->name);
	n = db_run(&nodes_query, args, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		ComparedNode *node = palloc(sizeof(ComparedNode));

		node->name = db_text(i, 1);
		node->applied = applied_versions(d, i);
		e->nodes = lappend(e->nodes, node);
	}
}

static void
read_module(EnvironmentDiff *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(d->module) };

	if (db_run(&module_query, args, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("module \"%s\" does not exist", d->module),
				 errhint("Publish a version of it with hotswap.publish_version().")));
	d->graph = graph_load(&d->tenant, d->module);
	for (int i = 0; d->graph && i < d->graph->count; i++)
		d->names = lappend(d->names, d->graph->versions[i].name);
}

/* The names of nodes that run a version, or of those that do not. */
static List *
nodes_with(const ComparedEnvironment *e, int version, bool runs)
{
	List *names = NIL;
	ListCell *cell;

	foreach (cell, e->nodes)
	{
		const ComparedNode *node = lfirst(cell);

		if (bms_is_member(version, node->applied) == runs)
			names = lappend(names, node->name);
	}
	return names;
}

/* A row for what some nodes of an environment run and not all of the other one do. */
static void
put_version(EnvironmentDiff *d, const ComparedEnvironment *e, const ComparedEnvironment *other,
			int version)
{
	List *having = nodes_with(e, version, true);
	List *missing = nodes_with(other, version, false);
	Datum values[4];
	bool nulls[4] = { false };

	if (having == NIL || (missing == NIL && other->nodes != NIL))
		return;
	values[0] = CStringGetTextDatum(e->name);
	values[1] = CStringGetTextDatum(list_nth(d->names, version));
	values[2] = db_text_array(having);
	values[3] = db_text_array(missing);
	tuplestore_putvalues(d->result->setResult, d->result->setDesc, values, nulls);
}

/*
 * diff_environments(module text, a text, b text, tenant uuid)
 *		returns (environment, version, nodes, missing)
 *
 * Out: a row for each version that nodes of one environment run and not all nodes of the other one do.  Errors:
 * 22023, P0002 no such module, environment or tenant, 42501.
 */
Datum
hotswap_diff_environments(PG_FUNCTION_ARGS)
{
	EnvironmentDiff d = { .module = arg_module(fcinfo, 0),
						  .environments = { { .name = arg_text(fcinfo, 1, "a", NAME_LIMIT) },
											{ .name = arg_text(fcinfo, 2, "b", NAME_LIMIT) } },
						  .tenant = tenant_argument(fcinfo, 3),
						  .result = (ReturnSetInfo *) fcinfo->resultinfo };
	Call c;

	InitMaterializedSRF(fcinfo, 0);
	call_begin(&c, &d.tenant, CAPABILITY_VIEWER, "compare environments");
	read_module(&d);
	for (int i = 0; i < 2; i++)
		read_environment(&d, &d.environments[i]);
	for (int i = 0; i < 2; i++)
		for (int version = 0; version < list_length(d.names); version++)
			put_version(&d, &d.environments[i], &d.environments[1 - i], version);
	call_end(&c);
	return (Datum) 0;
}
