/*
 * version_graph.c
 *		The versions of a module as a graph: loaded, kept in the process, and sets of them.
 *
 * What is kept is compared with the module's row each time.  Its history is a hash over what was published and
 * withdrawn, in order: if it is the same, so are the versions; if it is what ours becomes by those that came
 * since, they are added; else (a withdrawal, a transaction that was rolled back, an older snapshot) the graph
 * is read anew.  Row and versions are read by one statement, so by one snapshot.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "core/requirement.h"
#include "core/version_graph.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* So many versions are kept in all; the graphs that were used longest ago go first. */
#define KEPT_VERSIONS 100000

static DbStatement find_module =
	DB_STATEMENT("SELECT is_graph, history FROM hotswap.module WHERE tenant_id = $1 AND name = $2",
				 UUIDOID, TEXTOID);

/* The module's row, once for each version after an ordinal, and once without if there is none. */
static DbStatement load_versions = DB_STATEMENT(
	"SELECT m.history, v.version, v.ordinal, v.digest, v.parents, v.revert_sql IS NOT NULL,"
	" v.transactional, v.requires FROM hotswap.module m LEFT JOIN hotswap.module_version v"
	" ON v.tenant_id = $1 AND v.module = $2 AND v.ordinal > $3"
	" WHERE m.tenant_id = $1 AND m.name = $2 ORDER BY v.ordinal",
	UUIDOID, TEXTOID, INT4OID);

enum
{
	LOADED_HISTORY = 1,
	LOADED_NAME,
	LOADED_ORDINAL,
	LOADED_DIGEST,
	LOADED_PARENTS,
	LOADED_HAS_REVERT,
	LOADED_TRANSACTIONAL,
	LOADED_REQUIRES
};

typedef struct NameEntry
{
	const char *name;
	int version;
	char status;
} NameEntry;

#define SH_PREFIX names
#define SH_ELEMENT_TYPE NameEntry
#define SH_KEY_TYPE const char *
#define SH_KEY name
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(table, a, b) (strcmp(a, b) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A graph that is kept. */
typedef struct KeptGraph
{
	VersionGraph graph;
	pg_uuid_t tenant;
	MemoryContext context;
	int space; /* versions that there is memory for */
	bool has_history;
	uint8 history[DIGEST_LENGTH];
} KeptGraph;

static List *kept = NIL; /* of KeptGraph, the one used last first */

/* ---- keeping ---- */

/* Whoever holds the graph may use it until the transaction ends. */
static void
forget(KeptGraph *k)
{
	kept = list_delete_ptr(kept, k);
	MemoryContextSetParent(k->context, TopTransactionContext);
}

static KeptGraph *
find_kept(const pg_uuid_t *tenant, const char *module)
{
	ListCell *cell;

	foreach (cell, kept)
	{
		KeptGraph *k = lfirst(cell);

		if (memcmp(&k->tenant, tenant, UUID_LEN) == 0 && strcmp(k->graph.module, module) == 0)
			return k;
	}
	return NULL;
}

/* Puts a graph in front, and forgets the last ones if there are too many versions. */
static void
keep(KeptGraph *k)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	int total = 0;
	ListCell *cell;

	kept = lcons(k, list_delete_ptr(kept, k));
	MemoryContextSwitchTo(old);
	foreach (cell, kept)
		total += ((KeptGraph *) lfirst(cell))->graph.count;
	while (total > KEPT_VERSIONS && list_length(kept) > 1)
	{
		total -= ((KeptGraph *) llast(kept))->graph.count;
		forget(llast(kept));
	}
}

static KeptGraph *
make(const pg_uuid_t *tenant, const char *module)
{
	/* a child of the transaction's until it is complete, so that an error leaves nothing behind */
	MemoryContext context =
		AllocSetContextCreate(TopTransactionContext, "hotswap version graph", ALLOCSET_SMALL_SIZES);
	KeptGraph *k = MemoryContextAllocZero(context, sizeof(KeptGraph));

	k->context = context;
	k->tenant = *tenant;
	k->graph.module = MemoryContextStrdup(context, module);
	k->graph.names = names_create(context, 64, NULL);
	return k;
}

/* ---- loading ---- */

void
graph_history_next(const uint8 *history, bool withdrawn, const uint8 *digest, uint8 *result)
{
	static const char word[] = "withdrawn";
	uint8 data[2 * DIGEST_LENGTH + sizeof(word) - 1];
	size_t length = 0;

	if (history)
	{
		memcpy(data, history, DIGEST_LENGTH);
		length += DIGEST_LENGTH;
	}
	if (withdrawn)
	{
		memcpy(data + length, word, sizeof(word) - 1);
		length += sizeof(word) - 1;
	}
	memcpy(data + length, digest, DIGEST_LENGTH);
	digest_plain(data, length + DIGEST_LENGTH, result);
}

static void
read_parents(KeptGraph *k, GraphVersion *v, uint64 row)
{
	bool isnull;
	Datum array = db_datum(row, LOADED_PARENTS, &isnull);
	List *names;
	ListCell *cell;

	if (isnull)
		elog(ERROR, "version \"%s\" of module \"%s\" has no parents", v->name, k->graph.module);
	names = db_text_list(array);
	v->parents = MemoryContextAlloc(k->context, Max(list_length(names), 1) * sizeof(int));
	foreach (cell, names)
	{
		int parent = graph_find(&k->graph, lfirst(cell));

		if (parent < 0)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("version \"%s\" of module \"%s\" has a parent \"%s\" that was"
								   " not published before it",
								   v->name, k->graph.module, (char *) lfirst(cell))));
		v->parents[v->nparents++] = parent;
	}
	list_free_deep(names);
}

static void
read_requires(KeptGraph *k, GraphVersion *v, uint64 row)
{
	bool isnull;
	Datum array = db_datum(row, LOADED_REQUIRES, &isnull);
	MemoryContext old;

	if (isnull)
		return;
	old = MemoryContextSwitchTo(k->context);
	v->requirements = requirement_list(array);
	MemoryContextSwitchTo(old);
}

static void
add_version(KeptGraph *k, uint64 row)
{
	VersionGraph *g = &k->graph;
	GraphVersion *v;
	NameEntry *entry;
	bool found;
	char *name = db_text(row, LOADED_NAME);

	if (g->count == k->space)
	{
		GraphVersion *larger;

		k->space = Max(2 * k->space, 16);
		larger = MemoryContextAllocHuge(k->context, k->space * sizeof(GraphVersion));
		if (g->count > 0)
			memcpy(larger, g->versions, g->count * sizeof(GraphVersion));
		if (g->versions)
			pfree(g->versions);
		g->versions = larger;
	}
	v = &g->versions[g->count];
	memset(v, 0, sizeof(GraphVersion));
	v->name = MemoryContextStrdup(k->context, name);
	v->ordinal = db_int32(row, LOADED_ORDINAL);
	(void) db_digest(row, LOADED_DIGEST, v->digest);
	v->has_revert = db_bool(row, LOADED_HAS_REVERT);
	v->transactional = db_bool(row, LOADED_TRANSACTIONAL);
	read_parents(k, v, row);
	read_requires(k, v, row);
	entry = names_insert(g->names, v->name, &found);
	entry->version = g->count++;
	pfree(name);
}

/* Does the history of what is kept become this one by the rows that were read? */
static bool
follows(const KeptGraph *k, uint64 nrows, const uint8 *history)
{
	uint8 hash[DIGEST_LENGTH];
	uint8 digest[DIGEST_LENGTH];

	if (!k->has_history)
		return false;
	memcpy(hash, k->history, DIGEST_LENGTH);
	for (uint64 i = 0; i < nrows; i++)
	{
		(void) db_digest(i, LOADED_DIGEST, digest);
		graph_history_next(hash, false, digest, hash);
	}
	return memcmp(hash, history, DIGEST_LENGTH) == 0;
}

/* Reads the versions after those that are kept; false if these do not go before them. */
static bool
read_versions(KeptGraph *k)
{
	int32 last = k->graph.count > 0 ? k->graph.versions[k->graph.count - 1].ordinal : 0;
	Datum args[] = { UUIDPGetDatum(&k->tenant), CStringGetTextDatum(k->graph.module),
					 Int32GetDatum(last) };
	uint64 n = db_run_newest(&load_versions, args, NULL);
	uint8 history[DIGEST_LENGTH];
	bool has_history = n > 0 && db_digest(0, LOADED_HISTORY, history);

	if (n > 0 && db_isnull(0, LOADED_NAME))
		n = 0;
	if (k->graph.count > 0 && !(has_history && follows(k, n, history)))
		return false;
	/* an error on the way leaves what does not fit its history */
	k->has_history = false;
	for (uint64 i = 0; i < n; i++)
		add_version(k, i);
	memcpy(k->history, history, DIGEST_LENGTH);
	k->has_history = has_history;
	return true;
}

VersionGraph *
graph_load(const pg_uuid_t *tenant, const char *module)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module) };
	KeptGraph *k;
	uint8 history[DIGEST_LENGTH];
	bool has_history;

	if (db_run_newest(&find_module, args, NULL) == 0 || !db_bool(0, 1))
		return NULL;
	has_history = db_digest(0, 2, history);
	k = find_kept(tenant, module);
	if (k && !(has_history && k->has_history && memcmp(history, k->history, DIGEST_LENGTH) == 0) &&
		!read_versions(k))
	{
		forget(k);
		k = NULL;
	}
	if (k == NULL)
	{
		k = make(tenant, module);
		(void) read_versions(k);
		MemoryContextSetParent(k->context, TopMemoryContext);
	}
	keep(k);
	return &k->graph;
}

/* The index of a version, or -1. */
int
graph_find(const VersionGraph *g, const char *name)
{
	NameEntry *entry = names_lookup(g->names, name);

	return entry ? entry->version : -1;
}

/* ---- sets ---- */

/* These versions and all that they build on. */
Bitmapset *
graph_closure(const VersionGraph *g, List *heads)
{
	Bitmapset *set = NULL;
	ListCell *cell;
	int version = -1;

	foreach (cell, heads)
		set = bms_add_member(set, lfirst_int(cell));
	/* parents come before their children: one way down the order is enough */
	while ((version = bms_prev_member(set, version)) >= 0)
		for (int i = 0; i < g->versions[version].nparents; i++)
			set = bms_add_member(set, g->versions[version].parents[i]);
	return set;
}

static void
applied_put(AppliedSet *set, int version)
{
	const GraphVersion *v = &set->graph->versions[version];

	set->members = bms_add_member(set->members, version);
	for (int i = 0; i < v->nparents; i++)
		if (set->children[v->parents[i]]++ == 0)
			set->heads = list_delete_int(set->heads, v->parents[i]);
	set->heads = lappend_int(set->heads, version);
}

/* The set that has these heads; in the current context. */
void
applied_begin(AppliedSet *set, const VersionGraph *g, List *heads)
{
	Bitmapset *closure = graph_closure(g, heads);
	int version = -1;

	memset(set, 0, sizeof(AppliedSet));
	set->graph = g;
	set->children = palloc0(Max(g->count, 1) * sizeof(int));
	while ((version = bms_next_member(closure, version)) >= 0)
		applied_put(set, version);
}

/* A version whose parents are members becomes one. */
void
applied_add(AppliedSet *set, int version)
{
	if (bms_is_member(version, set->members))
		elog(ERROR, "version \"%s\" is applied already", set->graph->versions[version].name);
	applied_put(set, version);
	list_sort(set->heads, list_int_cmp);
}

/* A version and all that it builds on become members. */
void
applied_add_all(AppliedSet *set, int version)
{
	Bitmapset *closure = graph_closure(set->graph, list_make1_int(version));
	int member = -1;

	while ((member = bms_next_member(closure, member)) >= 0)
		if (!bms_is_member(member, set->members))
			applied_add(set, member);
}

/* A head is a member no more. */
void
applied_remove(AppliedSet *set, int version)
{
	const GraphVersion *v = &set->graph->versions[version];

	if (!list_member_int(set->heads, version))
		elog(ERROR, "version \"%s\" is not a head", v->name);
	set->members = bms_del_member(set->members, version);
	set->heads = list_delete_int(set->heads, version);
	for (int i = 0; i < v->nparents; i++)
		if (--set->children[v->parents[i]] == 0)
			set->heads = lappend_int(set->heads, v->parents[i]);
	list_sort(set->heads, list_int_cmp);
}
