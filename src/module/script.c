/*
 * script.c
 *		Parses the users' scripts with the server's own grammar and refuses what a swap cannot run.
 *
 * No SPI, no catalog, no lock.  An error points into the script: the position is an internal one
 * (the query of the client is another text), with the script as the internal query, or with the
 * line in question where the script is large.  What can only be known when a statement runs (DROP
 * SUBSCRIPTION with a slot, CLUSTER of a partitioned table, a procedure that commits) is left to
 * the server, which refuses it then.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/options.h"
#include "commands/defrem.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "module/copy_data.h"
#include "module/parse.h"
#include "module/script.h"
#include "nodes/parsenodes.h"

/* Scripts up to this many bytes are shown whole beside an error. */
#define SHOWN_SCRIPT (8 * 1024)

static const char in_transaction[] =
	"hotswap begins and ends the transaction that a script runs in; leave them out, or publish with transactional => false.";
static const char no_listener[] =
	"Nobody reads what the session of a script hears; LISTEN in a session of the application.";
static const char outside[] =
	"It cannot run inside a transaction block; publish it with transactional => false.";
static const char by_itself[] =
	"It cannot run inside a transaction block; run it by itself, outside of hotswap.";
static const char concurrently[] =
	"It cannot run inside a transaction block; leave out CONCURRENTLY, or publish with transactional => false.";
static const char no_reader[] =
	"Nobody reads what a script writes; leave it out, or use COPY with a file or program on the server.";
static const char no_data[] =
	"The data stand in the script: in the lines after the statement, up to a line \"\\.\".";
static const char as_text[] = "Write the data in the text or the CSV format.";
static const char one_encoding[] = "The data have the encoding of the script; leave ENCODING out.";
static const char one_way[] =
	"Every script is read with the setting on; write strings with backslash escapes as E'...'.";

const char *const script_labels[] = { "deploy script", "verify script", "revert script",
									  "install script" };

/* ---- where an error is ---- */

/* The byte at which the position-th character (from 1) begins. */
int
script_offset(const char *sql, int position)
{
	const char *p = sql;

	while (*p && --position > 0)
		p += pg_mblen(p);
	return (int) (p - sql);
}

/* The line from 1 that a byte is in, and the byte at which that begins. */
int
script_line(const char *sql, int offset, int *start)
{
	int line = 1;

	*start = 0;
	for (const char *p = sql; (p = memchr(p, '\n', sql + offset - p)) != NULL; line++)
		*start = (int) (++p - sql);
	return line;
}

/* Attaches the part of a large script around offset to the error: its line, or what fits of it. */
static void
show_excerpt(const char *sql, int line_start, int offset)
{
	int length = (int) strcspn(sql + line_start, "\n");

	while (offset - line_start > SHOWN_SCRIPT / 2)
	{
		int step = pg_mblen(sql + line_start);

		line_start += step;
		length -= step;
	}
	length = pg_mbcliplen(sql + line_start, length, SHOWN_SCRIPT);
	internalerrquery(pnstrdup(sql + line_start, length));
	internalerrposition(pg_mbstrlen_with_len(sql + line_start, offset - line_start) + 1);
}

/* Attaches the place in a script to the error that is being raised; returns the line from 1. */
static int
show_place(const ParsedScript *script, int offset, int *column)
{
	const char *sql = script->sql;
	int line_start;
	int line = script_line(sql, offset, &line_start);

	*column = pg_mbstrlen_with_len(sql + line_start, offset - line_start) + 1;
	if (strlen(sql) > SHOWN_SCRIPT)
		show_excerpt(sql, line_start, offset);
	else
	{
		internalerrquery(sql);
		internalerrposition(pg_mbstrlen_with_len(sql, offset) + 1);
	}
	return line;
}

/*
 * A backslash outside of strings is no SQL: it begins a command of psql, as pg_dump writes some, too.
 */
static void
describe_psql_command(const char *sql, int offset)
{
	int length = 1 + (int) strspn(sql + offset + 1, "abcdefghijklmnopqrstuvwxyz_.!?");

	errmsg("\"%.*s\" is a command of psql, not of SQL", length, sql + offset);
	if (strncmp(sql + offset, "\\copy", length) == 0)
		errhint(
			"Use COPY ... FROM STDIN with the data in the script, or COPY with a file on the server.");
	else
		errhint("Publish the file with hotswap-publish, or leave the command out.");
}

/*
 * Error context of the parser.  Its positions are meant for the query of the client; here they are
 * turned into places in the script.  Only syntax errors get the detail: other errors of the grammar
 * may bring their own.
 */
static void
parse_context(void *arg)
{
	const ParsedScript *script = arg;
	int position = geterrposition();
	int offset;
	int line;
	int column;

	if (position <= 0)
	{
		errcontext("%s", script->label);
		return;
	}
	errposition(0);
	offset = script_offset(script->text, position);
	line = show_place(script, offset, &column);
	if (geterrcode() == ERRCODE_SYNTAX_ERROR && script->sql[offset] == '\\')
		describe_psql_command(script->sql, offset);
	if (geterrcode() == ERRCODE_SYNTAX_ERROR)
		errdetail("Line %d, column %d of the %s.", line, column, script->label);
	errcontext("%s, line %d", script->label, line);
}

/* ---- what a script may not contain ---- */

bool
script_detaches_concurrently(const AlterTableStmt *stmt)
{
	ListCell *cell;

	foreach (cell, stmt->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_DetachPartition &&
			castNode(PartitionCmd, command->def)->concurrent)
			return true;
	}
	return false;
}

static Refusal
check_reindex(const ReindexStmt *stmt)
{
	if (options_on(stmt->params, "concurrently", false))
		return (Refusal){ "REINDEX CONCURRENTLY", concurrently };
	switch (stmt->kind)
	{
		case REINDEX_OBJECT_SCHEMA:
			return (Refusal){ "REINDEX SCHEMA", outside };
		case REINDEX_OBJECT_SYSTEM:
			return (Refusal){ "REINDEX SYSTEM", outside };
		case REINDEX_OBJECT_DATABASE:
			return (Refusal){ "REINDEX DATABASE", outside };
		default:
			return (Refusal){ 0 };
	}
}

/* Only what would touch the publisher, where nothing can be rolled back. */
static Refusal
check_alter_subscription(const AlterSubscriptionStmt *stmt)
{
	switch (stmt->kind)
	{
		case ALTER_SUBSCRIPTION_SET_PUBLICATION:
		case ALTER_SUBSCRIPTION_ADD_PUBLICATION:
		case ALTER_SUBSCRIPTION_DROP_PUBLICATION:
			if (options_on(stmt->options, "refresh", true))
				return (Refusal){ "ALTER SUBSCRIPTION with refresh", outside };
			return (Refusal){ 0 };
		case ALTER_SUBSCRIPTION_REFRESH:
			return (Refusal){ "ALTER SUBSCRIPTION ... REFRESH", outside };
		default:
			return (Refusal){ 0 };
	}
}

static Refusal
check_create_subscription(const CreateSubscriptionStmt *stmt)
{
	bool connect = options_on(stmt->options, "connect", true);

	if (options_on(stmt->options, "create_slot", connect))
		return (Refusal){ "CREATE SUBSCRIPTION with create_slot", by_itself };
	return (Refusal){ 0 };
}

bool
script_copies_data(const Node *stmt)
{
	const CopyStmt *copy = (const CopyStmt *) stmt;

	return IsA(stmt, CopyStmt) && copy->is_from && copy->filename == NULL && !copy->is_program;
}

/* Has it data that can be read as they stand in the script? */
static Refusal
check_copy_data(const ParsedScript *script, const RawStmt *raw)
{
	const CopyStmt *stmt = castNode(CopyStmt, raw->stmt);
	const CopyData *data = copy_data_of(script->data, raw);
	DefElem *format = options_find(stmt->options, "format");

	if (data == NULL || data->length < 0)
		return (Refusal){ "COPY FROM STDIN whose data do not end", no_data };
	if (format && strcmp(defGetString(format), "binary") == 0)
		return (Refusal){ "COPY FROM STDIN in the binary format", as_text };
	if (options_find(stmt->options, "encoding"))
		return (Refusal){ "COPY FROM STDIN with ENCODING", one_encoding };
	return (Refusal){ 0 };
}

static Refusal
check_copy(const CopyStmt *stmt)
{
	if (stmt->is_from || stmt->filename != NULL || stmt->is_program)
		return (Refusal){ 0 };
	return (Refusal){ "COPY TO STDOUT", no_reader };
}

/* Returns why a statement is refused; what is NULL if it is not. */
static Refusal
check_statement(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_TransactionStmt:
			return (Refusal){ "transaction control", in_transaction };
		case T_ListenStmt:
			return (Refusal){ "LISTEN", no_listener };
		case T_VacuumStmt:
			if (castNode(VacuumStmt, stmt)->is_vacuumcmd)
				return (Refusal){ "VACUUM", outside };
			return (Refusal){ 0 };
		case T_ClusterStmt:
			if (castNode(ClusterStmt, stmt)->relation == NULL)
				return (Refusal){ "CLUSTER without a table", outside };
			return (Refusal){ 0 };
		case T_IndexStmt:
			if (castNode(IndexStmt, stmt)->concurrent)
				return (Refusal){ "CREATE INDEX CONCURRENTLY", concurrently };
			return (Refusal){ 0 };
		case T_DropStmt:
			if (castNode(DropStmt, stmt)->concurrent)
				return (Refusal){ "DROP INDEX CONCURRENTLY", concurrently };
			return (Refusal){ 0 };
		case T_AlterTableStmt:
			if (script_detaches_concurrently(castNode(AlterTableStmt, stmt)))
				return (Refusal){ "DETACH PARTITION CONCURRENTLY", concurrently };
			return (Refusal){ 0 };
		case T_DiscardStmt:
			if (castNode(DiscardStmt, stmt)->target == DISCARD_ALL)
				return (Refusal){ "DISCARD ALL", by_itself };
			return (Refusal){ 0 };
		case T_AlterDatabaseStmt:
			if (options_have(castNode(AlterDatabaseStmt, stmt)->options, "tablespace"))
				return (Refusal){ "ALTER DATABASE SET TABLESPACE", outside };
			return (Refusal){ 0 };
		case T_ReindexStmt:
			return check_reindex(castNode(ReindexStmt, stmt));
		case T_CopyStmt:
			return check_copy(castNode(CopyStmt, stmt));
		case T_CreateSubscriptionStmt:
			return check_create_subscription(castNode(CreateSubscriptionStmt, stmt));
		case T_AlterSubscriptionStmt:
			return check_alter_subscription(castNode(AlterSubscriptionStmt, stmt));
		case T_VariableSetStmt:
			if (parse_is_unfixed(castNode(VariableSetStmt, stmt)))
				return (Refusal){ "SET standard_conforming_strings = off", one_way };
			return (Refusal){ 0 };
		case T_CreatedbStmt:
			return (Refusal){ "CREATE DATABASE", outside };
		case T_DropdbStmt:
			return (Refusal){ "DROP DATABASE", outside };
		case T_CreateTableSpaceStmt:
			return (Refusal){ "CREATE TABLESPACE", outside };
		case T_DropTableSpaceStmt:
			return (Refusal){ "DROP TABLESPACE", outside };
		case T_AlterSystemStmt:
			return (Refusal){ "ALTER SYSTEM", outside };
		default:
			return (Refusal){ 0 };
	}
}

/* The same for a statement that has data, or may hold others. */
Refusal
script_refusal(const ParsedScript *script, const RawStmt *raw)
{
	Node *stmt = raw->stmt;
	ListCell *cell;

	if (script_copies_data(stmt))
		return check_copy_data(script, raw);
	if (!IsA(stmt, CreateSchemaStmt))
		return check_statement(stmt);
	foreach (cell, castNode(CreateSchemaStmt, stmt)->schemaElts)
	{
		Refusal refusal = check_statement(lfirst(cell));

		if (refusal.what)
			return refusal;
	}
	return (Refusal){ 0 };
}

/* Skips a comment of the form that SQL nests. */
static const char *
skip_block_comment(const char *p)
{
	int depth = 0;

	do
	{
		if (p[0] == '/' && p[1] == '*')
		{
			depth++;
			p += 2;
		}
		else if (p[0] == '*' && p[1] == '/')
		{
			depth--;
			p += 2;
		}
		else
			p++;
	} while (depth > 0 && *p);
	return p;
}

/*
 * Where the statement that follows offset begins: a statement's location includes what precedes it.
 */
int
script_statement_offset(const char *sql, int offset)
{
	const char *p = sql + offset;

	for (;;)
	{
		p += strspn(p, " \t\n\r\f\v;");
		if (p[0] == '-' && p[1] == '-')
			p += strcspn(p, "\r\n");
		else if (p[0] == '/' && p[1] == '*')
			p = skip_block_comment(p);
		else
			return (int) (p - sql);
	}
}

void
script_refuse(const ParsedScript *script, const RawStmt *raw, const Refusal *refusal)
{
	int column;
	int line;

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not allowed in the %s", refusal->what, script->label),
			 line = show_place(script, script_statement_offset(script->text, raw->stmt_location),
							   &column),
			 errdetail("Line %d, column %d of the %s.", line, column, script->label),
			 errhint("%s", refusal->hint)));
}

/* ---- interface ---- */

/* The text behind the byte order mark that some editors put before one. */
static char *
without_mark(char *sql)
{
	static const char mark[] = "\xef\xbb\xbf";
	bool bytes_are_utf8 = GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII;

	return bytes_are_utf8 && strncmp(sql, mark, strlen(mark)) == 0 ? sql + strlen(mark) : sql;
}

/*
 * A script as it is stored, signed and run: without a byte order mark.  NULL if it is not required and not
 * given.
 */
char *
script_argument(FunctionCallInfo fcinfo, int n, const char *word, bool required)
{
	char *given = arg_script(fcinfo, n, word, required);

	return given ? without_mark(given) : NULL;
}

/*
 * Parses a script into RawStmts, in the current context.  Raises 42601 (or what else the grammar
 * raises) with the place in the script, 22023 if it is empty: none is NULL.  One of blanks and comments has no
 * statements and does nothing.
 */
ParsedScript *
script_parse(const char *label, const char *sql)
{
	ParsedScript *script = palloc0(sizeof(ParsedScript));
	ErrorContextCallback callback;

	if (*sql == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is empty", label),
						errhint("A comment is a script that does nothing.")));

	script->label = label;
	script->sql = script->text = sql;
	callback.previous = error_context_stack;
	callback.callback = parse_context;
	callback.arg = script;
	error_context_stack = &callback;
	script->data = copy_data_find(sql);
	script->text = copy_data_blank(sql, script->data);
	script->statements = parse_statements(script->text);
	error_context_stack = callback.previous;
	return script;
}

/* Is it that, with nothing added that would mean more? */
static bool
is_plain(const RawStmt *raw, TransactionStmtKind kind)
{
	const TransactionStmt *stmt = (const TransactionStmt *) raw->stmt;

	return IsA(stmt, TransactionStmt) && stmt->kind == kind && stmt->options == NIL && !stmt->chain;
}

/*
 * A verify script is rolled back whatever it says, so that BEGIN before and ROLLBACK after it, as other tools
 * have them, say nothing new.
 */
ParsedScript *
script_parse_verify(const char *sql)
{
	ParsedScript *script = script_parse(script_labels[SCRIPT_VERIFY], sql);
	List *statements = script->statements;

	if (statements != NIL && is_plain(linitial(statements), TRANS_STMT_BEGIN))
		statements = list_delete_first(statements);
	if (statements != NIL && is_plain(llast(statements), TRANS_STMT_ROLLBACK))
		statements = list_delete_last(statements);
	script->statements = statements;
	return script;
}

/*
 * Raises 0A000, with the place, for the first statement that cannot run inside the transaction of a swap.
 */
void
script_check(const ParsedScript *script)
{
	ListCell *cell;

	foreach (cell, script->statements)
	{
		RawStmt *raw = lfirst_node(RawStmt, cell);
		Refusal refusal = script_refusal(script, raw);

		CHECK_FOR_INTERRUPTS();
		if (refusal.what)
			script_refuse(script, raw, &refusal);
	}
}
