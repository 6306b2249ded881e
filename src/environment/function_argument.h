/*
 * function_argument.h
 *		A function of users as it is registered, and removed.
 */
#ifndef HOTSWAP_FUNCTION_ARGUMENT_H
#define HOTSWAP_FUNCTION_ARGUMENT_H

#include "base/db.h"
#include "environment/user_function.h"
#include "fmgr.h"
#include "utils/uuid.h"

/* A function as it is registered or removed. */
typedef struct Registration
{
	UserFunction kind;
	pg_uuid_t tenant;
	char *place;    /* a hook's stage, a gate's environment */
	char *module;   /* NULL: every module */
	char *function; /* qualified name */
	Oid owner;      /* of the function; InvalidOid: it is removed */
} Registration;

/* Fetches the module and the tenant, of which both kinds are. */
extern void registration_read(FunctionCallInfo fcinfo, Registration *r);

/*
 * Runs the statement that inserts the row (tenant, place, module, function, owner), or deletes it (without the
 * owner), with its audit event; false if no row was written.
 */
extern bool registration_write(const Registration *r, DbStatement *statement, const char *event);

/*
 * The qualified name of a function (regprocedure) that is to be registered, and its owner.  Raises 22023 where it
 * cannot be, P0002 where there is none, 42501 where the caller has not got the rights of its owner.
 */
extern char *arg_function(FunctionCallInfo fcinfo, int n, UserFunction kind, Oid *owner);

/* The same of one that is to be removed (text), which may have been dropped: then what was given. */
extern char *arg_function_name(FunctionCallInfo fcinfo, int n);

#endif /* HOTSWAP_FUNCTION_ARGUMENT_H */
