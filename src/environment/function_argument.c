/*
 * function_argument.c
 *		A function of users as it is registered, and removed.
 *
 * Whoever registers one has the rights of its owner, whom an executor will be logged in as.
 *
 * Locks: tenant row, then the row of the function.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/args.h"
#include "base/compat.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/environment_row.h"
#include "core/tenant.h"
#include "environment/function_argument.h"
#include "environment/task_role.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define FUNCTION_LIMIT 300 /* characters of a qualified name, and what is around it */

/* What each kind has to be. */
static const char *const forms[] = {
	"A hook is a function that takes one uuid, the deployment, and returns boolean or void.",
	"A gate is a function that takes a uuid, the deployment, and two integers, the stage and the wave, and returns hotswap.gate_result."
};

/* What is done to them, and where they stand. */
static const char *const actions[] = { "change hooks", "change gates" };
static const char *const places[] = { "stage", "environment" };

static char *
qualified_name(Form_pg_proc form)
{
	return quote_qualified_identifier(get_namespace_name(form->pronamespace),
									  NameStr(form->proname));
}

static void
check_form(UserFunction kind, const char *name, Form_pg_proc form)
{
	bool fits = user_function_fits(kind, form);

	if (!fits || isAnyTempNamespace(form->pronamespace))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("function \"%s\" cannot be a %s", name, user_function_words[kind]),
						errdetail_internal("%s", fits ? "It is temporary." : forms[kind])));
}

/* The caller must have the owner's rights, and an executor must be able to log in as the owner. */
static void
check_owner(UserFunction kind, const char *name, Oid owner)
{
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of function \"%s\"", name),
				 errdetail("It runs as its owner, role \"%s\".", GetUserNameFromId(owner, false))));
	role_require_login(owner, name, user_function_words[kind]);
}

char *
arg_function(FunctionCallInfo fcinfo, int n, UserFunction kind, Oid *owner)
{
	Oid function = arg_oid(fcinfo, n, "function");
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	char *name;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("function with OID %u does not exist", function)));
	form = (Form_pg_proc) GETSTRUCT(tuple);
	name = qualified_name(form);
	check_form(kind, name, form);
	*owner = form->proowner;
	check_owner(kind, name, *owner);
	ReleaseSysCache(tuple);
	return name;
}

char *
arg_function_name(FunctionCallInfo fcinfo, int n)
{
	char *name = arg_text(fcinfo, n, "function", FUNCTION_LIMIT);
	LOCAL_FCINFO(call, 1);
	HeapTuple tuple;

	if (strchr(name, '(') == NULL)
		return name;
	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = CStringGetTextDatum(name);
	call->args[0].isnull = false;
	tuple = SearchSysCache1(PROCOID, to_regprocedure(call));
	if (call->isnull || !HeapTupleIsValid(tuple))
		return name;
	name = qualified_name((Form_pg_proc) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	return name;
}

void
registration_read(FunctionCallInfo fcinfo, Registration *r)
{
	r->module = PG_ARGISNULL(2) ? NULL : arg_module(fcinfo, 2);
	r->tenant = tenant_argument(fcinfo, 3);
}

bool
registration_write(const Registration *r, DbStatement *statement, const char *event)
{
	DbArgs args = db_args(statement);
	bool written;
	Call c;

	call_begin_change(&c, &r->tenant, CAPABILITY_OPERATOR, actions[r->kind]);
	if (r->kind == FUNCTION_GATE)
		environment_require(&r->tenant, r->place);
	db_arg_uuid(&args, &r->tenant);
	db_arg_text(&args, r->place);
	db_arg_text(&args, r->module ? r->module : "");
	db_arg_text(&args, r->function);
	if (OidIsValid(r->owner))
		db_arg_datum(&args, OIDOID, ObjectIdGetDatum(r->owner), false);
	written = db_run_args(&args) > 0;
	if (written)
		audit_tenant(&c.actor, &r->tenant, event, NULL, NULL, NULL,
					 audit_detail(places[r->kind], r->place, "module", r->module, "function",
								  r->function, NULL));
	call_end(&c);
	return written;
}
