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
#include "core/call.h"
#include "core/tenant.h"
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

	read_hook(fcinfo, &hook);
	hook.function = arg_function(fcinfo, 1, FUNCTION_HOOK, &hook.owner);
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
	hook.function = arg_function_name(fcinfo, 1);
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
