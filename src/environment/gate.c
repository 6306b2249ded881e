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
#include "environment/function_argument.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_register_gate);
PG_FUNCTION_INFO_V1(hotswap_remove_gate);

static DbStatement insert_gate =
	DB_STATEMENT("INSERT INTO hotswap.gate (tenant_id, environment, module, function, owner)"
				 " VALUES ($1, $2, $3, $4, $5::regrole) ON CONFLICT DO NOTHING",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID, OIDOID);

static DbStatement delete_gate = DB_STATEMENT(
	"DELETE FROM hotswap.gate WHERE tenant_id = $1 AND environment = $2 AND module = $3 AND function = $4",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

/* Where it is asked, as the detail of an error. */
static char *
place_of(const Registration *g)
{
	return g->module ? psprintf("environment \"%s\" for module \"%s\"", g->place, g->module) :
					   psprintf("environment \"%s\" for every module", g->place);
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
	Registration gate = { .kind = FUNCTION_GATE,
						  .place = arg_text(fcinfo, 0, "environment", NAME_LIMIT) };

	registration_read(fcinfo, &gate);
	gate.function = arg_function(fcinfo, 1, FUNCTION_GATE, &gate.owner);
	if (!registration_write(&gate, &insert_gate, "register_gate"))
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
	Registration gate = { .kind = FUNCTION_GATE,
						  .place = arg_text(fcinfo, 0, "environment", NAME_LIMIT) };

	registration_read(fcinfo, &gate);
	gate.function = arg_function_name(fcinfo, 1);
	if (!registration_write(&gate, &delete_gate, "remove_gate"))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("gate \"%s\" does not exist", gate.function),
						errdetail("It is not asked in %s.", place_of(&gate))));
	PG_RETURN_VOID();
}
