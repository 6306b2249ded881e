/*
 * rule_inline.c
 *		Functions that the planner would write into the query in the place of their call, which it
 *		cannot do through the entry of a routed module.
 *
 * The conditions are those of the server, as far as the text of the function says them:
 * inline_function() for one that returns a value, inline_set_returning_function() for one that
 * returns a set and is called in FROM.  What depends on the catalog (whether a function in the body is
 * an aggregate, or volatile) and on the call is not known: there may be some that would not have been.
 *
 * No SPI, no catalog, no lock.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "module/parse.h"
#include "module/rule_do.h"
#include "module/rule_inline.h"
#include "module/script.h"
#include "nodes/nodeFuncs.h"

/* What the planner asks of a function before it looks at the body. */
typedef struct Attributes
{
	bool is_sql;
	bool is_strict;
	bool is_volatile;
	bool is_opaque; /* SECURITY DEFINER, SET, WINDOW */
	Node *body;     /* of AS; NULL: it is parsed */
} Attributes;

static Attributes
read_attributes(const CreateFunctionStmt *stmt)
{
	Attributes a = { .is_sql = stmt->sql_body != NULL, .is_volatile = true };
	ListCell *cell;

	foreach (cell, stmt->options)
	{
		const DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "language") == 0)
			a.is_sql = strcmp(strVal(option->arg), "sql") == 0;
		else if (strcmp(option->defname, "strict") == 0)
			a.is_strict = boolVal(option->arg);
		else if (strcmp(option->defname, "volatility") == 0)
			a.is_volatile = strcmp(strVal(option->arg), "volatile") == 0;
		else if (strcmp(option->defname, "security") == 0 || strcmp(option->defname, "window") == 0)
			a.is_opaque |= boolVal(option->arg);
		else if (strcmp(option->defname, "set") == 0)
			a.is_opaque = true;
		else if (strcmp(option->defname, "as") == 0)
			a.body = option->arg;
	}
	return a;
}

/* ---- the body ---- */

/* The one statement that it consists of; NULL: there are others, or it cannot be read. */
static Node *
only_statement(const CreateFunctionStmt *stmt, const Attributes *a)
{
	List *statements;

	if (stmt->sql_body && IsA(stmt->sql_body, List))
		/* BEGIN ATOMIC: a list of a list */
		statements = linitial((List *) stmt->sql_body);
	else if (stmt->sql_body)
		return stmt->sql_body;
	else if (a->body && list_length((List *) a->body) == 1)
		statements = parse_quietly(parse_statements, strVal(linitial((List *) a->body)), NULL);
	else
		return NULL;
	if (list_length(statements) != 1)
		return NULL;
	return IsA(linitial(statements), RawStmt) ? linitial_node(RawStmt, statements)->stmt :
												linitial(statements);
}

/* Is there something in an expression that only a query can have? */
static bool
needs_query(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		return true;
	if (IsA(node, FuncCall) &&
		(((FuncCall *) node)->agg_star || ((FuncCall *) node)->over != NULL ||
		 ((FuncCall *) node)->agg_order != NIL || ((FuncCall *) node)->agg_distinct))
		return true;
	return raw_expression_tree_walker(node, needs_query, context);
}

/* Is it an expression and nothing else? */
static bool
is_expression(Node *statement)
{
	const SelectStmt *s = (SelectStmt *) statement;

	if (IsA(statement, ReturnStmt))
		return !needs_query(((ReturnStmt *) statement)->returnval, NULL);
	return IsA(statement, SelectStmt) && list_length(s->targetList) == 1 && s->op == SETOP_NONE &&
		   s->fromClause == NIL && s->whereClause == NULL && s->groupClause == NIL &&
		   s->havingClause == NULL && s->windowClause == NIL && s->distinctClause == NIL &&
		   s->valuesLists == NIL && s->sortClause == NIL && s->limitOffset == NULL &&
		   s->limitCount == NULL && s->lockingClause == NIL && s->withClause == NULL &&
		   s->intoClause == NULL && !needs_query((Node *) s->targetList, NULL);
}

static bool
is_query(Node *statement)
{
	return IsA(statement, SelectStmt) && ((SelectStmt *) statement)->intoClause == NULL;
}

/* ---- the result ---- */

/* The number of arguments that are columns of the result. */
static int
count_results(const CreateFunctionStmt *stmt, FunctionParameterMode *mode)
{
	int count = 0;
	ListCell *cell;

	foreach (cell, stmt->parameters)
	{
		const FunctionParameter *p = lfirst_node(FunctionParameter, cell);

		if (p->mode != FUNC_PARAM_OUT && p->mode != FUNC_PARAM_INOUT && p->mode != FUNC_PARAM_TABLE)
			continue;
		*mode = p->mode;
		count++;
	}
	return count;
}

static bool
is_record(const TypeName *type)
{
	return type && list_length(type->names) > 0 &&
		   strcmp(strVal(llast(type->names)), "record") == 0;
}

/* Notes a function whose calls the planner would replace. */
void
rule_inline_function(RuleWalk *walk, const CreateFunctionStmt *stmt)
{
	Attributes a = read_attributes(stmt);
	FunctionParameterMode mode = FUNC_PARAM_IN;
	int results = count_results(stmt, &mode);
	bool returns_set = mode == FUNC_PARAM_TABLE || (stmt->returnType && stmt->returnType->setof);
	Node *statement;

	if (walk->script != SCRIPT_DEPLOY || stmt->is_procedure || !a.is_sql || a.is_opaque)
		return;
	if (returns_set ? a.is_strict || a.is_volatile : results > 1 || is_record(stmt->returnType))
		return;
	statement = only_statement(stmt, &a);
	if (statement && (returns_set ? is_query(statement) : is_expression(statement)))
		finding_add(
			walk, RULE_INLINED_FUNCTION,
			psprintf(returns_set ?
						 "function %s is a part of the query that calls it, but not through "
						 "an entry" :
						 "function %s is an expression of the query that calls it, but not "
						 "through an entry",
					 NameListToString(stmt->funcname)));
}
