/*
 * hook.c
 *		Hooks: the user's own SQL functions in the stages test and validate.
 *
 * A hook is kept under the qualified name of its function, so that replacing the function, or
 * dropping and making it again, keeps the hook.  An executor logged in as the owner runs it.
 *
 * Locks: tenant row, then the hook's row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/db.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/tenant.h"
#include "environment/task_role.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define FUNCTION_LIMIT 300 /* characters of a qualified name, and what is around it */

PG_FUNCTION_INFO_V1(hotswap_register_hook);
PG_FUNCTION_INFO_V1(hotswap_remove_hook);

static DbStatement insert_hook =
	DB_STATEMENT("INSERT INTO hotswap.hook (tenant_id, stage, module, function, owner)"
				 " VALUES ($1, $2, $3, $4, $5::regrole) ON CONFLICT DO NOTHING",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID, OIDOID);

static DbStatement delete_hook = DB_STATEMENT(
	"DELETE FROM hotswap.hook WHERE tenant_id = $1 AND stage = $2 AND module = $3 AND function = $4",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

/* A hook as it was given. */
typedef struct Hook
{
	pg_uuid_t tenant;
	char *stage;
	char *module;   /* NULL: every module */
	char *function; /* qualified name */
	Oid owner;      /* of the function; register_hook() only */
} Hook;

static char *
arg_stage(FunctionCallInfo fcinfo, int n)
{
	char *stage = arg_text(fcinfo, n, "stage", NAME_LIMIT);

	if (strcmp(stage, "test") != 0 && strcmp(stage, "validate") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("stage \"%s\" cannot have hooks", stage),
						errdetail("It must be \"test\" or \"validate\".")));
	return stage;
}

/* Fetches what both functions take, but for the function. */
static void
read_hook(FunctionCallInfo fcinfo, Hook *h)
{
	h->stage = arg_stage(fcinfo, 0);
	h->module = PG_ARGISNULL(2) ? NULL : arg_module(fcinfo, 2);
	h->tenant = tenant_argument(fcinfo, 3);
}

static char *
qualified_name(Form_pg_proc form)
{
	return quote_qualified_identifier(get_namespace_name(form->pronamespace),
									  NameStr(form->proname));
}

/* The function of register_hook(), which must exist.  The caller releases the tuple. */
static HeapTuple
read_function(FunctionCallInfo fcinfo, Hook *h)
{
	Oid function = arg_oid(fcinfo, 1, "function");
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("function with OID %u does not exist", function)));
	h->function = qualified_name((Form_pg_proc) GETSTRUCT(tuple));
	return tuple;
}

/* The function of remove_hook(), which may have been dropped: then it is known by its name only. */
static char *
read_function_name(FunctionCallInfo fcinfo)
{
	char *name = arg_text(fcinfo, 1, "function", FUNCTION_LIMIT);
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

/* A hook takes the deployment's id and returns boolean or nothing. */
static void
check_signature(const Hook *h, Form_pg_proc form)
{
	if (!hook_fits(form))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("function \"%s\" cannot be a hook", h->function),
			 errdetail(
				 "A hook is a function that takes one uuid, the deployment, and returns boolean or void.")));
	if (isAnyTempNamespace(form->pronamespace))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("function \"%s\" cannot be a hook", h->function),
						errdetail("It is temporary.")));
}

/* The caller must have the owner's rights, and an executor must be able to log in as the owner. */
static void
check_owner(const Hook *h, Oid owner)
{
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of function \"%s\"", h->function),
				 errdetail("It runs as its owner, role \"%s\".", GetUserNameFromId(owner, false))));
	role_require_login(owner, h->function);
}

/* Runs insert_hook or delete_hook with its audit event; false if no row was written. */
static bool
write_hook(const Hook *h, DbStatement *stmt, const char *event)
{
	Call c;
	bool written;
	Datum args[] = { UUIDPGetDatum(&h->tenant), CStringGetTextDatum(h->stage),
					 CStringGetTextDatum(h->module ? h->module : ""),
					 CStringGetTextDatum(h->function), ObjectIdGetDatum(h->owner) };

	call_begin_change(&c, &h->tenant, CAPABILITY_OPERATOR, "change hooks");
	written = db_run(stmt, args, NULL) > 0;
	if (written)
		audit_tenant(&c.actor, &h->tenant, event, NULL, NULL, NULL,
					 audit_detail("stage", h->stage, "module", h->module, "function", h->function,
								  NULL));
	call_end(&c);
	return written;
}

/*
 * register_hook(stage text, function regprocedure, module text, tenant uuid)
 *
 * In: module and tenant may be NULL; the module need not exist yet.  Errors: 22023, P0002 no such
 * function or tenant, 42501 not the owner, 23505 already registered, YH003.  Locks the tenant row;
 * writes the hook and the audit log.
 */
Datum
hotswap_register_hook(PG_FUNCTION_ARGS)
{
	Hook hook;
	HeapTuple tuple;
	Form_pg_proc form;

	read_hook(fcinfo, &hook);
	tuple = read_function(fcinfo, &hook);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	check_signature(&hook, form);
	hook.owner = form->proowner;
	check_owner(&hook, hook.owner);
	ReleaseSysCache(tuple);
	if (!write_hook(&hook, &insert_hook, "register_hook"))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("hook \"%s\" is already registered", hook.function),
						hook.module ? errdetail("It is called in stage \"%s\" of module \"%s\".",
												hook.stage, hook.module) :
									  errdetail("It is called in stage \"%s\" of every module.",
												hook.stage)));
	PG_RETURN_VOID();
}

/*
 * remove_hook(stage text, function text, module text, tenant uuid)
 *
 * In: function is what register_hook() took, or the name that the view hooks shows.  Errors: 22023,
 * P0002 no such hook or tenant, YH003.  Locks
 * the tenant row; deletes the hook and writes the audit log.
 */
Datum
hotswap_remove_hook(PG_FUNCTION_ARGS)
{
	Hook hook;

	read_hook(fcinfo, &hook);
	hook.function = read_function_name(fcinfo);
	if (!write_hook(&hook, &delete_hook, "remove_hook"))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("hook \"%s\" does not exist", hook.function),
				 hook.module ? errdetail("It is not registered for stage \"%s\" of module \"%s\".",
										 hook.stage, hook.module) :
							   errdetail("It is not registered for stage \"%s\" of every module.",
										 hook.stage)));
	PG_RETURN_VOID();
}
