/*
 * copy.c
 *		COPY ... FROM STDIN, with the data that stand in the script.
 *
 * SPI refuses it, and the server itself would read from the standard input of the process.  So what DoCopy()
 * does before it reads (rights, row security, conditions) is done here, and the server's COPY is given
 * the data by its callback.  An error points to the line of the data.
 *
 * Locks the table as COPY does.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "base/compat.h"
#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "module/copy_data.h"
#include "module/parse.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "run/copy.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

/* A line of the data. */
typedef struct Line
{
	uint64 number; /* as the server counts, from 1 */
	const char *at;
	int in_script; /* the number of the line, from 1 */
} Line;

/* What is copied. */
typedef struct Source
{
	TaskRun *run;
	const ParsedScript *script;
	CopyFromState state; /* NULL: it has not begun to read */
	const char *rest;    /* what has not been read */
	const char *end;
	Line first;
	Line found; /* where an error or a warning was last: the next one is searched for from there */
} Source;

/* The server's callback has no argument, and a COPY does not run inside another one of a script. */
static Source *source;

static int
read_data(void *buffer, int at_least pg_attribute_unused(), int at_most)
{
	int length = (int) Min((ptrdiff_t) at_most, source->end - source->rest);

	memcpy(buffer, source->rest, length);
	source->rest += length;
	return length;
}

/* The first line of the data. */
static Line
first_line(const char *sql, const char *data)
{
	Line line = { 1, data, 1 };

	for (const char *p = sql; (p = memchr(p, '\n', data - p)) != NULL; p++)
		line.in_script++;
	return line;
}

/* The place of the line that the server is at. */
static void
describe_line(void *arg)
{
	Source *s = arg;
	Line *line = &s->found;

	if (s->state == NULL || s->state->cur_lineno == 0)
		return;
	if (line->number > s->state->cur_lineno)
		*line = s->first;
	while (line->number < s->state->cur_lineno)
	{
		const char *next = memchr(line->at, '\n', s->end - line->at);

		if (next == NULL)
			break;
		line->at = next + 1;
		line->in_script++;
		line->number++;
	}
	s->run->at = (int) (line->at - s->script->sql);
	errcontext("line %d of the %s", line->in_script, s->script->label);
}

/* As of PostgreSQL 18; before, the condition would see nothing in the column. */
static void
refuse_generated(Relation rel, Node *where)
{
	Bitmapset *columns = NULL;
	int column = -1;

	pull_varattnos(where, 1, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		AttrNumber number = column + FirstLowInvalidHeapAttributeNumber;

		if (number > 0 && TupleDescAttr(RelationGetDescr(rel), number - 1)->attgenerated)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
					 errmsg("generated columns are not supported in COPY FROM WHERE conditions")));
	}
}

/* WHERE, as DoCopy() has it. */
static Node *
transform_where(ParseState *pstate, ParseNamespaceItem *item, Relation rel, Node *where)
{
	if (where == NULL)
		return NULL;
	addNSItemToQuery(pstate, item, false, true, true);
	where = transformExpr(pstate, where, EXPR_KIND_COPY_WHERE);
	where = coerce_to_boolean(pstate, where, "WHERE");
	assign_expr_collations(pstate, where);
	refuse_generated(rel, where);
	where = eval_const_expressions(NULL, where);
	return (Node *) make_ands_implicit(canonicalize_qual((Expr *) where, false));
}

/* May this role insert into these columns in this way? */
static void
check(ParseState *pstate, ParseNamespaceItem *item, Relation rel, const CopyStmt *stmt)
{
	ListCell *cell;

	rights_of(item)->requiredPerms = ACL_INSERT;
	foreach (cell, CopyGetAttnums(RelationGetDescr(rel), rel, stmt->attlist))
		rights_of(item)->insertedCols =
			bms_add_member(rights_of(item)->insertedCols,
						   lfirst_int(cell) - FirstLowInvalidHeapAttributeNumber);
	check_rights(pstate, item);
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, false) == RLS_ENABLED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("COPY FROM not supported with row-level security"),
						errhint("Use INSERT statements instead.")));
	if (XactReadOnly && !rel->rd_islocaltemp)
		PreventCommandIfReadOnly("COPY FROM");
}

/* The data have the encoding of the script, whatever that of the session's client is. */
static List *
with_encoding(const CopyStmt *stmt)
{
	return lappend(list_copy(stmt->options),
				   makeDefElem("encoding",
							   (Node *) makeString(unconstify(char *, GetDatabaseEncodingName())),
							   -1));
}

static void
copy(const CopyStmt *stmt)
{
	ParseState *pstate = make_parsestate(NULL);
	Relation rel = table_openrv(stmt->relation, RowExclusiveLock);
	ParseNamespaceItem *item;
	Node *where;

	pstate->p_sourcetext = source->run->statement;
	item = addRangeTableEntryForRelation(pstate, rel, RowExclusiveLock, NULL, false, false);
	where = transform_where(pstate, item, rel, stmt->whereClause);
	check(pstate, item, rel, stmt);
	source->state = BeginCopyFrom(pstate, rel, where, NULL, false, read_data, stmt->attlist,
								  with_encoding(stmt));
	source->run->rows += CopyFrom(source->state);
	EndCopyFrom(source->state);
	source->state = NULL;
	table_close(rel, NoLock);
	free_parsestate(pstate);
}

/* Runs a COPY of a script; the statement is run->statement. */
void
run_copy(TaskRun *run, const ParsedScript *script, const RawStmt *raw)
{
	const CopyData *data = copy_data_of(script->data, raw);
	RawStmt *alone = linitial_node(RawStmt, parse_statements(run->statement));
	Source s = { .run = run, .script = script };
	ErrorContextCallback callback = { error_context_stack, describe_line, &s };

	if (data == NULL || data->length < 0)
		elog(ERROR, "COPY has no data");
	s.rest = script->sql + data->at;
	s.end = s.rest + data->length;
	s.first = s.found = first_line(script->sql, s.rest);
	source = &s;
	error_context_stack = &callback;
	PushActiveSnapshot(GetTransactionSnapshot());
	copy(castNode(CopyStmt, alone->stmt));
	PopActiveSnapshot();
	CommandCounterIncrement();
	error_context_stack = callback.previous;
	source = NULL;
}
