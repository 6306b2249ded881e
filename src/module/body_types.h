/*
 * body_types.h
 *		A function in PL/pgSQL with types that are always there in place of those that may not be.
 */
#ifndef HOTSWAP_BODY_TYPES_H
#define HOTSWAP_BODY_TYPES_H

#include "nodes/parsenodes.h"

/* What stands for a type that is not known; the names are of one length. */
#define GUESS_SCALAR "text  "
#define GUESS_RECORD "record"

/* The body with the types of its declarations; the line of each token is the same in it. */
extern char *body_guess_types(const char *sql, const char *guess, bool *guessed);

/* The arguments and the result of a function. */
extern void body_guess_signature(CreateFunctionStmt *stmt, const char *guess, bool *guessed);

#endif /* HOTSWAP_BODY_TYPES_H */
