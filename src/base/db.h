/*
 * db.h
 *		hotswap's own SQL: run as the owner of the extension, with pinned settings, from kept plans.
 */
#ifndef HOTSWAP_DB_H
#define HOTSWAP_DB_H

#include "executor/spi.h"
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

/* What db_enter() changed and db_leave() restores. */
typedef struct DbScope
{
	Oid caller; /* effective user before */
	int sec_context;
	int guc_level;
	bool pushed_snapshot;
	MemoryContext context; /* current context before: for results that outlive the scope */
} DbScope;

extern Oid db_owner(void);
extern char *db_extension_version(bool missing_ok);
extern bool db_version_fits(const char *version, int elevel);
extern void db_enter(DbScope *scope);
extern void db_leave(DbScope *scope);
extern void db_limit_lock_wait(int ms);

extern Datum db_text_array(List *strings);
extern uint64 db_run(DbStatement *stmt, Datum *values, const bool *isnull);
extern uint64 db_run_snapshot(DbStatement *stmt, Datum *values, Snapshot snapshot);
extern Portal db_open(DbStatement *stmt, Datum *values, const bool *isnull);
extern uint64 db_fetch(Portal portal, int count);

/* Columns of the last result; rows from 0, columns from 1. */
extern Datum db_datum(uint64 row, int column, bool *isnull);
extern bool db_isnull(uint64 row, int column);
extern char *db_text(uint64 row, int column);
extern int32 db_int32(uint64 row, int column);
extern int64 db_int64(uint64 row, int column);
extern Oid db_oid(uint64 row, int column);
extern bool db_bool(uint64 row, int column);
extern TimestampTz db_time(uint64 row, int column, TimestampTz when_null);
extern pg_uuid_t db_uuid(uint64 row, int column);

#endif /* HOTSWAP_DB_H */
