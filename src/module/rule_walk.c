/*
 * rule_walk.c
 *		Looks in a script for what the static rules are about: a walk over its raw parse tree.
 *
 * No SPI, no catalog, no lock.  Only the kinds of statement matter that the rules name, and the
 * statements that can hold one of them; expressions are not looked at, since no expression can hold
 * one.  What a string holds is not seen, except for the body of a DO block (rule_do.c): what a
 * function does when it is called is not what the script does.  Whether it could do it at all is for the caller
 * to look at (body_check.c).
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "module/finding.h"
#include "module/parse.h"
#include "module/rule_do.h"
#include "module/rule_inline.h"
#include "module/rule_walk.h"
#include "module/script.h"
#include "nodes/parsenodes.h"
#include "utils/formatting.h"

/*
 * DO blocks inside of each other that are looked into: each one is read anew in every one around
 * it.
 */
#define DO_DEPTH_LIMIT 4

/* Bodies that are looked at in a script: PL/pgSQL keeps what it has compiled until the session ends. */
#define BODIES_LIMIT 1000

static void walk_statement(RuleWalk *walk, Node *stmt);

/* ---- functions ---- */

/* What a statement says of a function's search_path. */
typedef enum PathSetting
{
	PATH_UNTOUCHED,
	PATH_PINNED,
	PATH_OPEN
} PathSetting;

/*
 * Is it always the same path?  "$user" is another schema for each caller, and a pg_temp before
 * others lets the caller's temporary objects come first.  FROM CURRENT keeps the path of the node.
 */
static bool
pins(const VariableSetStmt *set)
{
	ListCell *cell;

	if (set->kind == VAR_SET_CURRENT)
		return true;
	if (set->kind != VAR_SET_VALUE)
		return false;
	foreach (cell, set->args)
	{
		A_Const *value = lfirst(cell);
		const char *schema;

		if (!IsA(value, A_Const) || nodeTag(&value->val) != T_String)
			continue;
		schema = strVal(&value->val);
		if (strcmp(schema, "$user") == 0)
			return false;
		if (strcmp(schema, "pg_temp") == 0 && lnext(set->args, cell) != NULL)
			return false;
	}
	return true;
}

static void
read_set(const VariableSetStmt *set, PathSetting *path)
{
	if (set->kind == VAR_RESET_ALL)
		*path = PATH_OPEN;
	else if (pg_strcasecmp(set->name, "search_path") == 0)
		*path = pins(set) ? PATH_PINNED : PATH_OPEN;
}

/*
 * Reads the options of CREATE or ALTER FUNCTION; the last one of a kind decides, as in the server.
 */
static void
read_options(List *options, PathSetting *path, const DefElem **security)
{
	ListCell *cell;

	*path = PATH_UNTOUCHED;
	*security = NULL;
	foreach (cell, options)
	{
		DefElem *element = lfirst_node(DefElem, cell);

		if (strcmp(element->defname, "security") == 0)
			*security = element;
		else if (strcmp(element->defname, "set") == 0)
			read_set(castNode(VariableSetStmt, element->arg), path);
	}
}

static void
add_open_function(RuleWalk *walk, List *name, bool certainly)
{
	finding_add(walk, RULE_SECURITY_DEFINER_SEARCH_PATH,
				psprintf(certainly ?
							 "function %s is SECURITY DEFINER without a pinned search_path" :
							 "function %s, which may be SECURITY DEFINER, gets an open search_path",
						 NameListToString(name)));
}

static void
check_language(RuleWalk *walk, const char *language, const char *what)
{
	/* the server's own, which are trusted */
	if (strcmp(language, "sql") != 0 && strcmp(language, "plpgsql") != 0)
		finding_add_language(walk, language,
							 psprintf("%s in language %s, which is not known as trusted", what,
									  language));
}

static const DefElem *
find_option(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
		if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0)
			return lfirst(cell);
	return NULL;
}

static void
walk_nodes(RuleWalk *walk, Node *nodes)
{
	ListCell *cell;

	if (nodes == NULL || !IsA(nodes, List))
		return;
	check_stack_depth();
	foreach (cell, (List *) nodes)
	{
		CHECK_FOR_INTERRUPTS();
		if (lfirst(cell) && IsA(lfirst(cell), List))
			walk_nodes(walk, lfirst(cell));
		else if (lfirst(cell))
			walk_statement(walk, lfirst(cell));
	}
}

/* The bodies of a script are looked at as far as that takes a bounded time. */
static void
check_body(RuleWalk *walk, Node *stmt)
{
	if (walk->body && (*walk->bodies_left)-- > 0)
		walk->body(walk, stmt);
}

static void
walk_create_function(RuleWalk *walk, CreateFunctionStmt *stmt)
{
	const DefElem *language = find_option(stmt->options, "language");
	const DefElem *security;
	PathSetting path;

	read_options(stmt->options, &path, &security);
	if (security && boolVal(security->arg) && path != PATH_PINNED)
		add_open_function(walk, stmt->funcname, true);
	/* without one it has a body in SQL */
	if (language)
		check_language(walk, strVal(language->arg),
					   psprintf("function %s", NameListToString(stmt->funcname)));
	rule_inline_function(walk, stmt);
	walk_nodes(walk, stmt->sql_body);
	check_body(walk, (Node *) stmt);
}

static void
walk_alter_function(RuleWalk *walk, const AlterFunctionStmt *stmt)
{
	const DefElem *security;
	PathSetting path;

	read_options(stmt->actions, &path, &security);
	if (security == NULL && path == PATH_OPEN)
		add_open_function(walk, stmt->func->objname, false);
	else if (security && boolVal(security->arg) && path != PATH_PINNED)
		add_open_function(walk, stmt->func->objname, true);
}

static void
walk_do(RuleWalk *walk, DoStmt *stmt)
{
	const DefElem *body = find_option(stmt->args, "as");
	const DefElem *option = find_option(stmt->args, "language");
	const char *language = option ? strVal(option->arg) : "plpgsql";
	RuleWalk part;

	check_language(walk, language, "DO block");
	if (strcmp(language, "plpgsql") != 0)
		finding_add(walk, RULE_DYNAMIC_DO, psprintf("DO block in language %s", language));
	else if (walk->depth >= DO_DEPTH_LIMIT)
		finding_add(walk, RULE_DYNAMIC_DO, "DO block inside of too many others");
	else if (body)
	{
		part = finding_part(walk, strVal(body->arg), body->location);
		part.depth++;
		rule_do_walk(&part);
		check_body(walk, (Node *) stmt);
	}
}

/* ---- secrets ---- */

/* Does a connection string say a password?  One that is told by another word, a file or a service is none. */
static bool
connection_has_secret(const char *connection)
{
	const char *user = strstr(connection, "://");
	char *lower = asc_tolower(connection, strlen(connection));

	for (const char *p = lower; (p = strstr(p, "password")) != NULL;)
	{
		p += strlen("password");
		if (p[strspn(p, " \t\r\n")] == '=')
			return true;
	}
	if (user == NULL)
		return false;
	/* scheme://user:password@host */
	user += strlen("://");
	user += strcspn(user, ":@/?");
	return *user == ':' && user[1 + strcspn(user + 1, "@/?")] == '@' && user[1] != '@';
}

static void
walk_connection(RuleWalk *walk, const char *connection, const char *what)
{
	if (connection && connection_has_secret(connection))
		finding_add(walk, RULE_SECRET_IN_SCRIPT,
					psprintf("password in the connection of %s", what));
}

/* PASSWORD NULL takes one away. */
static void
walk_role_options(RuleWalk *walk, List *options, const char *role)
{
	const DefElem *password = find_option(options, "password");

	if (password && password->arg)
		finding_add(walk, RULE_SECRET_IN_SCRIPT, psprintf("password of role %s", role));
}

/* Options of foreign data: wrappers call it password, sslpassword and the like. */
static void
walk_secret_options(RuleWalk *walk, List *options, const char *what)
{
	ListCell *cell;

	foreach (cell, options)
	{
		const DefElem *option = lfirst_node(DefElem, cell);
		char *name = asc_tolower(option->defname, strlen(option->defname));

		/* DROP has no value */
		if (option->arg && strstr(name, "password"))
		{
			finding_add(walk, RULE_SECRET_IN_SCRIPT,
						psprintf("option %s of %s", option->defname, what));
			return;
		}
	}
}

static const char *
name_of_role(const RoleSpec *role)
{
	return role->rolename ? role->rolename : "that runs the script";
}

static void
walk_alter_system(RuleWalk *walk, const AlterSystemStmt *stmt)
{
	ListCell *cell;

	finding_add(walk, RULE_ALTER_SYSTEM, "ALTER SYSTEM");
	foreach (cell, stmt->setstmt->args)
	{
		const A_Const *value = lfirst(cell);

		if (IsA(value, A_Const) && nodeTag(&value->val) == T_String)
			walk_connection(walk, strVal(&value->val), psprintf("setting %s", stmt->setstmt->name));
	}
}

/* ---- objects ---- */

static bool
is_temporary(const char *schema)
{
	return schema && strcmp(schema, "pg_temp") == 0;
}

/* Does it drop a table that is not temporary by its name? */
static bool
drops_kept_table(const DropStmt *stmt)
{
	ListCell *cell;

	foreach (cell, stmt->objects)
	{
		List *name = lfirst_node(List, cell);

		if (list_length(name) < 2 || !is_temporary(strVal(list_nth(name, list_length(name) - 2))))
			return true;
	}
	return false;
}

/* A revert script takes back what the deploy script made, so there it is nobody's loss. */
static void
add_drop(RuleWalk *walk, const char *what)
{
	if (walk->script != SCRIPT_REVERT)
		finding_add(walk, RULE_DROP_TABLE, what);
}

static void
walk_drop(RuleWalk *walk, const DropStmt *stmt)
{
	if (stmt->removeType == OBJECT_TABLE && drops_kept_table(stmt))
		add_drop(walk, "DROP TABLE");
	else if (stmt->removeType == OBJECT_SCHEMA && stmt->behavior == DROP_CASCADE)
		add_drop(walk, "DROP SCHEMA ... CASCADE");
	/* columns of the type go, too */
	else if (stmt->removeType == OBJECT_TYPE && stmt->behavior == DROP_CASCADE)
		add_drop(walk, "DROP TYPE ... CASCADE");
	else if (stmt->removeType == OBJECT_DOMAIN && stmt->behavior == DROP_CASCADE)
		add_drop(walk, "DROP DOMAIN ... CASCADE");
	/* and its tables */
	else if (stmt->removeType == OBJECT_EXTENSION)
		add_drop(walk, "DROP EXTENSION");
}

/* A foreign table of file_fdw with this option is a COPY FROM PROGRAM. */
static void
walk_foreign_options(RuleWalk *walk, List *options)
{
	if (find_option(options, "program"))
		finding_add(walk, RULE_COPY_PROGRAM, "foreign table that is read from a program");
	walk_secret_options(walk, options, "a foreign table");
}

static void
walk_alter_table(RuleWalk *walk, const AlterTableStmt *stmt)
{
	ListCell *cell;

	foreach (cell, stmt->cmds)
	{
		const AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_GenericOptions)
			walk_foreign_options(walk, castNode(List, command->def));
		if (command->subtype == AT_DropColumn && stmt->objtype == OBJECT_TABLE &&
			!is_temporary(stmt->relation->schemaname))
			add_drop(walk, psprintf("DROP COLUMN %s", command->name));
	}
}

static void
walk_truncate(RuleWalk *walk, const TruncateStmt *stmt)
{
	ListCell *cell;

	foreach (cell, stmt->relations)
		if (!is_temporary(lfirst_node(RangeVar, cell)->schemaname))
		{
			finding_add(walk, RULE_TRUNCATE, "TRUNCATE");
			return;
		}
}

static void
walk_grant(RuleWalk *walk, const GrantStmt *stmt)
{
	ListCell *cell;

	if (!stmt->is_grant)
		return;
	foreach (cell, stmt->grantees)
		if (lfirst_node(RoleSpec, cell)->roletype == ROLESPEC_PUBLIC)
		{
			finding_add(walk, RULE_GRANT_TO_PUBLIC,
						stmt->targtype == ACL_TARGET_DEFAULTS ?
							"ALTER DEFAULT PRIVILEGES ... GRANT ... TO PUBLIC" :
							"GRANT ... TO PUBLIC");
			return;
		}
}

/* ---- settings ---- */

/* In a block, where the server reads each statement when it comes to it. */
static void
walk_set(RuleWalk *walk, const VariableSetStmt *stmt)
{
	if (walk->depth > 0 && (stmt->kind == VAR_RESET_ALL || parse_is_setting(stmt->name)))
		finding_add(walk, RULE_DYNAMIC_DO, "DO block that changes how text is read");
}

/* ---- statements ---- */

static void
walk_statement(RuleWalk *walk, Node *stmt)
{
	check_stack_depth();
	switch (nodeTag(stmt))
	{
		case T_CreateFunctionStmt:
			walk_create_function(walk, castNode(CreateFunctionStmt, stmt));
			break;
		case T_AlterFunctionStmt:
			walk_alter_function(walk, castNode(AlterFunctionStmt, stmt));
			break;
		case T_DoStmt:
			walk_do(walk, castNode(DoStmt, stmt));
			break;
		case T_CreatePLangStmt:
			if (!castNode(CreatePLangStmt, stmt)->pltrusted)
				finding_add(walk, RULE_UNTRUSTED_LANGUAGE, "CREATE LANGUAGE without TRUSTED");
			break;
		case T_GrantStmt:
			walk_grant(walk, castNode(GrantStmt, stmt));
			break;
		case T_AlterDefaultPrivilegesStmt:
			walk_grant(walk, castNode(AlterDefaultPrivilegesStmt, stmt)->action);
			break;
		case T_AlterSystemStmt:
			walk_alter_system(walk, castNode(AlterSystemStmt, stmt));
			break;
		case T_CreateRoleStmt:
			walk_role_options(walk, castNode(CreateRoleStmt, stmt)->options,
							  castNode(CreateRoleStmt, stmt)->role);
			break;
		case T_AlterRoleStmt:
			walk_role_options(walk, castNode(AlterRoleStmt, stmt)->options,
							  name_of_role(castNode(AlterRoleStmt, stmt)->role));
			break;
		case T_CreateFdwStmt:
			walk_secret_options(walk, castNode(CreateFdwStmt, stmt)->options,
								"a foreign-data wrapper");
			break;
		case T_AlterFdwStmt:
			walk_secret_options(walk, castNode(AlterFdwStmt, stmt)->options,
								"a foreign-data wrapper");
			break;
		case T_CreateForeignServerStmt:
			walk_secret_options(walk, castNode(CreateForeignServerStmt, stmt)->options, "a server");
			break;
		case T_AlterForeignServerStmt:
			walk_secret_options(walk, castNode(AlterForeignServerStmt, stmt)->options, "a server");
			break;
		case T_CreateUserMappingStmt:
			walk_secret_options(walk, castNode(CreateUserMappingStmt, stmt)->options,
								"a user mapping");
			break;
		case T_AlterUserMappingStmt:
			walk_secret_options(walk, castNode(AlterUserMappingStmt, stmt)->options,
								"a user mapping");
			break;
		case T_CreateSubscriptionStmt:
			walk_connection(walk, castNode(CreateSubscriptionStmt, stmt)->conninfo,
							"a subscription");
			break;
		case T_AlterSubscriptionStmt:
			walk_connection(walk, castNode(AlterSubscriptionStmt, stmt)->conninfo,
							"a subscription");
			break;
		case T_CopyStmt:
			if (castNode(CopyStmt, stmt)->is_program)
				finding_add(walk, RULE_COPY_PROGRAM, "COPY ... PROGRAM");
			break;
		case T_CreateExtensionStmt:
			finding_add(walk, RULE_CREATE_EXTENSION,
						psprintf("CREATE EXTENSION %s",
								 castNode(CreateExtensionStmt, stmt)->extname));
			break;
		case T_AlterExtensionStmt:
			finding_add(walk, RULE_CREATE_EXTENSION,
						psprintf("ALTER EXTENSION %s UPDATE",
								 castNode(AlterExtensionStmt, stmt)->extname));
			break;
		case T_DropStmt:
			walk_drop(walk, castNode(DropStmt, stmt));
			break;
		case T_DropOwnedStmt:
			add_drop(walk, "DROP OWNED");
			break;
		case T_CreateForeignTableStmt:
			walk_foreign_options(walk, castNode(CreateForeignTableStmt, stmt)->options);
			break;
		case T_AlterTableStmt:
			walk_alter_table(walk, castNode(AlterTableStmt, stmt));
			break;
		case T_VariableSetStmt:
			walk_set(walk, castNode(VariableSetStmt, stmt));
			break;
		case T_TruncateStmt:
			walk_truncate(walk, castNode(TruncateStmt, stmt));
			break;
		case T_CreateSchemaStmt:
			walk_nodes(walk, (Node *) castNode(CreateSchemaStmt, stmt)->schemaElts);
			break;
		case T_RuleStmt:
			walk_nodes(walk, (Node *) castNode(RuleStmt, stmt)->actions);
			break;
		case T_ExplainStmt:
			walk_statement(walk, castNode(ExplainStmt, stmt)->query);
			break;
		case T_PrepareStmt:
			walk_statement(walk, castNode(PrepareStmt, stmt)->query);
			break;
		default:
			break;
	}
}

/* Looks at the RawStmts of the walk's text. */
static void
walk_statements(RuleWalk *walk, List *statements)
{
	ListCell *cell;

	foreach (cell, statements)
	{
		RawStmt *raw = lfirst_node(RawStmt, cell);

		CHECK_FOR_INTERRUPTS();
		walk->statement = script_statement_offset(walk->sql, raw->stmt_location);
		walk_statement(walk, raw->stmt);
	}
}

/* Adds the Findings in a script, in its order; what is in bodies that are strings, if somebody looks at them. */
void
rule_walk_script(int script, const char *sql, List *statements, BodyCheck *body,
				 MemoryContext results, List **findings)
{
	int bodies_left = BODIES_LIMIT;
	RuleWalk walk = { .script = script,
					  .sql = sql,
					  .counted_line = 1,
					  .statements = walk_statements,
					  .body = body,
					  .bodies_left = &bodies_left,
					  .results = results,
					  .findings = findings };

	walk_statements(&walk, statements);
}
