/*
 * interface.c
 *		The entries of a module on a node.
 *
 * An entry has the name, the arguments with their names, modes and defaults, and all that the
 * planner asks of the functions that it is an entry to.  So it stands for every version that can be
 * reached, and these must agree: a default is taken from the entry before anybody knows which version
 * it is for, a function whose result is known to be constant is called once for many transactions.
 * Therefore an entry is not IMMUTABLE whatever the function is, and is not used where only that will
 * do: in indexes, partition keys, generated columns, statistics.
 *
 * An entry stays as long as a slot has a function for it.  It is never made anew: that would tell every
 * session to plan its statements again, and mixed versions would be planned with it.
 *
 * Locks nothing but what it drops.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "route/interface.h"
#include "route/route.h"
#include "route/words.h"
#include "utils/builtins.h"

#define VOLATILITY(p) "CASE " p ".provolatile WHEN 'v' THEN 'VOLATILE' ELSE 'STABLE' END"
#define VOLATILITY_OF_FUNCTION VOLATILITY("f")
#define VOLATILITY_OF_ENTRY VOLATILITY("e")

/*
 * The functions of a slot, how an entry to each is made, and what has its name and arguments; with what has to be
 * the same in an entry and all functions that it is one to, and is not.
 */
static DbStatement functions_query = DB_STATEMENT(
	"SELECT f.proname, f.oid::regprocedure::text, f.prokind = 'p',"
	" pg_get_function_arguments(f.oid), pg_get_function_result(f.oid),"
	" concat_ws(' ', CASE f.prokind WHEN 'w' THEN 'WINDOW' END, " VOLATILITY_OF_FUNCTION ","
	" CASE WHEN f.proisstrict THEN 'STRICT' END, CASE WHEN f.proleakproof THEN 'LEAKPROOF' END,"
	" CASE f.proparallel WHEN 's' THEN 'PARALLEL SAFE' WHEN 'r' THEN 'PARALLEL RESTRICTED' END,"
	" 'COST ' || f.procost, CASE WHEN f.proretset THEN 'ROWS ' || f.prorows END),"
	" e.oid, CASE WHEN l.lanname = 'hotswap' THEN e.prosrc END,"
	" CASE WHEN e.oid IS NOT NULL THEN (SELECT coalesce(string_agg(d.name, ', ' ORDER BY d.n), '')"
	" FROM (VALUES (1, 'kind', f.prokind::text, e.prokind::text),"
	" (2, 'result', pg_get_function_result(f.oid), pg_get_function_result(e.oid)),"
	" (3, 'arguments or their defaults', pg_get_function_arguments(f.oid),"
	" pg_get_function_arguments(e.oid)),"
	" (4, 'volatility', " VOLATILITY_OF_FUNCTION ", " VOLATILITY_OF_ENTRY "),"
	" (5, 'strictness', f.proisstrict::text, e.proisstrict::text),"
	" (6, 'parallel label', f.proparallel::text, e.proparallel::text),"
	" (7, 'leakproofness', f.proleakproof::text, e.proleakproof::text),"
	" (8, 'cost', float4send(f.procost)::text, float4send(e.procost)::text),"
	" (9, 'rows', float4send(f.prorows)::text, float4send(e.prorows)::text)) d (n, name, of_f, of_e)"
	" WHERE d.of_f IS DISTINCT FROM d.of_e) END"
	" FROM unnest($1) WITH ORDINALITY u (oid, n) JOIN pg_proc f ON f.oid = u.oid"
	" LEFT JOIN pg_proc e ON e.proname = f.proname AND e.proargtypes = f.proargtypes"
	" AND e.pronamespace = (SELECT s.oid FROM pg_namespace s WHERE s.nspname = $2)"
	" LEFT JOIN pg_language l ON l.oid = e.prolang ORDER BY u.n",
	OIDARRAYOID, TEXTOID);

enum
{
	FUNCTION_NAME = 1,
	FUNCTION_SIGNATURE,
	FUNCTION_IS_PROCEDURE,
	FUNCTION_ARGUMENTS,
	FUNCTION_RESULT,
	FUNCTION_ATTRIBUTES,
	ENTRY_OID,
	ENTRY_BODY,
	ENTRY_DIFFERENCES
};

/* What asks of functions that they be IMMUTABLE. */
static DbStatement immutable_uses = DB_STATEMENT(
	"SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d"
	" LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid"
	" LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid"
	" LEFT JOIN pg_attribute g ON g.attrelid = a.adrelid AND g.attnum = a.adnum"
	" WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = ANY ($1)"
	" AND (c.relkind IN ('i', 'I', 'p') OR g.attgenerated <> ''"
	" OR d.classid = 'pg_statistic_ext'::regclass) ORDER BY 1",
	OIDARRAYOID);

/* The entries of a module on a node ($2: how the text of all of them begins). */
#define ENTRIES                                                                                     \
	"(SELECT e.* FROM pg_language l JOIN pg_depend d ON d.refclassid = 'pg_language'::regclass"     \
	" AND d.refobjid = l.oid AND d.classid = 'pg_proc'::regclass JOIN pg_proc e ON e.oid = d.objid" \
	" WHERE l.lanname = 'hotswap' AND starts_with(e.prosrc, $2)"                                    \
	" AND e.pronamespace = (SELECT s.oid FROM pg_namespace s WHERE s.nspname = $1)) e"

/* $3: the schemas of the slots */
#define HAS_FUNCTION                                                              \
	"EXISTS (SELECT FROM pg_proc f JOIN pg_namespace s ON s.oid = f.pronamespace" \
	" WHERE f.proname = e.proname AND f.proargtypes = e.proargtypes AND s.nspname = ANY ($3))"

#define HAS_DEPENDENTS                                                         \
	"EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass" \
	" AND d.refobjid = e.oid AND d.deptype = 'n')"

/* Entries that something uses and the version does not have; of a rule its view. */
static DbStatement missed_query = DB_STATEMENT(
	"SELECT format('%s uses %s', (SELECT pg_describe_object(coalesce(w.refclassid, d.classid),"
	" coalesce(w.refobjid, d.objid), 0) FROM pg_depend d LEFT JOIN pg_depend w"
	" ON w.classid = d.classid AND w.objid = d.objid AND w.deptype = 'i'"
	" WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = e.oid"
	" AND d.deptype = 'n' ORDER BY d.classid, d.objid LIMIT 1), e.oid::regprocedure) COLLATE \"C\""
	" FROM " ENTRIES " WHERE NOT " HAS_FUNCTION " AND " HAS_DEPENDENTS " ORDER BY 1",
	TEXTOID, TEXTOID, TEXTARRAYOID);

static DbStatement unused_query =
	DB_STATEMENT("SELECT e.oid FROM " ENTRIES " WHERE NOT " HAS_FUNCTION " AND NOT " HAS_DEPENDENTS,
				 TEXTOID, TEXTOID, TEXTARRAYOID);

static DbStatement entries_query =
	DB_STATEMENT("SELECT e.oid FROM " ENTRIES " ORDER BY e.oid::regprocedure::text COLLATE \"C\"",
				 TEXTOID, TEXTOID);

static DbStatement slot_names =
	DB_STATEMENT("SELECT slot FROM hotswap.route_slot"
				 " WHERE tenant_id = $1 AND node_id = $2 AND module = $3",
				 UUIDOID, UUIDOID, TEXTOID);

/* What of the slot ($3) is in the signatures of entries: in their defaults, that is. */
static DbStatement dependent_query = DB_STATEMENT(
	"SELECT format('%s uses %s', e.oid::regprocedure,"
	" pg_describe_object(u.refclassid, u.refobjid, u.refobjsubid)) COLLATE \"C\""
	" FROM " ENTRIES " JOIN pg_depend u ON u.classid = 'pg_proc'::regclass AND u.objid = e.oid"
	" JOIN pg_namespace s ON s.nspname = $3 AND s.oid = CASE u.refclassid"
	" WHEN 'pg_proc'::regclass THEN (SELECT pronamespace FROM pg_proc WHERE oid = u.refobjid)"
	" WHEN 'pg_class'::regclass THEN (SELECT relnamespace FROM pg_class WHERE oid = u.refobjid)"
	" WHEN 'pg_type'::regclass THEN (SELECT typnamespace FROM pg_type WHERE oid = u.refobjid) END"
	" ORDER BY 1",
	TEXTOID, TEXTOID, TEXTOID);

/* ---- words ---- */

static void
refuse(const RingKey *key, const RingSlot *slot, char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("version \"%s\" of module \"%s\" cannot be routed", slot->version, key->module),
			 errdetail_internal("%s", detail), errhint("%s", hint)));
}

/* The first column of a result, in words; NULL: it has no rows. */
static char *
words_of(uint64 n)
{
	List *words = NIL;

	for (uint64 i = 0; i < n; i++)
		words = lappend(words, db_text(i, 1));
	return n > 0 ? words_join(words) : NULL;
}

/* ---- an entry ---- */

/* The bodies of all entries of the module begin so. */
static char *
body_prefix(const RingKey *key)
{
	char *body = entry_body(key->tenant, key->node, key->module, "f", "s");

	*strstr(body, " function \"f\" slot \"s\"") = '\0';
	return psprintf("%s function", body);
}

static char *
command_for(const RingKey *key, const RingSlot *slot, uint64 row)
{
	char *name = db_text(row, FUNCTION_NAME);
	char *body = entry_body(key->tenant, key->node, key->module, name, slot->name);
	StringInfoData sql;
	bool is_procedure = db_bool(row, FUNCTION_IS_PROCEDURE);

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE OR REPLACE %s %s(%s)", is_procedure ? "PROCEDURE" : "FUNCTION",
					 quote_qualified_identifier(slot->entry_schema, name),
					 db_text(row, FUNCTION_ARGUMENTS));
	if (!is_procedure)
		appendStringInfo(&sql, " RETURNS %s %s", db_text(row, FUNCTION_RESULT),
						 db_text(row, FUNCTION_ATTRIBUTES));
	appendStringInfo(&sql, " LANGUAGE hotswap AS %s", quote_literal_cstr(body));
	return sql.data;
}

/*
 * Is the function that has the place of an entry one?  Raises 0A000 where it is something else that
 * may not become one, or differs.
 */
static bool
require_fitting(const RingKey *key, const RingSlot *slot, uint64 row, const char *prefix,
				bool adopt)
{
	char *signature = db_text(row, FUNCTION_SIGNATURE);
	char *body = db_text(row, ENTRY_BODY);
	char *differences = db_text(row, ENTRY_DIFFERENCES);

	if (body == NULL && adopt)
		return false;
	if (body == NULL || strncmp(body, prefix, strlen(prefix)) != 0)
		refuse(
			key, slot,
			psprintf("In schema \"%s\" there is already a function with the name and the arguments "
					 "of %s, which is not the module's.",
					 slot->entry_schema, signature),
			"Drop it, or give the version's another name.");
	if (*differences)
		refuse(key, slot,
			   psprintf("The %s of %s differ from what callers of the other versions know.",
						differences, signature),
			   "Give the function another name: all versions that can be reached must agree.");
	return true;
}

static void
require_mutable(const RingKey *key, const RingSlot *slot, List *adopted)
{
	Datum args[] = { db_oid_array(adopted) };
	char *uses = words_of(db_run(&immutable_uses, args, NULL));

	if (uses)
		refuse(key, slot,
			   psprintf("Its functions are used where they must be IMMUTABLE: %s.", uses),
			   "What they return may change with a version: use functions of a module that is not "
			   "routed there.");
}

static void
arg_entries(DbArgs *args, const RingKey *key, const char *entry_schema)
{
	db_arg_text(args, entry_schema);
	db_arg_text(args, body_prefix(key));
}

/* Raises 0A000 where something would call a function that the version has not got. */
static void
require_missed_by_nobody(const RingKey *key, const RingSlot *slot)
{
	DbArgs args = db_args(&missed_query);
	char *uses;

	arg_entries(&args, key, slot->entry_schema);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(list_make1(slot->name)), false);
	uses = words_of(db_run_args(&args));
	if (uses)
		refuse(key, slot, psprintf("It lacks functions that are used: %s.", uses),
			   "Drop what uses them first.");
}

List *
interface_commands(const RingKey *key, const RingSlot *slot, List *functions, bool adopt)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { db_oid_array(functions), CStringGetTextDatum(slot->entry_schema) };
	char *prefix = body_prefix(key);
	List *commands = NIL;
	List *adopted = NIL;
	uint64 n = db_run(&functions_query, args, NULL);

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		if (!db_isnull(i, ENTRY_OID))
		{
			if (require_fitting(key, slot, i, prefix, adopt))
				continue;
			adopted = lappend_oid(adopted, db_oid(i, ENTRY_OID));
		}
		commands = lappend(commands, command_for(key, slot, i));
	}
	require_mutable(key, slot, adopted);
	require_missed_by_nobody(key, slot);
	return commands;
}

void
interface_require_independent(const RingKey *key, const RingSlot *slot)
{
	DbArgs args = db_args(&dependent_query);
	char *uses;

	arg_entries(&args, key, slot->entry_schema);
	db_arg_text(&args, slot->name);
	uses = words_of(db_run_args(&args));
	if (uses)
		refuse(key, slot, psprintf("Defaults of arguments are the version's own: %s.", uses),
			   "Callers of all versions have the same defaults: name the function with its schema "
			   "in front, which is its entry, or take what is not routed.");
}

List *
interface_entries(const RingKey *key, const char *entry_schema)
{
	MemoryContext context = CurrentMemoryContext;
	DbArgs args = db_args(&entries_query);
	List *entries = NIL;
	uint64 n;

	arg_entries(&args, key, entry_schema);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
		entries = lappend_oid(entries, db_oid(i, 1));
	return entries;
}

/* ---- dropping ---- */

static void
drop(uint64 n)
{
	ObjectAddresses *addresses = new_object_addresses();

	for (uint64 i = 0; i < n; i++)
	{
		ObjectAddress address = { ProcedureRelationId, db_oid(i, 1), 0 };

		add_exact_object_address(&address, addresses);
	}
	performMultipleDeletions(addresses, DROP_RESTRICT,
							 PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY);
	free_object_addresses(addresses);
}

void
interface_drop_unused(const RingKey *key, const char *entry_schema)
{
	DbArgs names = db_args(&slot_names);
	DbArgs args = db_args(&unused_query);
	List *slots = NIL;
	uint64 n;

	db_arg_uuid(&names, key->tenant);
	db_arg_uuid(&names, key->node);
	db_arg_text(&names, key->module);
	n = db_run_args(&names);
	for (uint64 i = 0; i < n; i++)
		slots = lappend(slots, db_text(i, 1));
	arg_entries(&args, key, entry_schema);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(slots), false);
	drop(db_run_args(&args));
}

void
interface_drop(const RingKey *key, const char *entry_schema)
{
	DbArgs args = db_args(&entries_query);

	arg_entries(&args, key, entry_schema);
	drop(db_run_args(&args));
}
