/*
 * kept.h
 *		Results that a process keeps until a table changes that they come from.
 *
 * For what is asked often and changes rarely:
 *
 *		static Kept hooks = KEPT(hooks_query, "hook");
 *
 *		n = kept_run(&hooks, args);
 */
#ifndef HOTSWAP_KEPT_H
#define HOTSWAP_KEPT_H

#include "base/db.h"
#include "utils/hsearch.h"

#define KEPT_TABLES 5

/* For file-scope statics only.  Each of the tables has the triggers of sql/base/kept.sql. */
typedef struct Kept
{
	DbStatement *statement;
	const char *const *tables; /* of the schema hotswap */
	int ntables;
	struct Kept *next; /* from here on private to kept.c */
	MemoryContext context;
	HTAB *results;
	Oid relids[KEPT_TABLES];
	uint64 changes; /* seen so far */
	uint64 as_of;   /* how many had been seen when the results were forgotten last */
	int16 *lengths; /* of the parameters' types */
	bool *by_value;
} Kept;

#define KEPT(statement_, ...)                                                               \
	{                                                                                       \
		.statement = &(statement_), .tables = (const char *const[]){ __VA_ARGS__ },         \
		.ntables = sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *const) \
	}

extern uint64 kept_run(Kept *kept, Datum *values);

#endif /* HOTSWAP_KEPT_H */
