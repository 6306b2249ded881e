/*
 * user_function.h
 *		The functions of users that an executor calls, logged in as their owner.
 */
#ifndef HOTSWAP_USER_FUNCTION_H
#define HOTSWAP_USER_FUNCTION_H

#include "catalog/pg_proc.h"

typedef enum UserFunction
{
	FUNCTION_HOOK, /* of the stages test and validate */
	FUNCTION_GATE  /* of waves */
} UserFunction;

/* "hook", "gate" */
extern const char *const user_function_words[];

/* What comes after the name: "(uuid)". */
extern const char *const user_function_arguments[];

/* The function that was registered under a qualified name, InvalidOid if it is gone. */
extern Oid user_function_find(UserFunction kind, const char *name);

/* Can a function be one?  It takes what it is told, and says what it is asked. */
extern bool user_function_fits(UserFunction kind, Form_pg_proc form);

#endif /* HOTSWAP_USER_FUNCTION_H */
