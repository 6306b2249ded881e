/*
 * function_argument.h
 *		A function of users as it is registered, and removed.
 */
#ifndef HOTSWAP_FUNCTION_ARGUMENT_H
#define HOTSWAP_FUNCTION_ARGUMENT_H

#include "environment/user_function.h"
#include "fmgr.h"

/*
 * The qualified name of a function (regprocedure) that is to be registered, and its owner.  Raises 22023 where it
 * cannot be, P0002 where there is none, 42501 where the caller has not got the rights of its owner.
 */
extern char *arg_function(FunctionCallInfo fcinfo, int n, UserFunction kind, Oid *owner);

/* The same of one that is to be removed (text), which may have been dropped: then what was given. */
extern char *arg_function_name(FunctionCallInfo fcinfo, int n);

#endif /* HOTSWAP_FUNCTION_ARGUMENT_H */
