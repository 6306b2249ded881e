/*
 * content.c
 *		What is in the schema of a slot, and clearing it for the next version.
 *
 * A slot has functions and procedures, and the types and views that they use among themselves.
 * Tables and sequences are data, which outlives a version.  Aggregates and operators are no
 * functions that could be passed on.
 *
 * What goes is dropped as if by RESTRICT: somebody's view or column that uses it stays.
 *
 * Functions are kept for the next version, which replaces them.  That would leave who may call them, and whose
 * they are, so it is taken from them here.
 *
 * Locks what it drops.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/db.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "route/content.h"
#include "route/words.h"
#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static DbStatement contents_query = DB_STATEMENT(
	"SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) COLLATE \"C\", CASE"
	" WHEN p.prokind IN ('f', 'p', 'w') THEN 0 WHEN c.relkind = 'v' OR t.oid IS NOT NULL THEN 1"
	" ELSE 2 END"
	" FROM pg_depend d"
	" LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid"
	" LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid"
	" LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid"
	" WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = $1 AND d.deptype = 'n'"
	" AND d.objid <> $2 ORDER BY 3",
	OIDOID, OIDOID);

/* Functions whose callers would have to know a type of the version. */
static DbStatement helper_signatures = DB_STATEMENT(
	"SELECT format('%s (%s)', p.oid::regprocedure, t.oid::regtype) COLLATE \"C\" FROM unnest($1) f (oid)"
	" JOIN pg_proc p ON p.oid = f.oid"
	" JOIN LATERAL (SELECT t.oid FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])"
	" || p.prorettype) a (oid) JOIN pg_type t ON t.oid = a.oid AND t.typnamespace = $2 LIMIT 1) t"
	" ON true ORDER BY 1",
	OIDARRAYOID, OIDOID);

/* Those of some functions that cannot stay: they use the helpers, or are not the schema's owner's, or use such. */
static DbStatement leaving_functions = DB_STATEMENT(
	"WITH RECURSIVE leaving (oid) AS (SELECT p.oid FROM pg_proc p JOIN pg_namespace s ON s.oid = $2"
	" WHERE p.oid = ANY ($1) AND p.proowner <> s.nspowner UNION SELECT d.objid FROM pg_depend d"
	" WHERE d.classid = 'pg_proc'::regclass AND d.objid = ANY ($1)"
	" AND CASE d.refclassid WHEN 'pg_class'::regclass"
	" THEN (SELECT c.relnamespace FROM pg_class c WHERE c.oid = d.refobjid)"
	" WHEN 'pg_type'::regclass"
	" THEN (SELECT t.typnamespace FROM pg_type t WHERE t.oid = d.refobjid) END = $2"
	" UNION SELECT d.objid FROM leaving l JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass"
	" AND d.refobjid = l.oid AND d.classid = 'pg_proc'::regclass AND d.objid = ANY ($1))"
	" SELECT oid FROM leaving",
	OIDARRAYOID, OIDOID);

List *
content_read(Oid schema, Oid marker)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { ObjectIdGetDatum(schema), ObjectIdGetDatum(marker) };
	uint64 n = db_run(&contents_query, args, NULL);
	List *contents = NIL;

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		Content *c = palloc(sizeof(Content));

		c->class = db_oid(i, 1);
		c->object = db_oid(i, 2);
		c->description = db_text(i, 3);
		c->kind = (ContentKind) db_int32(i, 4);
		contents = lappend(contents, c);
	}
	return contents;
}

List *
content_descriptions(List *contents)
{
	List *words = NIL;
	ListCell *cell;

	foreach (cell, contents)
		words = lappend(words, ((Content *) lfirst(cell))->description);
	return words;
}

List *
content_functions(List *contents)
{
	List *functions = NIL;
	ListCell *cell;

	foreach (cell, contents)
	{
		const Content *c = lfirst(cell);

		if (c->kind == CONTENT_FUNCTION)
			functions = lappend_oid(functions, c->object);
	}
	return functions;
}

/* ---- what may be there ---- */

static void
require_no_strangers(const char *version, const char *module, List *contents)
{
	List *words = NIL;
	ListCell *cell;

	foreach (cell, contents)
	{
		const Content *c = lfirst(cell);

		if (c->kind == CONTENT_STRANGE)
			words = lappend(words, c->description);
	}
	if (words != NIL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("version \"%s\" of module \"%s\" cannot be routed", version, module),
						errdetail("It makes more than functions, procedures, types and views: %s.",
								  words_join(words)),
						errhint("Make what outlives a version in a module that is not routed.")));
}

static void
require_known_types(const char *version, const char *module, Oid schema, List *contents)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { db_oid_array(content_functions(contents)), ObjectIdGetDatum(schema) };
	uint64 n = db_run(&helper_signatures, args, NULL);
	List *words = NIL;

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
		words = lappend(words, db_text(i, 1));
	if (words != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("version \"%s\" of module \"%s\" cannot be routed", version, module),
				 errdetail("Types of the version are in the signatures of its functions: %s.",
						   words_join(words)),
				 errhint("Callers of all versions need the same type: make it in a module that is "
						 "not routed.")));
}

void
content_require_routable(const char *version, const char *module, Oid schema, List *contents)
{
	require_no_strangers(version, module, contents);
	require_known_types(version, module, schema, contents);
}

/* ---- rights ---- */

/* Puts an ACL in the place of a function's; NULL: there is none. */
static void
set_acl(Relation rel, HeapTuple tuple, Acl *before, Acl *after)
{
	const FormData_pg_proc *f = (Form_pg_proc) GETSTRUCT(tuple);
	Datum values[Natts_pg_proc] = { 0 };
	bool nulls[Natts_pg_proc] = { 0 };
	bool replaces[Natts_pg_proc] = { 0 };
	Oid *members_before;
	Oid *members_after;
	int n_before = aclmembers(before, &members_before);
	int n_after = aclmembers(after, &members_after);
	HeapTuple changed;

	replaces[Anum_pg_proc_proacl - 1] = true;
	nulls[Anum_pg_proc_proacl - 1] = after == NULL;
	values[Anum_pg_proc_proacl - 1] = PointerGetDatum(after);
	changed = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces);
	CatalogTupleUpdate(rel, &changed->t_self, changed);
	updateAclDependencies(ProcedureRelationId, f->oid, 0, f->proowner, n_before, members_before,
						  n_after, members_after);
}

static void
reset_acl(Relation rel, Oid schema, Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool isnull;
	Datum acl;
	Acl *before;
	Acl *after;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	acl = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proacl, &isnull);
	before = isnull ? NULL : DatumGetAclPCopy(acl);
	after =
		get_user_default_acl(OBJECT_FUNCTION, ((Form_pg_proc) GETSTRUCT(tuple))->proowner, schema);
	if (before || after)
		set_acl(rel, tuple, before, after);
	ReleaseSysCache(tuple);
}

void
content_reset_functions(Oid schema, List *contents)
{
	Relation rel = table_open(ProcedureRelationId, RowExclusiveLock);
	ListCell *cell;

	foreach (cell, content_functions(contents))
	{
		reset_acl(rel, schema, lfirst_oid(cell));
		DeleteComments(lfirst_oid(cell), ProcedureRelationId, 0);
	}
	table_close(rel, RowExclusiveLock);
}

/* ---- clearing ---- */

static void
drop(ObjectAddresses *addresses)
{
	performMultipleDeletions(addresses, DROP_RESTRICT,
							 PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY);
	free_object_addresses(addresses);
}

static void
add(ObjectAddresses *addresses, Oid class, Oid object)
{
	ObjectAddress address = { class, object, 0 };

	add_exact_object_address(&address, addresses);
}

/* Views and types cannot be replaced by others: they go, with the functions that name them. */
void
content_drop_helpers(Oid schema, List *contents)
{
	MemoryContext context = CurrentMemoryContext;
	ObjectAddresses *addresses = new_object_addresses();
	Datum args[] = { db_oid_array(content_functions(contents)), ObjectIdGetDatum(schema) };
	uint64 n = db_run(&leaving_functions, args, NULL);
	ListCell *cell;

	for (uint64 i = 0; i < n; i++)
		add(addresses, ProcedureRelationId, db_oid(i, 1));
	foreach (cell, contents)
	{
		const Content *c = lfirst(cell);

		if (c->kind == CONTENT_HELPER)
			add(addresses, c->class, c->object);
	}
	drop(addresses);
	MemoryContextSwitchTo(context);
}

/* The functions that are not to be kept. */
void
content_drop_functions(List *contents, List *keep)
{
	ObjectAddresses *addresses = new_object_addresses();
	ListCell *cell;

	foreach (cell, contents)
	{
		const Content *c = lfirst(cell);

		if (c->kind == CONTENT_FUNCTION && !list_member_oid(keep, c->object))
			add(addresses, c->class, c->object);
	}
	drop(addresses);
}

void
content_drop_schema(Oid schema, List *contents, Oid marker)
{
	ObjectAddresses *addresses = new_object_addresses();
	ListCell *cell;

	foreach (cell, contents)
	{
		const Content *c = lfirst(cell);

		add(addresses, c->class, c->object);
	}
	if (OidIsValid(marker))
		add(addresses, RelationRelationId, marker);
	add(addresses, NamespaceRelationId, schema);
	drop(addresses);
}
