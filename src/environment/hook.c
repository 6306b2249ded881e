/*
 * hook.c
 *		Hooks: the user's own SQL functions in the stages test and validate.
 *
 * An executor logged in as the owner of the function runs it.
 *
 * Locks: tenant row, then the hook's row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "environment/function_argument.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_register_hook);
PG_FUNCTION_INFO_V1(hotswap_remove_hook);

static DbStatement insert_hook =
	DB_STATEMENT("INSERT INTO hotswap.hook (tenant_id, stage, module, function, owner)"
				 " VALUES ($1, $2, $3, $4, $5::regrole) ON CONFLICT DO NOTHING",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID, OIDOID);

static DbStatement delete_hook = DB_STATEMENT(
	"DELETE FROM hotswap.hook WHERE tenant_id = $1 AND stage = $2 AND module = $3 AND function = $4",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

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
	Registration hook = { .kind = FUNCTION_HOOK, .place = arg_stage(fcinfo, 0) };

	registration_read(fcinfo, &hook);
	hook.function = arg_function(fcinfo, 1, FUNCTION_HOOK, &hook.owner);
	if (!registration_write(&hook, &insert_hook, "register_hook"))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("hook \"%s\" is already registered", hook.function),
						hook.module ? errdetail("It is called in stage \"%s\" of module \"%s\".",
												hook.place, hook.module) :
									  errdetail("It is called in stage \"%s\" of every module.",
												hook.place)));
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
	Registration hook = { .kind = FUNCTION_HOOK, .place = arg_stage(fcinfo, 0) };

	registration_read(fcinfo, &hook);
	hook.function = arg_function_name(fcinfo, 1);
	if (!registration_write(&hook, &delete_hook, "remove_hook"))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("hook \"%s\" does not exist", hook.function),
				 hook.module ? errdetail("It is not registered for stage \"%s\" of module \"%s\".",
										 hook.place, hook.module) :
							   errdetail("It is not registered for stage \"%s\" of every module.",
										 hook.place)));
	PG_RETURN_VOID();
}
