/*
 * toplevel_record.c
 *		How far a script outside of a transaction is, as rows.
 *
 * A row is written in the transaction of its statement where that can be, so that it is there if and only if
 * the statement has done its work.  A statement that begins others (CONCURRENTLY, a procedure that
 * commits) has its row from before it begins, which says that it has.  The rows go with the record of the
 * script's end.  They count as long as nothing else was swapped in on the node.
 *
 * Locks: the task's row, then rows of statement.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/guc.h"
#include "catalog/pg_type.h"
#include "run/toplevel_record.h"
#include "utils/builtins.h"

#define KEY \
	" tenant_id = $1 AND deployment_id = $2 AND node_id = $3 AND version = $4 AND script = $5"
#define LAST_SWAP                                                  \
	"coalesce((SELECT m.swap FROM hotswap.node_module m"           \
	" WHERE m.tenant_id = $1 AND m.node_id = $3 AND m.module = $6" \
	" ORDER BY m.swap DESC LIMIT 1), 0)"
#define INSERT(columns, values)                                                                     \
	"INSERT INTO hotswap.statement AS s (tenant_id, deployment_id, node_id, version, script, swap," \
	" statement, " columns ") VALUES ($1, $2, $3, $4, $5, " LAST_SWAP ", $7, " values ")"           \
	" ON CONFLICT (tenant_id, deployment_id, node_id, version, script, statement) DO UPDATE SET "

static DbStatement delete_stale =
	DB_STATEMENT("DELETE FROM hotswap.statement WHERE" KEY " AND swap <> " LAST_SWAP, UUIDOID,
				 UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID);

static DbStatement read_rows = DB_STATEMENT(
	"SELECT statement, finished_at IS NOT NULL, started_at IS NOT NULL, in_doubt, attempts, indexes"
	" FROM hotswap.statement WHERE" KEY,
	UUIDOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID);

static DbStatement insert_begun = DB_STATEMENT(
	INSERT(
		"started_at, indexes",
		"pg_catalog.clock_timestamp(), $8") "started_at = excluded.started_at, indexes = coalesce(s.indexes, excluded.indexes)",
	UUIDOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, OIDARRAYOID);

static DbStatement insert_done = DB_STATEMENT(
	INSERT(
		"started_at, finished_at",
		"pg_catalog.now(), pg_catalog.clock_timestamp()") "started_at = coalesce(s.started_at, excluded.started_at), finished_at = excluded.finished_at,"
														  " in_doubt = false",
	UUIDOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, INT4OID);

static DbStatement insert_failed =
	DB_STATEMENT(INSERT("attempts, in_doubt",
						"1, $8") "attempts = s.attempts + 1, in_doubt = excluded.in_doubt,"
								 " started_at = CASE WHEN excluded.in_doubt THEN s.started_at END",
				 UUIDOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, BOOLOID);

static DbStatement delete_rows =
	DB_STATEMENT("DELETE FROM hotswap.statement WHERE tenant_id = $1 AND deployment_id = $2"
				 " AND node_id = $3 AND version = $4",
				 UUIDOID, UUIDOID, UUIDOID, TEXTOID);

static void
arg_script(DbArgs *args, const TaskRun *run)
{
	db_arg_uuid(args, &run->key.tenant);
	db_arg_uuid(args, &run->key.deployment);
	db_arg_uuid(args, &run->node);
	db_arg_text(args, run->outside->name);
	db_arg_text(args, run->outside_of);
}

static void
arg_statement(DbArgs *args, const TaskRun *run)
{
	arg_script(args, run);
	db_arg_text(args, run->module);
	db_arg_int32(args, run->statement_number);
}

static List *
read_oids(uint64 row, int column)
{
	bool isnull;
	Datum array = db_datum(row, column, &isnull);

	return isnull ? NIL : db_oid_list(array);
}

StatementRecord *
toplevel_read(const TaskRun *run, int count)
{
	StatementRecord *records = palloc0((count + 1) * sizeof(StatementRecord));
	MemoryContext context = CurrentMemoryContext;
	DbArgs stale = db_args(&delete_stale);
	DbArgs args = db_args(&read_rows);
	DbScope scope;
	uint64 n;

	db_enter(&scope);
	db_limit_lock_wait(hotswap_lock_timeout);
	arg_script(&stale, run);
	db_arg_text(&stale, run->module);
	(void) db_run_args(&stale);
	arg_script(&args, run);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		StatementRecord *r = &records[db_int32(i, 1)];

		r->is_there = true;
		r->done = db_bool(i, 2);
		r->begun = db_bool(i, 3) && !r->done;
		r->in_doubt = db_bool(i, 4);
		r->attempts = db_int32(i, 5);
		r->indexes = read_oids(i, 6);
	}
	db_leave(&scope);
	return records;
}

void
toplevel_record_begin(const TaskRun *run, const StatementRecord *r, bool intent)
{
	DbScope scope;
	DbArgs args = db_args(&insert_begun);

	record_require_running(run, true);
	if (!intent)
		return;
	db_enter(&scope);
	db_limit_lock_wait(hotswap_lock_timeout);
	arg_statement(&args, run);
	db_arg_datum(&args, OIDARRAYOID, db_oid_array(r->indexes), false);
	(void) db_run_args(&args);
	db_leave(&scope);
}

void
toplevel_record_done(const TaskRun *run)
{
	DbScope scope;
	DbArgs args = db_args(&insert_done);

	record_require_running(run, false);
	db_enter(&scope);
	db_limit_lock_wait(hotswap_lock_timeout);
	arg_statement(&args, run);
	(void) db_run_args(&args);
	db_leave(&scope);
}

void
toplevel_record_failure(const TaskRun *run)
{
	DbScope scope;
	DbArgs args = db_args(&insert_failed);

	db_enter(&scope);
	db_limit_lock_wait(hotswap_lock_timeout);
	arg_statement(&args, run);
	db_arg_bool(&args, run->in_doubt);
	(void) db_run_args(&args);
	db_leave(&scope);
}

void
toplevel_forget(const TaskRun *run)
{
	DbScope scope;
	DbArgs args = db_args(&delete_rows);

	db_enter(&scope);
	db_limit_lock_wait(hotswap_lock_timeout);
	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->key.deployment);
	db_arg_uuid(&args, &run->node);
	db_arg_text(&args, run->outside->name);
	(void) db_run_args(&args);
	db_leave(&scope);
}
