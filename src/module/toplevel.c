/*
 * toplevel.c
 *		Statements that run outside of a transaction: which there are, and what is known of them afterwards.
 *
 * Such a script is run again from the statement that failed, in a session that knows nothing of those before:
 * what only a session has (temporary tables, prepared statements) is refused, and settings are made
 * again.  BEGIN and COMMIT make one transaction of what stands between them.
 *
 * No SPI, no catalog, no lock.
 */
#include "postgres.h"

#include "base/options.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "module/toplevel.h"

static const char unpaired[] =
	"BEGIN and COMMIT stand around what shall be one transaction; elsewhere leave them out.";
static const char unnamed[] =
	"Give the index a name: if the statement fails, the index that it leaves is found by it.";
static const char of_session[] =
	"The script may go on in another session; use what all sessions see, or put it between BEGIN and COMMIT.";
static const char not_kept[] = "Leave it out, or run it by itself, outside of hotswap.";

/* ---- kinds ---- */

static bool
is_in_transaction(TransactionStmtKind kind)
{
	return kind == TRANS_STMT_SAVEPOINT || kind == TRANS_STMT_RELEASE ||
		   kind == TRANS_STMT_ROLLBACK_TO;
}

static bool
is_transaction(const RawStmt *raw, TransactionStmtKind kind, TransactionStmtKind other)
{
	const TransactionStmt *stmt = (const TransactionStmt *) raw->stmt;

	return IsA(stmt, TransactionStmt) && (stmt->kind == kind || stmt->kind == other);
}

bool
toplevel_begins_block(const RawStmt *raw)
{
	return is_transaction(raw, TRANS_STMT_BEGIN, TRANS_STMT_START);
}

bool
toplevel_ends_block(const RawStmt *raw)
{
	return is_transaction(raw, TRANS_STMT_COMMIT, TRANS_STMT_ROLLBACK);
}

/* Has a text the word, in whatever case? */
static bool
mentions(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (; *text; text++)
		if (pg_strncasecmp(text, word, length) == 0)
			return true;
	return false;
}

/* A block without these words commits nothing: text that it runs cannot either. */
static bool
may_commit(const DoStmt *stmt)
{
	DefElem *body = options_find(stmt->args, "as");

	return body == NULL || mentions(strVal(body->arg), "commit") ||
		   mentions(strVal(body->arg), "rollback") || mentions(strVal(body->arg), "call");
}

StatementKind
toplevel_kind(const RawStmt *raw)
{
	Node *stmt = raw->stmt;

	switch (nodeTag(stmt))
	{
		case T_IndexStmt:
			return castNode(IndexStmt, stmt)->concurrent ? STATEMENT_CREATE_INDEX : STATEMENT_PLAIN;
		case T_DropStmt:
			return castNode(DropStmt, stmt)->concurrent ? STATEMENT_DROP_INDEX : STATEMENT_PLAIN;
		case T_AlterTableStmt:
			return script_detaches_concurrently(castNode(AlterTableStmt, stmt)) ? STATEMENT_DETACH :
																				  STATEMENT_PLAIN;
		case T_ReindexStmt:
			return options_on(castNode(ReindexStmt, stmt)->params, "concurrently", false) ?
					   STATEMENT_REINDEX :
					   STATEMENT_REPEATABLE;
		case T_VacuumStmt:
		case T_ClusterStmt:
		case T_AlterSystemStmt:
		case T_AlterDatabaseStmt:
		case T_DiscardStmt:
			return STATEMENT_REPEATABLE;
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_CreateTableSpaceStmt:
		case T_DropTableSpaceStmt:
			return STATEMENT_NAMED;
		case T_DoStmt:
			return may_commit(castNode(DoStmt, stmt)) ? STATEMENT_UNKNOWN : STATEMENT_PLAIN;
		case T_CallStmt:
		case T_AlterSubscriptionStmt:
		case T_DropSubscriptionStmt:
			return STATEMENT_UNKNOWN;
		default:
			return STATEMENT_PLAIN;
	}
}

bool
toplevel_waits_for_snapshots(const RawStmt *raw)
{
	StatementKind kind = toplevel_kind(raw);

	return kind == STATEMENT_CREATE_INDEX || kind == STATEMENT_DROP_INDEX ||
		   kind == STATEMENT_DETACH || kind == STATEMENT_REINDEX;
}

/* SELECT set_config(...), as pg_dump writes it */
static bool
sets_config(const SelectStmt *stmt)
{
	Node *value;

	if (list_length(stmt->targetList) != 1 || stmt->fromClause != NIL)
		return false;
	value = linitial_node(ResTarget, stmt->targetList)->val;
	return IsA(value, FuncCall) &&
		   strcmp(strVal(llast(castNode(FuncCall, value)->funcname)), "set_config") == 0;
}

bool
toplevel_is_setting(const RawStmt *raw)
{
	if (IsA(raw->stmt, SelectStmt))
		return sets_config(castNode(SelectStmt, raw->stmt));
	return IsA(raw->stmt, VariableSetStmt) && !castNode(VariableSetStmt, raw->stmt)->is_local;
}

/* ---- what is refused ---- */

static bool
is_temporary(const RangeVar *relation)
{
	return relation && relation->relpersistence == RELPERSISTENCE_TEMP;
}

/* What only this session would have. */
static const char *
what_of_session(const Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_PrepareStmt:
			return "PREPARE";
		case T_DeclareCursorStmt:
			return "DECLARE CURSOR";
		case T_CreateStmt:
			return is_temporary(castNode(CreateStmt, stmt)->relation) ? "CREATE TEMPORARY TABLE" :
																		NULL;
		case T_CreateTableAsStmt:
			return is_temporary(castNode(CreateTableAsStmt, stmt)->into->rel) ?
					   "CREATE TEMPORARY TABLE" :
					   NULL;
		case T_SelectStmt:
			return castNode(SelectStmt, stmt)->intoClause &&
						   is_temporary(castNode(SelectStmt, stmt)->intoClause->rel) ?
					   "SELECT INTO TEMPORARY" :
					   NULL;
		case T_ViewStmt:
			return is_temporary(castNode(ViewStmt, stmt)->view) ? "CREATE TEMPORARY VIEW" : NULL;
		case T_CreateSeqStmt:
			return is_temporary(castNode(CreateSeqStmt, stmt)->sequence) ?
					   "CREATE TEMPORARY SEQUENCE" :
					   NULL;
		default:
			return NULL;
	}
}

static Refusal
check_transaction(const TransactionStmt *stmt, bool *in_block)
{
	bool begins = stmt->kind == TRANS_STMT_BEGIN || stmt->kind == TRANS_STMT_START;
	bool ends = stmt->kind == TRANS_STMT_COMMIT || stmt->kind == TRANS_STMT_ROLLBACK;

	if (!begins && !ends && !is_in_transaction(stmt->kind))
		return (Refusal){ "PREPARE TRANSACTION or its end", not_kept };
	if (stmt->chain)
		return (Refusal){ "AND CHAIN", unpaired };
	if (begins == *in_block)
		return (Refusal){ begins ? "BEGIN after BEGIN" : "transaction control without BEGIN",
						  unpaired };
	if (begins || ends)
		*in_block = begins;
	return (Refusal){ 0 };
}

/* A statement that is a transaction of its own. */
static Refusal
check_alone(const ParsedScript *script, const RawStmt *raw)
{
	Node *stmt = raw->stmt;
	const char *of_this_session = what_of_session(stmt);

	if (of_this_session)
		return (Refusal){ of_this_session, of_session };
	switch (nodeTag(stmt))
	{
		case T_IndexStmt:
			if (castNode(IndexStmt, stmt)->concurrent && castNode(IndexStmt, stmt)->idxname == NULL)
				return (Refusal){ "CREATE INDEX CONCURRENTLY without a name", unnamed };
			return (Refusal){ 0 };
		case T_DiscardStmt:
			if (castNode(DiscardStmt, stmt)->target == DISCARD_ALL)
				return (Refusal){ "DISCARD ALL", not_kept };
			return (Refusal){ 0 };
		case T_VacuumStmt:
		case T_ClusterStmt:
		case T_DropStmt:
		case T_AlterTableStmt:
		case T_AlterDatabaseStmt:
		case T_ReindexStmt:
		case T_AlterSubscriptionStmt:
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_CreateTableSpaceStmt:
		case T_DropTableSpaceStmt:
		case T_AlterSystemStmt:
			return (Refusal){ 0 };
		default:
			return script_refusal(script, raw);
	}
}

void
toplevel_check(const ParsedScript *script)
{
	const RawStmt *begin = NULL;
	bool in_block = false;
	ListCell *cell;

	foreach (cell, script->statements)
	{
		RawStmt *raw = lfirst_node(RawStmt, cell);
		Refusal refusal;

		CHECK_FOR_INTERRUPTS();
		if (IsA(raw->stmt, TransactionStmt))
			refusal = check_transaction(castNode(TransactionStmt, raw->stmt), &in_block);
		else
			refusal = in_block ? script_refusal(script, raw) : check_alone(script, raw);
		if (refusal.what)
			script_refuse(script, raw, &refusal);
		if (toplevel_begins_block(raw))
			begin = raw;
	}
	if (in_block)
		script_refuse(script, begin, &(Refusal){ "BEGIN without COMMIT", unpaired });
}
