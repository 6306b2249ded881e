/*
 * toplevel_rest.h
 *		What a statement with CONCURRENTLY leaves when it does not come to its end.
 */
#ifndef HOTSWAP_TOPLEVEL_REST_H
#define HOTSWAP_TOPLEVEL_REST_H

#include "nodes/parsenodes.h"

/* All in a transaction. */

/* The indexes of the table that a statement is about, as Oid. */
extern List *toplevel_indexes(const RawStmt *raw);

/* Has a statement that nobody has seen end done its work? */
extern bool toplevel_is_done(const RawStmt *raw, List *before);

/* What has to run before the statement can run again: statements, as char *. */
extern List *toplevel_repairs(const RawStmt *raw, List *before);

/* What runs in place of the statement; NULL: itself. */
extern char *toplevel_rest_of(const RawStmt *raw);

/* Raises 55000 if the index that a statement was to make cannot be used. */
extern void toplevel_require_valid(const RawStmt *raw);

#endif /* HOTSWAP_TOPLEVEL_REST_H */
