/*
 * db.h
 *		hotswap's own SQL: run as the owner of the extension, with pinned settings, from kept plans.
 */
#ifndef HOTSWAP_DB_H
#define HOTSWAP_DB_H

#include "base/compat.h"
#include "base/time.h"
#include "executor/spi.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/* A statement with typed parameters; prepared at its first use and kept for the process. */
typedef struct DbStatement
{
	const char *sql;
	const Oid *types;
	int nargs;
	SPIPlanPtr plan;
} DbStatement;

/* For file-scope statics only: DB_STATEMENT("SELECT ... $1 ...", UUIDOID, TEXTOID) */
#define DB_STATEMENT(sql_, ...)                                             \
	{                                                                       \
		.sql = (sql_), .types = (const Oid[]){ __VA_ARGS__ },               \
		.nargs = sizeof((Oid[]){ __VA_ARGS__ }) / sizeof(Oid), .plan = NULL \
	}
#define DB_STATEMENT0(sql_)                                    \
	{                                                          \
		.sql = (sql_), .types = NULL, .nargs = 0, .plan = NULL \
	}

/*
 * The parameters of one run of a statement, given in order:
 *
 *		DbArgs args = db_args(&insert_node);
 *
 *		db_arg_uuid(&args, &tenant);
 *		db_arg_text(&args, name);
 *		db_run_args(&args);
 *
 * Each must have the type that the statement has at its place, and all must be there.  A pointer
 * that is NULL, and TIME_NULL, is SQL's NULL.
 */
#define DB_ARGS_LIMIT 32

typedef struct DbArgs
{
	DbStatement *statement;
	int count;
	Datum values[DB_ARGS_LIMIT];
	bool nulls[DB_ARGS_LIMIT];
} DbArgs;

/* What db_enter() changed and db_leave() restores. */
typedef struct DbScope
{
	Oid caller; /* effective user before */
	int sec_context;
	int guc_level;
	bool pushed_snapshot;
	MemoryContext context; /* current context before: for results that outlive the scope */
} DbScope;

pg_noreturn extern void db_refuse_missing_extension(void);
extern Oid db_owner(void);
extern char *db_extension_version(bool missing_ok);
extern bool db_version_fits(const char *version, int elevel);
extern void db_enter(DbScope *scope);
extern void db_leave(DbScope *scope);
extern void db_limit_lock_wait(int ms);

extern Datum db_text_array(List *strings);
/* Of pg_uuid_t *: the first column of so many rows. */
extern List *db_uuid_rows(uint64 count);
extern List *db_text_list(Datum array);
extern Datum db_oid_array(List *oids);
extern List *db_oid_list(Datum array);
extern Datum db_int_array(List *numbers);
extern List *db_int_list(Datum array);

extern DbArgs db_args(DbStatement *statement);
extern void db_arg_datum(DbArgs *args, Oid type, Datum value, bool isnull);
extern void db_arg_uuid(DbArgs *args, const pg_uuid_t *value);
extern void db_arg_text(DbArgs *args, const char *value);
extern void db_arg_time(DbArgs *args, TimestampTz value);
extern void db_arg_bool(DbArgs *args, bool value);
extern void db_arg_int16(DbArgs *args, int16 value);
extern void db_arg_int32(DbArgs *args, int32 value);
extern void db_arg_int64(DbArgs *args, int64 value);
extern void db_arg_oid(DbArgs *args, Oid value); /* InvalidOid is NULL */
extern void db_arg_interval(DbArgs *args, Interval *value);
extern void db_arg_jsonb(DbArgs *args, Jsonb *value);
extern void db_arg_digest(DbArgs *args, const uint8 *value);
extern uint64 db_run_args(DbArgs *args);

extern uint64 db_run(DbStatement *stmt, Datum *values, const bool *isnull);
extern uint64 db_run_newest(DbStatement *stmt, Datum *values, const bool *isnull);
extern Portal db_open(DbStatement *stmt, Datum *values, const bool *isnull);
extern void db_utility(const char *sql);
extern uint64 db_fetch(Portal portal, int count);

/* Columns of the last result; rows from 0, columns from 1. */
extern Datum db_datum(uint64 row, int column, bool *isnull);
extern bool db_isnull(uint64 row, int column);
extern char *db_text(uint64 row, int column);
extern int32 db_int32(uint64 row, int column);
extern int64 db_int64(uint64 row, int column);
extern Oid db_oid(uint64 row, int column);
extern Oid db_oid_or_none(uint64 row, int column);
extern bool db_bool(uint64 row, int column);
extern TimestampTz db_time(uint64 row, int column, TimestampTz when_null);
extern pg_uuid_t db_uuid(uint64 row, int column);
extern bool db_digest(uint64 row, int column, uint8 *digest);

#endif /* HOTSWAP_DB_H */
