/*
 * script.h
 *		The users' scripts: parsing them, and what they may not contain.
 */
#ifndef HOTSWAP_SCRIPT_H
#define HOTSWAP_SCRIPT_H

#include "fmgr.h"
#include "nodes/parsenodes.h"
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

/* A script that has been read; of the offsets in it each is the same in both texts. */
typedef struct ParsedScript
{
	const char *label;
	const char *sql;
	const char *text; /* with blanks in place of the data of COPY */
	List *data;       /* of CopyData */
	List *statements; /* of RawStmt */
} ParsedScript;

/* Reads a script, in the current context; 42601 with the position on an error. */
extern ParsedScript *script_parse(const char *label, const char *sql);

/* The same of a verify script, which may begin with BEGIN and end with ROLLBACK: without these. */
extern ParsedScript *script_parse_verify(const char *sql);

/* Does it copy from data that stand in the script? */
extern bool script_copies_data(const Node *stmt);

/* Does it detach a partition without a transaction around it? */
extern bool script_detaches_concurrently(const AlterTableStmt *stmt);

/* Why a statement is refused. */
typedef struct Refusal
{
	const char *what;
	const char *hint;
} Refusal;

/* What is wrong with a statement inside a transaction: its "what" is NULL if nothing is. */
extern Refusal script_refusal(const ParsedScript *script, const RawStmt *raw);

/* Raises 0A000 with the place of a statement. */
extern void script_refuse(const ParsedScript *script, const RawStmt *raw, const Refusal *refusal);

/* Refuses (0A000) what cannot run inside the transaction of a swap. */
extern void script_check(const ParsedScript *script);

/* The byte of a character from 1; the line from 1 of a byte, and where that begins. */
extern int script_offset(const char *sql, int position);
extern int script_line(const char *sql, int offset, int *start);

/* The byte at which the statement with a RawStmt's location begins. */
extern int script_statement_offset(const char *sql, int offset);

#endif /* HOTSWAP_SCRIPT_H */
