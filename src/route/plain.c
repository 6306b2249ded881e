/*
 * plain.c
 *		Entries become the functions that they are entries to.
 *
 * CREATE OR REPLACE keeps the OID of an entry, so what depends on it stays.  A function looks for
 * other things where the entries are and no longer in its slot: the text of a BEGIN ATOMIC body is
 * written with names that are found there as well, and a search_path of its own loses the slot.
 * Types and views of the version move.
 *
 * Who may call the function is who could call it through the entry: has EXECUTE on both.  It is whose the
 * version's is: what is SECURITY DEFINER runs as before.
 *
 * Locks the functions that are replaced, and the types and views that move.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/guc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "route/plain.h"
#include "route/route.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"

#define GRANTEES(p)                                                       \
	"(SELECT array_agg(a.grantee) FROM aclexplode(coalesce(" p ".proacl," \
	" acldefault('f', " p ".proowner))) a WHERE a.privilege_type = 'EXECUTE')"

#define ROLE_LIST(condition)                                                             \
	"(SELECT string_agg(DISTINCT CASE r WHEN 0 THEN 'PUBLIC' ELSE r::regrole::text END," \
	" ', ') FROM unnest(of_e || of_f) r WHERE " condition ")"

#define TAKEN ROLE_LIST("r = ANY (of_e) AND r <> ALL (of_f) AND 0 <> ALL (of_f)")
#define GIVEN ROLE_LIST("r = ANY (of_f) AND r <> ALL (of_e) AND 0 = ANY (of_e)")
#define GRANTEES_OF_ENTRY GRANTEES("e")
#define GRANTEES_OF_FUNCTION GRANTEES("f")

/* $1: the slot, $2: where the entries are; NULL where there is nothing to do */
static DbStatement functions_query = DB_STATEMENT(
	"SELECT p.f, p.name, p.is_procedure, 'ALTER ROUTINE ' || p.e || ' SET search_path = '"
	" || coalesce(nullif(replace(replace(p.path, quote_ident($1) || ', ', ''), quote_ident($1), ''),"
	" ''), quote_ident($2)),"
	" 'REVOKE EXECUTE ON ROUTINE ' || p.e || ' FROM ' || " TAKEN " || ' CASCADE',"
	" 'GRANT EXECUTE ON ROUTINE ' || p.e || ' TO ' || " GIVEN ","
	" CASE WHEN of_f_owner <> of_e_owner"
	" THEN 'ALTER ROUTINE ' || p.e || ' OWNER TO ' || of_f_owner::regrole END"
	" FROM (SELECT f.oid AS f, f.proname AS name, f.prokind = 'p' AS is_procedure,"
	" e.oid::regprocedure::text AS e, f.proowner AS of_f_owner, e.proowner AS of_e_owner,"
	" (SELECT substr(c, length('search_path=') + 1) FROM unnest(f.proconfig) c"
	" WHERE starts_with(c, 'search_path=') AND strpos(c, quote_ident($1)) > 0) AS path,"
	" coalesce(" GRANTEES_OF_ENTRY ", '{}') AS of_e, coalesce(" GRANTEES_OF_FUNCTION
	", '{}') AS of_f"
	" FROM pg_proc f JOIN pg_proc e ON e.proname = f.proname AND e.proargtypes = f.proargtypes"
	" WHERE f.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)"
	" AND e.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2)"
	" ORDER BY f.oid) p",
	TEXTOID, TEXTOID);

enum
{
	FUNCTION_OID = 1,
	FUNCTION_NAME,
	FUNCTION_IS_PROCEDURE,
	FUNCTION_PATH,
	FUNCTION_REVOKE,
	FUNCTION_GRANT,
	FUNCTION_OWNER
};

static DbStatement helpers_query = DB_STATEMENT(
	"SELECT format('ALTER %s %I.%I SET SCHEMA %I', o.kind, $1, o.name, $2) FROM (SELECT 'VIEW',"
	" c.relname, c.oid FROM pg_class c WHERE c.relnamespace = $3 AND c.relkind = 'v'"
	" UNION ALL SELECT 'TYPE', t.typname, t.oid FROM pg_type t JOIN pg_depend d"
	" ON d.classid = 'pg_type'::regclass AND d.objid = t.oid"
	" AND d.refclassid = 'pg_namespace'::regclass AND d.refobjid = $3 AND d.deptype = 'n'"
	" WHERE t.typnamespace = $3) o (kind, name, oid) ORDER BY o.oid",
	TEXTOID, TEXTOID, OIDOID);

/* The function's own definition under the name of its entry. */
static char *
definition(const RingSlot *slot, Oid function, const char *name, bool is_procedure)
{
	const char *kind = is_procedure ? "PROCEDURE" : "FUNCTION";
	int level = NewGUCNestLevel();
	char *head =
		psprintf("CREATE OR REPLACE %s %s(", kind, quote_qualified_identifier(slot->name, name));
	char *whole;

	guc_push("search_path", psprintf("%s, %s", quote_identifier(slot->name),
									 quote_identifier(slot->entry_schema)));
	whole =
		TextDatumGetCString(DirectFunctionCall1(pg_get_functiondef, ObjectIdGetDatum(function)));
	AtEOXact_GUC(false, level);
	if (strncmp(whole, head, strlen(head)) != 0)
		elog(ERROR, "unexpected definition of function %u", function);
	return psprintf("CREATE OR REPLACE %s %s(%s", kind,
					quote_qualified_identifier(slot->entry_schema, name), whole + strlen(head));
}

static List *
append_text(List *commands, uint64 row, int column)
{
	return db_isnull(row, column) ? commands : lappend(commands, db_text(row, column));
}

static List *
function_commands(const RingSlot *slot)
{
	Datum args[] = { CStringGetTextDatum(slot->name), CStringGetTextDatum(slot->entry_schema) };
	MemoryContext context = CurrentMemoryContext;
	uint64 n = db_run(&functions_query, args, NULL);
	List *commands = NIL;

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		/* nobody may call the new one who could not call the old one, not even for a moment */
		commands = append_text(commands, i, FUNCTION_REVOKE);
		commands =
			lappend(commands, definition(slot, db_oid(i, FUNCTION_OID), db_text(i, FUNCTION_NAME),
										 db_bool(i, FUNCTION_IS_PROCEDURE)));
		commands = append_text(commands, i, FUNCTION_PATH);
		commands = append_text(commands, i, FUNCTION_GRANT);
		commands = append_text(commands, i, FUNCTION_OWNER);
	}
	return commands;
}

static List *
helper_commands(const RingSlot *slot)
{
	Datum args[] = { CStringGetTextDatum(slot->name), CStringGetTextDatum(slot->entry_schema),
					 ObjectIdGetDatum(slot->schema) };
	MemoryContext context = CurrentMemoryContext;
	uint64 n = db_run(&helpers_query, args, NULL);
	List *commands = NIL;

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
		commands = append_text(commands, i, 1);
	return commands;
}

/* Bodies have been looked at when the version was installed, with its own search_path. */
static void
run_as(Oid role, const char *path, List *commands)
{
	int level = NewGUCNestLevel();
	Oid user;
	int sec_context;
	ListCell *cell;

	guc_push("search_path", path);
	guc_push("check_function_bodies", "off");
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(role, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	foreach (cell, commands)
		db_utility(lfirst(cell));
	SetUserIdAndSecContext(user, sec_context);
	AtEOXact_GUC(false, level);
}

void
plain_replace_entries(const RingSlot *slot)
{
	List *commands = list_concat(helper_commands(slot), function_commands(slot));

	run_as(slot_owner(slot->schema), quote_identifier(slot->entry_schema), commands);
}
