/*
 * parse.h
 *		Reading SQL text with the server's own scanner and grammar, in one way only.
 */
#ifndef HOTSWAP_PARSE_H
#define HOTSWAP_PARSE_H

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

extern List *parse_in_one_way(List *(*read)(const char *), const char *sql);
extern List *parse_statements(const char *sql);
extern List *parse_tokens(const char *sql);

/* Of a text that may make no sense: NIL then, and the error, unless that is NULL. */
extern List *parse_quietly(List *(*read)(const char *), const char *sql, ErrorData **error);

#define PARSE_WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Does a text begin with one of these words?  Is it this word, or this punctuation? */
extern bool parse_is_word(const char *p, const char *const *words);
extern bool parse_is_token(const char *token, const char *expected);

/* The setting that would have the server read a script in another way: fixed while one runs. */
extern void parse_fix_setting(void);
extern void parse_require_setting(const char *label);

/* Is it one of the settings that decide how text is read?  And does a SET give it another value? */
extern bool parse_is_setting(const char *name);
extern bool parse_is_unfixed(const VariableSetStmt *set);

#endif /* HOTSWAP_PARSE_H */
