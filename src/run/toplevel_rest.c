/*
 * toplevel_rest.c
 *		What a statement with CONCURRENTLY leaves when it does not come to its end, and what to do about it.
 *
 * An index that was being built is there and invalid.  It is known by its name and by not having been there
 * before; with IF NOT EXISTS by its name alone, since the statement would be content with an invalid one.
 * REINDEX leaves invalid indexes with names of its own, a partition that was being detached is marked as such.
 *
 * Reads the catalog as the owner of the extension; names are looked up as the script would.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/tablespace.h"
#include "module/toplevel.h"
#include "nodes/makefuncs.h"
#include "run/toplevel_rest.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static DbStatement indexes_query =
	DB_STATEMENT("SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = $1", OIDOID);

static DbStatement index_query =
	DB_STATEMENT("SELECT indrelid, indisvalid FROM pg_catalog.pg_index WHERE indexrelid = $1",
				 OIDOID);

static DbStatement rebuilt_query = DB_STATEMENT(
	"SELECT c.oid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
	" WHERE i.indrelid = $1 AND NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'",
	OIDOID);

static DbStatement partition_query = DB_STATEMENT(
	"SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhrelid = $1 AND inhparent = $2",
	OIDOID, OIDOID);

static Oid
find(const RangeVar *relation)
{
	return relation ? RangeVarGetRelid(relation, NoLock, true) : InvalidOid;
}

static char *
qualified(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
									  get_rel_name(relation));
}

/* The table of an index; InvalidOid: it is none. */
static Oid
table_of(Oid index, bool *valid)
{
	Datum args[] = { ObjectIdGetDatum(index) };
	DbScope scope;
	Oid table = InvalidOid;

	*valid = false;
	db_enter(&scope);
	if (OidIsValid(index) && db_run(&index_query, args, NULL) > 0)
	{
		table = db_oid(0, 1);
		*valid = db_bool(0, 2);
	}
	db_leave(&scope);
	return table;
}

/* The table that a statement is about; InvalidOid: none in particular, or it is not there. */
static Oid
subject_of(const RawStmt *raw)
{
	Node *stmt = raw->stmt;
	ReindexStmt *reindex;
	bool valid;

	if (IsA(stmt, IndexStmt))
		return find(castNode(IndexStmt, stmt)->relation);
	if (!IsA(stmt, ReindexStmt))
		return InvalidOid;
	reindex = castNode(ReindexStmt, stmt);
	if (reindex->kind == REINDEX_OBJECT_INDEX)
		return table_of(find(reindex->relation), &valid);
	return reindex->kind == REINDEX_OBJECT_TABLE ? find(reindex->relation) : InvalidOid;
}

static List *
read_oids(DbStatement *statement, Oid argument)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { ObjectIdGetDatum(argument) };
	List *oids = NIL;
	DbScope scope;
	uint64 n;

	if (!OidIsValid(argument))
		return NIL;
	db_enter(&scope);
	n = db_run(statement, args, NULL);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
		oids = lappend_oid(oids, db_oid(i, 1));
	db_leave(&scope);
	return oids;
}

/* What a CREATE or DROP of a database or tablespace names, if it is there. */
static Oid
find_named(const Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreatedbStmt:
			return get_database_oid(castNode(CreatedbStmt, stmt)->dbname, true);
		case T_DropdbStmt:
			return get_database_oid(castNode(DropdbStmt, stmt)->dbname, true);
		case T_CreateTableSpaceStmt:
			return get_tablespace_oid(castNode(CreateTableSpaceStmt, stmt)->tablespacename, true);
		default:
			return get_tablespace_oid(castNode(DropTableSpaceStmt, stmt)->tablespacename, true);
	}
}

List *
toplevel_indexes(const RawStmt *raw)
{
	if (toplevel_kind(raw) == STATEMENT_NAMED)
	{
		Oid named = find_named(raw->stmt);

		return OidIsValid(named) ? list_make1_oid(named) : NIL;
	}
	return read_oids(&indexes_query, subject_of(raw));
}

/* The index that has the name of the one that is to be made, on the same table. */
static Oid
find_index(const IndexStmt *stmt, bool *valid)
{
	Oid table = find(stmt->relation);
	Oid index;

	*valid = false;
	if (!OidIsValid(table) || stmt->idxname == NULL)
		return InvalidOid;
	index = get_relname_relid(stmt->idxname, get_rel_namespace(table));
	return table_of(index, valid) == table ? index : InvalidOid;
}

/* How a partition stands to what it is to be detached from. */
typedef enum PartitionState
{
	PARTITION_ATTACHED,
	PARTITION_HALF,
	PARTITION_DETACHED,
	PARTITION_MISSING
} PartitionState;

static PartitionState
partition_state(const AlterTableStmt *stmt)
{
	PartitionCmd *command = castNode(PartitionCmd, linitial_node(AlterTableCmd, stmt->cmds)->def);
	Oid partition = find(command->name);
	Datum args[] = { ObjectIdGetDatum(partition), ObjectIdGetDatum(find(stmt->relation)) };
	PartitionState state = PARTITION_DETACHED;
	DbScope scope;

	if (!OidIsValid(partition))
		return PARTITION_MISSING;
	db_enter(&scope);
	if (db_run(&partition_query, args, NULL) > 0)
		state = db_bool(0, 1) ? PARTITION_HALF : PARTITION_ATTACHED;
	db_leave(&scope);
	return state;
}

bool
toplevel_is_done(const RawStmt *raw, List *before)
{
	Node *stmt = raw->stmt;
	bool valid;
	Oid index;

	switch (toplevel_kind(raw))
	{
		case STATEMENT_CREATE_INDEX:
			index = find_index(castNode(IndexStmt, stmt), &valid);
			return valid && !list_member_oid(before, index);
		case STATEMENT_DROP_INDEX:
			return !OidIsValid(
				find(makeRangeVarFromNameList(linitial(castNode(DropStmt, stmt)->objects))));
		case STATEMENT_DETACH:
			return partition_state(castNode(AlterTableStmt, stmt)) == PARTITION_DETACHED;
		case STATEMENT_NAMED:
			index = find_named(stmt);
			if (IsA(stmt, CreatedbStmt) || IsA(stmt, CreateTableSpaceStmt))
				return OidIsValid(index) && !list_member_oid(before, index);
			return !OidIsValid(index);
		default:
			return false;
	}
}

List *
toplevel_repairs(const RawStmt *raw, List *before)
{
	List *rest = NIL;
	List *statements = NIL;
	ListCell *cell;

	if (toplevel_kind(raw) == STATEMENT_CREATE_INDEX)
	{
		IndexStmt *stmt = castNode(IndexStmt, raw->stmt);
		bool valid;
		Oid index = find_index(stmt, &valid);

		if (OidIsValid(index) && !valid && (stmt->if_not_exists || !list_member_oid(before, index)))
			rest = list_make1_oid(index);
	}
	else if (toplevel_kind(raw) == STATEMENT_REINDEX)
		rest = list_difference_oid(read_oids(&rebuilt_query, subject_of(raw)), before);
	foreach (cell, rest)
		statements = lappend(statements,
							 psprintf("DROP INDEX CONCURRENTLY %s", qualified(lfirst_oid(cell))));
	return statements;
}

char *
toplevel_rest_of(const RawStmt *raw)
{
	AlterTableStmt *stmt;
	PartitionCmd *command;

	if (toplevel_kind(raw) != STATEMENT_DETACH)
		return NULL;
	stmt = castNode(AlterTableStmt, raw->stmt);
	if (partition_state(stmt) != PARTITION_HALF)
		return NULL;
	command = castNode(PartitionCmd, linitial_node(AlterTableCmd, stmt->cmds)->def);
	return psprintf("ALTER TABLE %s DETACH PARTITION %s FINALIZE", qualified(find(stmt->relation)),
					qualified(find(command->name)));
}

void
toplevel_require_valid(const RawStmt *raw)
{
	bool valid;
	Oid index;

	if (toplevel_kind(raw) != STATEMENT_CREATE_INDEX)
		return;
	index = find_index(castNode(IndexStmt, raw->stmt), &valid);
	if (OidIsValid(index) && !valid)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("index %s is not valid", qualified(index)),
						errhint("Drop it, and use hotswap.retry().")));
}
