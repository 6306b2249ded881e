/*
 * forecast.c
 *		What a version of a routed module will do on a node: where it will be installed, which entries
 *		will be made and kept, which will lack a function, and what will be refused.
 *
 * The script is read, and not run: what it makes inside a DO block is not seen, nor are the defaults
 * of arguments and other attributes compared.  A rehearsal knows it all.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/db.h"
#include "base/guc.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "nodes/parsenodes.h"
#include "parser/parse_type.h"
#include "route/forecast.h"
#include "route/interface.h"
#include "route/words.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

/* The schema of the entries, NULL: nobody has said; and has the module been called directly so far? */
static DbStatement node_query = DB_STATEMENT(
	"SELECT coalesce((SELECT s.entry_schema FROM hotswap.route_slot s WHERE s.tenant_id = $1"
	" AND s.node_id = $2 AND s.module = $3 ORDER BY s.generation DESC LIMIT 1), n.schema),"
	" NOT EXISTS (SELECT FROM hotswap.route_slot s WHERE s.tenant_id = $1 AND s.node_id = $2"
	" AND s.module = $3) AND EXISTS (SELECT FROM hotswap.node_module m WHERE m.tenant_id = $1"
	" AND m.node_id = $2 AND m.module = $3)"
	" FROM hotswap.node n WHERE n.tenant_id = $1 AND n.id = $2",
	UUIDOID, UUIDOID, TEXTOID);

typedef struct Forecast
{
	const Version *version;
	char *schema;  /* of the entries */
	bool adopts;   /* functions that are there become entries */
	List *lacking; /* OIDs of entries for which no function was seen yet */
	List *made;    /* of char *, as the others */
	List *adopted;
	List *kept;
	List *refused;
	List *unknown;
} Forecast;

/* ---- a function of the script ---- */

/* A type that exists before the script runs; InvalidOid: it is the version's own, or is not plain. */
static Oid
known_type(TypeName *name)
{
	Type type;
	Oid oid;

	if (name->pct_type)
		return InvalidOid;
	type = LookupTypeName(NULL, name, NULL, true);
	if (type == NULL)
		return InvalidOid;
	oid = typeTypeId(type);
	ReleaseSysCache(type);
	return oid;
}

typedef struct Signature
{
	oidvector *types; /* of its arguments; NULL: one of them is not known */
	bool has_out;
	Oid result;
} Signature;

static oidvector *
argument_types(const CreateFunctionStmt *stmt, bool *has_out)
{
	Oid types[FUNC_MAX_ARGS];
	int n = 0;
	ListCell *cell;

	*has_out = false;
	foreach (cell, stmt->parameters)
	{
		FunctionParameter *p = lfirst_node(FunctionParameter, cell);

		if (p->mode == FUNC_PARAM_TABLE || p->mode == FUNC_PARAM_OUT || p->mode == FUNC_PARAM_INOUT)
			*has_out = true;
		/* OUT arguments of procedures are part of what they are called by */
		if (p->mode == FUNC_PARAM_TABLE || (p->mode == FUNC_PARAM_OUT && !stmt->is_procedure))
			continue;
		if (n == FUNC_MAX_ARGS || !OidIsValid(types[n++] = known_type(p->argType)))
			return NULL;
	}
	return buildoidvector(types, n);
}

/* By the types that a script sees; those of the version itself are not there yet. */
static Signature
read_signature(const Forecast *f, const CreateFunctionStmt *stmt)
{
	int level = NewGUCNestLevel();
	Signature s = { NULL };

	guc_push("search_path", psprintf("%s, pg_temp", quote_identifier(f->schema)));
	s.types = argument_types(stmt, &s.has_out);
	if (stmt->returnType)
		s.result = known_type(stmt->returnType);
	AtEOXact_GUC(false, level);
	return s;
}

/* What an entry cannot be for the function; NULL: nothing that can be seen. */
static const char *
difference(const CreateFunctionStmt *stmt, const Signature *s, Form_pg_proc entry)
{
	if (stmt->is_procedure != (entry->prokind == PROKIND_PROCEDURE))
		return "kind";
	if (stmt->is_procedure || s->has_out || stmt->returnType == NULL)
		return NULL;
	if (s->result != entry->prorettype || stmt->returnType->setof != entry->proretset)
		return "result";
	return NULL;
}

static void
refuse(Forecast *f, char *words)
{
	f->refused = lappend(f->refused, words);
}

static void
see_existing(Forecast *f, const CreateFunctionStmt *stmt, const Signature *s, HeapTuple tuple)
{
	Form_pg_proc row = (Form_pg_proc) GETSTRUCT(tuple);
	char *signature = format_procedure(row->oid);
	const char *differs;

	if (!list_member_oid(f->lacking, row->oid))
	{
		if (f->adopts)
			f->adopted = lappend(f->adopted, signature);
		else
			refuse(f, psprintf("%s is there and is not the module's", signature));
		return;
	}
	f->lacking = list_delete_oid(f->lacking, row->oid);
	differs = difference(stmt, s, row);
	if (differs)
		refuse(f, psprintf("the %s of %s differs", differs, signature));
	else
		f->kept = lappend(f->kept, signature);
}

/* As the entry will be called. */
static char *
signature_of(const Forecast *f, const char *name, const oidvector *types)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%s(", quote_qualified_identifier(f->schema, name));
	for (int i = 0; i < types->dim1; i++)
		appendStringInfo(&text, "%s%s", i > 0 ? "," : "", format_type_be(types->values[i]));
	appendStringInfoChar(&text, ')');
	return text.data;
}

static void
see_function(Forecast *f, const CreateFunctionStmt *stmt)
{
	char *name = strVal(llast(stmt->funcname));
	Signature s;
	HeapTuple tuple;

	if (!stmt->replace)
		refuse(f, psprintf("%s is made without OR REPLACE", NameListToString(stmt->funcname)));
	if (list_length(stmt->funcname) > 1)
	{
		refuse(f,
			   psprintf("%s has a schema in front of its name", NameListToString(stmt->funcname)));
		return;
	}
	s = read_signature(f, stmt);
	if (s.types == NULL)
	{
		f->unknown = lappend(f->unknown, name);
		return;
	}
	tuple = SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(name), PointerGetDatum(s.types),
							ObjectIdGetDatum(get_namespace_oid(f->schema, true)));
	if (!HeapTupleIsValid(tuple))
	{
		f->made = lappend(f->made, signature_of(f, name, s.types));
		return;
	}
	see_existing(f, stmt, &s, tuple);
	ReleaseSysCache(tuple);
}

/* ---- the script ---- */

static void
see_script(Forecast *f)
{
	ListCell *cell;

	if (!f->version->transactional)
		refuse(f, "it does not run in a transaction");
	foreach (cell, script_parse("deploy script", f->version->scripts[SCRIPT_DEPLOY])->statements)
	{
		const RawStmt *raw = lfirst_node(RawStmt, cell);

		if (IsA(raw->stmt, CreateFunctionStmt))
			see_function(f, (CreateFunctionStmt *) raw->stmt);
	}
}

static List *
signatures(List *functions)
{
	List *words = NIL;
	ListCell *cell;

	foreach (cell, functions)
		words = lappend(words, format_procedure(lfirst_oid(cell)));
	return words;
}

static void
append_list(StringInfo text, const char *word, List *words)
{
	if (words != NIL)
		appendStringInfo(text, "; %s: %s", word, words_join(words));
}

static char *
installation_words(const RingKey *key, Forecast *f)
{
	const RingSlot *slot = ring_expect(key, f->schema);
	StringInfoData text;

	see_script(f);
	initStringInfo(&text);
	appendStringInfo(&text, "is installed into schema \"%s\"", slot->name);
	if (slot->version)
		appendStringInfo(&text, ", in place of version \"%s\" if nobody has called that",
						 slot->version);
	append_list(&text, "entries that are made", f->made);
	append_list(&text, "functions that become entries", f->adopted);
	append_list(&text, "entries that stay", f->kept);
	append_list(&text, "entries that it has no function for", signatures(f->lacking));
	append_list(&text, "functions with types that are not there yet", f->unknown);
	append_list(&text, "refused", f->refused);
	return text.data;
}

/* What a deployment of the version does on the node. */
char *
forecast_words(const RingKey *key, const Version *version)
{
	MemoryContext context = CurrentMemoryContext;
	DbArgs args = db_args(&node_query);
	Forecast f = { .version = version };
	const RingSlot *slot = ring_find(key, version->digest);

	if (slot)
		return psprintf("is installed in schema \"%s\" already", slot->name);
	db_arg_uuid(&args, key->tenant);
	db_arg_uuid(&args, key->node);
	db_arg_text(&args, key->module);
	if (db_run_args(&args) != 1)
		elog(ERROR, "the node has disappeared");
	MemoryContextSwitchTo(context);
	f.schema = db_text(0, 1);
	f.adopts = db_bool(0, 2);
	if (f.schema == NULL)
		return pstrdup("is installed into a schema of its own");
	f.lacking = interface_entries(key, f.schema);
	return installation_words(key, &f);
}
