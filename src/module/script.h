/*
 * script.h
 *		The users' scripts: parsing them, and what they may not contain.
 */
#ifndef HOTSWAP_SCRIPT_H
#define HOTSWAP_SCRIPT_H

#include "fmgr.h"
#include "nodes/pg_list.h"

/* What a version consists of, in the order in which it is stored. */
enum
{
	SCRIPT_DEPLOY,
	SCRIPT_VERIFY,
	SCRIPT_REVERT,
	SCRIPT_INSTALL,
	SCRIPT_COUNT
};

extern const char *const script_labels[];

/* A script as it is stored, signed and run. */
extern char *script_argument(FunctionCallInfo fcinfo, int n, const char *word, bool required);

/* Returns the RawStmts of a script, in the current context; 42601 with the position on an error. */
extern List *script_parse(const char *label, const char *sql);

/* The same of a verify script, which may begin with BEGIN and end with ROLLBACK: without these. */
extern List *script_parse_verify(const char *sql);

/* Refuses (0A000) what cannot run inside the transaction of a swap. */
extern void script_check(const char *label, const char *sql, List *statements);

/* The byte at which the statement with a RawStmt's location begins. */
extern int script_statement_offset(const char *sql, int offset);

#endif /* HOTSWAP_SCRIPT_H */
