/*
 * body_check.c
 *		Looks for errors in the bodies of functions, procedures and DO blocks, which are strings to
 *		the server until they are made or run.
 *
 * A body in SQL is read by the server's grammar.  One in PL/pgSQL is compiled by PL/pgSQL's own validator, which
 * wants a function: it is made with that body, without what else the statement says of it, in hotswap's
 * schema, and always rolled back, so that nobody sees it.  No event trigger is fired, and nothing of the
 * body is run.
 *
 * Types that may not be there yet are guessed (body_types.c), first as scalars, then as records.  An error
 * counts if both have it at the same place: then it is none of the guess.
 *
 * Locks: what CREATE FUNCTION does, until it is rolled back.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/backoff.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "catalog/namespace.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "module/body_check.h"
#include "module/body_types.h"
#include "module/parse.h"
#include "module/script.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "tcop/pquery.h"
#include "utils/portal.h"

typedef struct Body
{
	const char *what; /* whose it is */
	const char *language;
	const char *sql;
	int location;                      /* where it begins in the script, about */
	const CreateFunctionStmt *routine; /* NULL: a DO block */
} Body;

/* ---- reading the statement ---- */

static void
read_options(Body *body, List *options)
{
	ListCell *cell;

	foreach (cell, options)
	{
		const DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "language") == 0)
			body->language = strVal(option->arg);
		else if (strcmp(option->defname, "as") == 0)
		{
			/* a string, or a list of one or two of them */
			const List *strings = (const List *) option->arg;

			body->location = option->location;
			if (!IsA(strings, List))
				body->sql = strVal(option->arg);
			else if (list_length(strings) == 1)
				body->sql = strVal(linitial(strings));
		}
	}
}

static bool
read_statement(Body *body, Node *stmt)
{
	memset(body, 0, sizeof(Body));
	if (IsA(stmt, DoStmt))
	{
		body->what = "DO block";
		body->language = "plpgsql";
		read_options(body, ((DoStmt *) stmt)->args);
	}
	else if (IsA(stmt, CreateFunctionStmt))
	{
		body->routine = (CreateFunctionStmt *) stmt;
		body->what = psprintf("%s %s", body->routine->is_procedure ? "procedure" : "function",
							  NameListToString(body->routine->funcname));
		read_options(body, body->routine->options);
	}
	return body->sql && body->language;
}

/* The byte of the script at which a body's string begins: an option's location may be that of its AS. */
static int
begin_of(const RuleWalk *walk, const Body *body)
{
	const char *p = walk->sql + body->location;

	if (!parse_is_token(p, "as"))
		return body->location;
	for (p += strlen("as"); *p && *p != '$' && *p != '\''; p++)
		if (p[0] == '-' && p[1] == '-')
			p += strcspn(p, "\n") - 1;
	return (int) (p - walk->sql);
}

/* ---- compiling ---- */

/* The function that has the body, and nothing else that could fail. */
static CreateFunctionStmt *
make_routine(const Body *body, const char *guess, bool *guessed, char **sql)
{
	CreateFunctionStmt *stmt;

	if (body->routine)
		stmt = castNode(CreateFunctionStmt, copyObjectImpl(body->routine));
	else
	{
		stmt = makeNode(CreateFunctionStmt);
		stmt->returnType = SystemTypeName("void");
	}
	*sql = body_guess_types(body->sql, guess, guessed);
	body_guess_signature(stmt, guess, guessed);
	stmt->replace = false;
	stmt->funcname = list_make2(makeString("hotswap"), makeString(psprintf("body %d", MyProcPid)));
	stmt->options = list_make2(makeDefElem("language", (Node *) makeString("plpgsql"), -1),
							   makeDefElem("as", (Node *) list_make1(makeString(*sql)), -1));
	return stmt;
}

/* The place of an error is otherwise looked for in the query that the client has sent. */
static void
create_outside_portal(CreateFunctionStmt *stmt)
{
	Portal portal = ActivePortal;

	ActivePortal = NULL;
	PG_TRY();
	{
		(void) CreateFunction(make_parsestate(NULL), stmt);
	}
	PG_FINALLY();
	{
		ActivePortal = portal;
	}
	PG_END_TRY();
}

static void
create(void *arg)
{
	DbScope scope;

	db_enter(&scope);
	guc_push("check_function_bodies", "on");
	guc_push("plpgsql.extra_errors", "none");
	guc_push("plpgsql.extra_warnings", "none");
	guc_push("client_min_messages", "error");
	parse_fix_setting();
	create_outside_portal(arg);
	db_leave(&scope);
}

/* Is it about the text of the body, whatever else is in the database? */
static bool
is_about_text(const ErrorData *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_NULL_VALUE_NOT_ALLOWED:      /* NOT NULL without a default */
		case ERRCODE_ERROR_IN_ASSIGNMENT:         /* to a constant */
		case ERRCODE_UNDEFINED_OBJECT:            /* a condition */
		case ERRCODE_INVALID_FUNCTION_DEFINITION: /* arguments and result */
		case ERRCODE_DATATYPE_MISMATCH:           /* RETURN */
		case ERRCODE_SYNTAX_ERROR:
			return true;
		default:
			return false;
	}
}

/* Compiles a body; its error, or NULL. */
static ErrorData *
compile(const Body *body, const char *guess, bool *guessed, char **sql)
{
	ErrorData *error = subxact_try(create, make_routine(body, guess, guessed, sql));

	if (error && backoff_is_outside(error->sqlerrcode))
		ReThrowError(error);
	return error && is_about_text(error) ? error : NULL;
}

static bool
is_same_error(const ErrorData *a, const ErrorData *b)
{
	return a->sqlerrcode == b->sqlerrcode && a->internalpos == b->internalpos &&
		   strcmp(a->message, b->message) == 0;
}

/* The error of a body in PL/pgSQL, and the text that it is in; NULL: there is none. */
static ErrorData *
find_error(const Body *body, char **sql)
{
	bool guessed = false;
	ErrorData *error = compile(body, GUESS_SCALAR, &guessed, sql);
	ErrorData *other;
	char *unused;

	if (error == NULL || !guessed)
		return error;
	other = compile(body, GUESS_RECORD, &guessed, &unused);
	return other && is_same_error(error, other) ? error : NULL;
}

/* ---- what was found ---- */

/* What has no position says the line in its context: the last number there. */
static int
line_of_context(const char *context)
{
	const char *end = context ? context + strcspn(context, "\n") : NULL;

	if (end == NULL)
		return 1;
	while (end > context && !isdigit((unsigned char) end[-1]))
		end--;
	while (end > context && isdigit((unsigned char) end[-1]))
		end--;
	return Max(atoi(end), 1);
}

/* The byte of the body that an error is at. */
static int
offset_of(const char *sql, const ErrorData *error)
{
	int position = error->internalpos > 0 ? error->internalpos : error->cursorpos;
	const char *p = sql;

	if (position > 0)
		return script_offset(sql, position);
	for (int line = line_of_context(error->context); line > 1 && *p; line--)
		p += strcspn(p, "\n") + (p[strcspn(p, "\n")] == '\n');
	return (int) (p - sql);
}

/* Notes the error of a body; NULL: it has none. */
void
body_check(RuleWalk *walk, Node *stmt)
{
	ErrorData *error = NULL;
	RuleWalk part;
	Body body;
	char *sql;

	if (!read_statement(&body, stmt))
		return;
	sql = unconstify(char *, body.sql);
	if (strcmp(body.language, "plpgsql") == 0)
		error = find_error(&body, &sql);
	else if (strcmp(body.language, "sql") == 0)
		(void) parse_quietly(parse_statements, sql, &error);
	if (error == NULL)
		return;
	part = finding_part(walk, sql, begin_of(walk, &body));
	part.statement = offset_of(sql, error);
	finding_add(&part, RULE_BROKEN_BODY, psprintf("%s: %s", body.what, error->message));
}
