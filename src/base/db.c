/*
 * db.c
 *		The one way in which hotswap runs SQL of its own.
 *
 * Between db_enter() and db_leave() the effective user is the owner of the extension (the owner of
 * the schema hotswap, which the install script made), search_path holds nothing that a caller could
 * have put there, and SPI is connected.  An error in between needs no clean-up here: the abort of
 * the (sub)transaction restores user, settings and SPI.
 *
 * Every table is reached by its key.  Plans are made once and kept, possibly while the tables are
 * still empty, so sequential scans are discouraged for them: a generic plan made then would keep
 * scanning when the tables have grown.
 *
 * Between the start of a server with a new library and ALTER EXTENSION hotswap UPDATE, and the
 * other way round, the library does not know the tables that are there: db_enter() refuses to work
 * then.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/db.h"
#include "base/digest.h"
#include "base/guc.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* ---- the extension ---- */

static uint64 changes = 1;    /* of functions, seen so far: each update makes some */
static uint64 checked_at = 0; /* how many had been seen when the version was found to fit */

/* Raises 0A000. */
void
db_refuse_missing_extension(void)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("extension \"hotswap\" is not installed in database \"%s\"",
						   get_database_name(MyDatabaseId)),
					errhint("Run CREATE EXTENSION hotswap.")));
}

/* Returns the owner of the extension; raises 0A000 where the extension is not installed. */
Oid
db_owner(void)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum("hotswap"));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		db_refuse_missing_extension();
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * In a transaction: the version of the extension in this database; NULL or 0A000 if there is none.
 */
char *
db_extension_version(bool missing_ok)
{
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	char *version = NULL;
	bool isnull;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("hotswap"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		version = TextDatumGetCString(
			heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (version == NULL && !missing_ok)
		db_refuse_missing_extension();
	return version;
}

/* Is the extension of that version the one that this library speaks?  Says so at elevel if not. */
bool
db_version_fits(const char *version, int elevel)
{
	if (strcmp(version, HOTSWAP_VERSION) == 0)
		return true;
	ereport(
		elevel,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("extension \"hotswap\" has version %s, but the library has %s", version,
				HOTSWAP_VERSION),
		 errhint(
			 "Run ALTER EXTENSION hotswap UPDATE, or restart the server with the new library.")));
	return false;
}

static void
functions_changed(Datum arg pg_attribute_unused(), int cacheid pg_attribute_unused(),
				  uint32 hash pg_attribute_unused())
{
	changes++;
}

/* Raises 55000 where the version does not fit; looks only when it may have changed. */
static void
require_version(void)
{
	static bool watching = false;
	uint64 before = changes;

	if (checked_at == changes)
		return;
	if (!watching)
		CacheRegisterSyscacheCallback(PROCOID, functions_changed, (Datum) 0);
	watching = true;
	(void) db_version_fits(db_extension_version(false), ERROR);
	checked_at = before;
}

/* ---- the scope ---- */

/* Becomes the owner, pins settings, connects SPI; raises 55000 where library and tables differ. */
void
db_enter(DbScope *scope)
{
	Oid owner = db_owner();

	require_version();
	GetUserIdAndSecContext(&scope->caller, &scope->sec_context);
	scope->context = CurrentMemoryContext;
	SetUserIdAndSecContext(owner, scope->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	scope->guc_level = NewGUCNestLevel();
	guc_push("search_path", "pg_catalog, pg_temp");
	guc_push("enable_seqscan", "off");
	guc_push("plan_cache_mode", "force_generic_plan");
	/* what it costs to discourage a scan would make every plan look worth compiling */
	guc_push("jit", "off");
	/* a worker has none; SPI wants one around the snapshots that it takes for each statement */
	scope->pushed_snapshot = !ActiveSnapshotSet();
	if (scope->pushed_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/* Inside a scope: for the rest of it, a lock is waited for this long at most. */
void
db_limit_lock_wait(int ms)
{
	guc_push("lock_timeout", psprintf("%d", ms));
}

/* Undoes db_enter(); the memory context is the one from before. */
void
db_leave(DbScope *scope)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	if (scope->pushed_snapshot)
		PopActiveSnapshot();
	AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->caller, scope->sec_context);
	MemoryContextSwitchTo(scope->context);
}

static void
prepare(DbStatement *stmt)
{
	SPIPlanPtr plan = SPI_prepare(stmt->sql, stmt->nargs, unconstify(Oid *, stmt->types));

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", stmt->sql, SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	stmt->plan = plan;
}

static const char *
null_flags(const DbStatement *stmt, const bool *isnull)
{
	char *flags;

	if (isnull == NULL)
		return NULL;
	flags = palloc(stmt->nargs + 1);
	for (int i = 0; i < stmt->nargs; i++)
		flags[i] = isnull[i] ? 'n' : ' ';
	return flags;
}

/*
 * Runs a statement inside a scope and returns the number of rows; the result is read with
 * db_datum() and its kin until the next db_run().  isnull may be NULL when no value is.
 */
uint64
db_run(DbStatement *stmt, Datum *values, const bool *isnull)
{
	int rc;

	if (stmt->plan == NULL)
		prepare(stmt);
	rc = SPI_execute_plan(stmt->plan, values, null_flags(stmt, isnull), false, 0);
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", stmt->sql, SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * The same for a query with whose answer something is allowed or refused: it sees what has been
 * committed by now, at every isolation level, or an old transaction would have what was taken away
 * since.  Row locks and writes are for db_run(): where a row was changed since the snapshot of the
 * transaction they raise 40001.
 */
uint64
db_run_newest(DbStatement *stmt, Datum *values, const bool *isnull)
{
	int rc;

	if (stmt->plan == NULL)
		prepare(stmt);
	rc = SPI_execute_snapshot(stmt->plan, values, null_flags(stmt, isnull), GetLatestSnapshot(),
							  InvalidSnapshot, true, false, 0);
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", stmt->sql, SPI_result_code_string(rc));
	return SPI_processed;
}

/* Opens a cursor for a result that may be large; it ends with the scope. */
Portal
db_open(DbStatement *stmt, Datum *values, const bool *isnull)
{
	Portal portal;

	if (stmt->plan == NULL)
		prepare(stmt);
	portal = SPI_cursor_open(NULL, stmt->plan, values, null_flags(stmt, isnull), true);
	if (portal == NULL)
		elog(ERROR, "could not open \"%s\": %s", stmt->sql, SPI_result_code_string(SPI_result));
	return portal;
}

/* Fetches the next rows of a cursor, in place of the ones before; 0 at the end, which closes it. */
uint64
db_fetch(Portal portal, int count)
{
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_fetch(portal, true, count);
	if (SPI_processed == 0)
		SPI_cursor_close(portal);
	return SPI_processed;
}

/* Runs commands of which no plan is kept. */
void
db_utility(const char *sql)
{
	int rc = SPI_execute(sql, false, 0);

	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(rc));
}

/* ---- parameters ---- */

/* A list of strings as a value of type text[]. */
Datum
db_text_array(List *strings)
{
	Datum *values = palloc(Max(list_length(strings), 1) * sizeof(Datum));
	int count = 0;
	ListCell *cell;

	foreach (cell, strings)
		values[count++] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(construct_array(values, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* An oid[] as a list. */
List *
db_oid_list(Datum array)
{
	ArrayType *oids = DatumGetArrayTypeP(array);
	List *list = NIL;
	int count = ArrayGetNItems(ARR_NDIM(oids), ARR_DIMS(oids));

	for (int i = 0; i < count; i++)
		list = lappend_oid(list, ((Oid *) ARR_DATA_PTR(oids))[i]);
	return list;
}

Datum
db_oid_array(List *oids)
{
	Datum *values = palloc(Max(list_length(oids), 1) * sizeof(Datum));
	int count = 0;
	ListCell *cell;

	foreach (cell, oids)
		values[count++] = ObjectIdGetDatum(lfirst_oid(cell));
	return PointerGetDatum(construct_array(values, count, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

/* The same of an integer[]. */
List *
db_int_list(Datum array)
{
	ArrayType *numbers = DatumGetArrayTypeP(array);
	List *list = NIL;
	int count = ArrayGetNItems(ARR_NDIM(numbers), ARR_DIMS(numbers));

	for (int i = 0; i < count; i++)
		list = lappend_int(list, ((int32 *) ARR_DATA_PTR(numbers))[i]);
	return list;
}

Datum
db_int_array(List *numbers)
{
	Datum *values = palloc(Max(list_length(numbers), 1) * sizeof(Datum));
	int count = 0;
	ListCell *cell;

	foreach (cell, numbers)
		values[count++] = Int32GetDatum(lfirst_int(cell));
	return PointerGetDatum(
		construct_array(values, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

List *
db_uuid_rows(uint64 count)
{
	List *uuids = NIL;

	for (uint64 i = 0; i < count; i++)
	{
		pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

		*uuid = db_uuid(i, 1);
		uuids = lappend(uuids, uuid);
	}
	return uuids;
}

/* The strings of a text[] without NULLs, in the current context. */
List *
db_text_list(Datum array)
{
	Datum *values;
	int count;
	List *strings = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &values, NULL,
					  &count);
	for (int i = 0; i < count; i++)
		strings = lappend(strings, TextDatumGetCString(values[i]));
	return strings;
}

DbArgs
db_args(DbStatement *statement)
{
	DbArgs args;

	Assert(statement->nargs <= DB_ARGS_LIMIT);
	args.statement = statement;
	args.count = 0;
	return args;
}

/* The next parameter. */
void
db_arg_datum(DbArgs *args, Oid type, Datum value, bool isnull)
{
	const DbStatement *stmt = args->statement;

	if (args->count >= stmt->nargs || stmt->types[args->count] != type)
		elog(ERROR, "parameter %d of \"%s\" is not of type %u", args->count + 1, stmt->sql, type);
	args->values[args->count] = value;
	args->nulls[args->count++] = isnull;
}

void
db_arg_uuid(DbArgs *args, const pg_uuid_t *value)
{
	db_arg_datum(args, UUIDOID, UUIDPGetDatum(value), value == NULL);
}

void
db_arg_text(DbArgs *args, const char *value)
{
	db_arg_datum(args, TEXTOID, value ? CStringGetTextDatum(value) : (Datum) 0, value == NULL);
}

void
db_arg_time(DbArgs *args, TimestampTz value)
{
	db_arg_datum(args, TIMESTAMPTZOID, TimestampTzGetDatum(value), value == TIME_NULL);
}

void
db_arg_bool(DbArgs *args, bool value)
{
	db_arg_datum(args, BOOLOID, BoolGetDatum(value), false);
}

void
db_arg_int16(DbArgs *args, int16 value)
{
	db_arg_datum(args, INT2OID, Int16GetDatum(value), false);
}

void
db_arg_int32(DbArgs *args, int32 value)
{
	db_arg_datum(args, INT4OID, Int32GetDatum(value), false);
}

void
db_arg_int64(DbArgs *args, int64 value)
{
	db_arg_datum(args, INT8OID, Int64GetDatum(value), false);
}

void
db_arg_oid(DbArgs *args, Oid value)
{
	db_arg_datum(args, OIDOID, ObjectIdGetDatum(value), !OidIsValid(value));
}

void
db_arg_interval(DbArgs *args, Interval *value)
{
	db_arg_datum(args, INTERVALOID, IntervalPGetDatum(value), value == NULL);
}

void
db_arg_jsonb(DbArgs *args, Jsonb *value)
{
	db_arg_datum(args, JSONBOID, JsonbPGetDatum(value), value == NULL);
}

/* A bytea of DIGEST_LENGTH bytes. */
void
db_arg_digest(DbArgs *args, const uint8 *value)
{
	db_arg_datum(args, BYTEAOID, value ? digest_datum(value) : (Datum) 0, value == NULL);
}

/* db_run() with the parameters that have been given. */
uint64
db_run_args(DbArgs *args)
{
	if (args->count != args->statement->nargs)
		elog(ERROR, "\"%s\" has got %d parameters", args->statement->sql, args->count);
	return db_run(args->statement, args->values, args->nulls);
}

/* ---- results ---- */

Datum
db_datum(uint64 row, int column, bool *isnull)
{
	Assert(row < SPI_processed);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

bool
db_isnull(uint64 row, int column)
{
	bool isnull;

	(void) db_datum(row, column, &isnull);
	return isnull;
}

/* A column as a string in the current context, NULL for NULL; enums and names too. */
char *
db_text(uint64 row, int column)
{
	bool isnull;
	Datum value = db_datum(row, column, &isnull);

	if (isnull)
		return NULL;
	if (SPI_gettypeid(SPI_tuptable->tupdesc, column) == TEXTOID)
		return TextDatumGetCString(value);
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static Datum
not_null(uint64 row, int column)
{
	bool isnull;
	Datum value = db_datum(row, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d", column);
	return value;
}

int32
db_int32(uint64 row, int column)
{
	return DatumGetInt32(not_null(row, column));
}

int64
db_int64(uint64 row, int column)
{
	return DatumGetInt64(not_null(row, column));
}

Oid
db_oid(uint64 row, int column)
{
	return DatumGetObjectId(not_null(row, column));
}

/* InvalidOid for NULL. */
Oid
db_oid_or_none(uint64 row, int column)
{
	return db_isnull(row, column) ? InvalidOid : db_oid(row, column);
}

bool
db_bool(uint64 row, int column)
{
	return DatumGetBool(not_null(row, column));
}

TimestampTz
db_time(uint64 row, int column, TimestampTz when_null)
{
	bool isnull;
	Datum value = db_datum(row, column, &isnull);

	return isnull ? when_null : DatumGetTimestampTz(value);
}

pg_uuid_t
db_uuid(uint64 row, int column)
{
	return *DatumGetUUIDP(not_null(row, column));
}

/*
 * A column of type bytea that is a digest; false, and zeros, if it is NULL or has another length.
 */
bool
db_digest(uint64 row, int column, uint8 *digest)
{
	bool isnull;
	Datum value = db_datum(row, column, &isnull);

	if (!isnull)
		return digest_read(value, digest);
	memset(digest, 0, DIGEST_LENGTH);
	return false;
}
