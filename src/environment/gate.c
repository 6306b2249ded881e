/*
 * gate.c
 *		Gates: the user's own SQL functions that are asked after each wave of a rollout.
 *
 * An executor logged in as the owner of the function asks it, and can write nothing.  A rollout asks those that there
 * were when it began.
 *
 * Locks: tenant row, then the gate's row.
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

PG_FUNCTION_INFO_V1(hotswap_register_gate);
PG_FUNCTION_INFO_V1(hotswap_remove_gate);

static DbStatement find_environment =
	DB_STATEMENT("SELECT FROM hotswap.environment WHERE tenant_id = $1 AND name = $2", UUIDOID,
				 TEXTOID);

static DbStatement insert_gate =
	DB_STATEMENT("INSERT INTO hotswap.gate (tenant_id, environment, module, function, owner)"
				 " VALUES ($1, $2, $3, $4, $5::regrole) ON CONFLICT DO NOTHING",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID, OIDOID);

static DbStatement delete_gate = DB_STATEMENT(
	"DELETE FROM hotswap.gate WHERE tenant_id = $1 AND environment = $2 AND module = $3 AND function = $4",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

/* A gate as it was given. */
typedef struct GateArguments
{
	pg_uuid_t tenant;
	char *environment;
	char *module;   /* NULL: every module */
	char *function; /* qualified name */
	Oid owner;      /* of the function; register_gate() only */
} GateArguments;

/* Fetches what both functions take, but for the function. */
static void
read_gate(FunctionCallInfo fcinfo, GateArguments *g)
{
	g->environment = arg_text(fcinfo, 0, "environment", NAME_LIMIT);
	g->module = PG_ARGISNULL(2) ? NULL : arg_module(fcinfo, 2);
	g->tenant = tenant_argument(fcinfo, 3);
	g->owner = InvalidOid;
}

/* Where it is asked, as the detail of an error. */
static char *
place_of(const GateArguments *g)
{
	return g->module ? psprintf("environment \"%s\" for module \"%s\"", g->environment, g->module) :
					   psprintf("environment \"%s\" for every module", g->environment);
}

static void
require_environment(const GateArguments *g)
{
	Datum args[] = { UUIDPGetDatum(&g->tenant), CStringGetTextDatum(g->environment) };

	if (db_run(&find_environment, args, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("environment \"%s\" does not exist", g->environment),
						errhint("Make it with hotswap.configure_environment().")));
}

/* Inserts or deletes the row with its audit event; false if none was written. */
static bool
write_gate(const GateArguments *g, DbStatement *statement, const char *event)
{
	DbArgs args = db_args(statement);
	bool written;
	Call c;

	call_begin_change(&c, &g->tenant, CAPABILITY_OPERATOR, "change gates");
	require_environment(g);
	db_arg_uuid(&args, &g->tenant);
	db_arg_text(&args, g->environment);
	db_arg_text(&args, g->module ? g->module : "");
	db_arg_text(&args, g->function);
	if (OidIsValid(g->owner))
		db_arg_datum(&args, OIDOID, ObjectIdGetDatum(g->owner), false);
	written = db_run_args(&args) > 0;
	if (written)
		audit_tenant(&c.actor, &g->tenant, event, NULL, NULL, NULL,
					 audit_detail("environment", g->environment, "module", g->module, "function",
								  g->function, NULL));
	call_end(&c);
	return written;
}

/*
 * register_gate(environment text, function regprocedure, module text, tenant uuid)
 *
 * In: module and tenant may be NULL; the module need not exist yet.  Errors: 22023, P0002 no such environment,
 * function or tenant, 42501 not the owner, 23505 already registered, YH003.  Locks the tenant row; writes the gate
 * and the audit log.
 */
Datum
hotswap_register_gate(PG_FUNCTION_ARGS)
{
	GateArguments gate;

	read_gate(fcinfo, &gate);
	gate.function = arg_function(fcinfo, 1, FUNCTION_GATE, &gate.owner);
	if (!write_gate(&gate, &insert_gate, "register_gate"))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("gate \"%s\" is already registered", gate.function),
						errdetail("It is asked in %s.", place_of(&gate))));
	PG_RETURN_VOID();
}

/*
 * remove_gate(environment text, function text, module text, tenant uuid)
 *
 * In: function is what register_gate() took, or the name that the view gates shows.  Errors: 22023, P0002 no such
 * gate, environment or tenant, 42501, YH003.  Locks the tenant row; deletes the gate and writes the audit log.
 */
Datum
hotswap_remove_gate(PG_FUNCTION_ARGS)
{
	GateArguments gate;

	read_gate(fcinfo, &gate);
	gate.function = arg_function_name(fcinfo, 1);
	if (!write_gate(&gate, &delete_gate, "remove_gate"))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("gate \"%s\" does not exist", gate.function),
						errdetail("It is not asked in %s.", place_of(&gate))));
	PG_RETURN_VOID();
}
