/*
 * toplevel.h
 *		Statements that run outside of a transaction: which there are, and what is known of them afterwards.
 */
#ifndef HOTSWAP_TOPLEVEL_H
#define HOTSWAP_TOPLEVEL_H

#include "module/script.h"
#include "nodes/parsenodes.h"

/* What a statement has done when nobody could record that it ended. */
typedef enum StatementKind
{
	STATEMENT_PLAIN,        /* nothing: it is one transaction with its record */
	STATEMENT_CREATE_INDEX, /* CONCURRENTLY: the index is valid, invalid or not there */
	STATEMENT_DROP_INDEX,   /* CONCURRENTLY: the index is there or not */
	STATEMENT_DETACH,       /* CONCURRENTLY: the partition is, is half, or is not one any more */
	STATEMENT_REINDEX,      /* CONCURRENTLY: what it leaves is dropped, and it is run again */
	STATEMENT_REPEATABLE,   /* whatever it has done, it is run again */
	STATEMENT_NAMED,        /* a database or tablespace, which is there or not */
	STATEMENT_UNKNOWN       /* it may have committed a part */
} StatementKind;

extern StatementKind toplevel_kind(const RawStmt *raw);

/* Does it wait for everybody who may still see what was before? */
extern bool toplevel_waits_for_snapshots(const RawStmt *raw);

/* Does it change a setting of the session, for the statements behind it? */
extern bool toplevel_is_setting(const RawStmt *raw);

/* Is it that kind of transaction control? */
extern bool toplevel_begins_block(const RawStmt *raw);
extern bool toplevel_ends_block(const RawStmt *raw);

/* Refuses (0A000) what cannot run so, or could not go on after a failure. */
extern void toplevel_check(const ParsedScript *script);

#endif /* HOTSWAP_TOPLEVEL_H */
