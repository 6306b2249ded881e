/*
 * rollout.c
 *		How the nodes of an environment are taken in waves: configure_rollout().
 *
 * A rollout that has begun keeps the settings that it began with.
 *
 * Locks: tenant row, then environment row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/environment_row.h"
#include "core/tenant.h"
#include "environment/share.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_configure_rollout);

#define BAKE_MAX (30 * USECS_PER_DAY)
#define BAKE_RANGE "0 seconds and 30 days"
#define TIMEOUT_MAX (366 * USECS_PER_DAY)
#define ORDER_LIMIT 8 /* labels */

#define ROLLOUT_JSON                                                                                  \
	"pg_catalog.jsonb_build_object('first_wave', e.first_wave, 'wave_step', e.wave_step,"             \
	" 'first_bake', e.first_bake, 'bake', e.bake, 'bake_last', e.bake_last, 'pause_timeout',"         \
	" e.pause_timeout, 'health_timeout', e.health_timeout, 'canary_by', e.canary_by, 'max_parallel'," \
	" e.max_parallel, 'order_by', e.order_by)::text"

static DbStatement lock_environment =
	DB_STATEMENT("SELECT " ROLLOUT_JSON " FROM hotswap.environment e"
				 " WHERE e.tenant_id = $1 AND e.name = $2 FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

static DbStatement update_environment = DB_STATEMENT(
	"UPDATE hotswap.environment e SET first_wave = coalesce($3, e.first_wave),"
	" wave_step = coalesce($4, e.wave_step), first_bake = coalesce($5, e.first_bake),"
	" bake = coalesce($6, e.bake), bake_last = coalesce($7, e.bake_last),"
	" pause_timeout = coalesce($8, e.pause_timeout),"
	" health_timeout = coalesce($9, e.health_timeout),"
	" canary_by = coalesce($10::hotswap.canary_by, e.canary_by),"
	" max_parallel = coalesce($11, e.max_parallel), order_by = coalesce($12, e.order_by)"
	" WHERE e.tenant_id = $1 AND e.name = $2 RETURNING " ROLLOUT_JSON,
	UUIDOID, TEXTOID, TEXTOID, TEXTOID, INTERVALOID, INTERVALOID, BOOLOID, INTERVALOID, INTERVALOID,
	TEXTOID, INT4OID, TEXTARRAYOID);

/* hotswap.canary_by */
static const char *const canary_names[] = { "nodes", "callers" };

/* A number of nodes, or percent of them; NULL where it is NULL. */
static char *
read_share(FunctionCallInfo fcinfo, int n, const char *word)
{
	char *text = arg_text_or_null(fcinfo, n, word, NAME_LIMIT);
	char *share = text ? share_parse(text, 1) : NULL;

	if (text && share == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for \"%s\": \"%s\"", word, text),
				 errdetail("It must be a number of nodes up to %d, or percent like \"10%%\".",
						   NODES_LIMIT)));
	return share;
}

static void
bind_order(DbArgs *args, FunctionCallInfo fcinfo)
{
	List *labels = arg_name_list(fcinfo, 10, "order_by", NAME_LIMIT, ORDER_LIMIT);

	db_arg_datum(args, TEXTARRAYOID, PG_ARGISNULL(10) ? (Datum) 0 : db_text_array(labels),
				 PG_ARGISNULL(10));
}

/*
 * configure_rollout(environment text, first_wave text, wave_step text, first_bake interval,
 *		bake interval, bake_last boolean, pause_timeout interval, health_timeout interval,
 *		canary_by text, max_parallel integer, order_by text[], tenant uuid)
 *
 * In: NULL leaves what is there; max_parallel 0: all; order_by: up to 8 labels, none: as the strategy does.  Errors: 22023, P0002 no such environment or tenant, 42501, YH003.
 * Locks the tenant row and the environment; writes the environment and, when something has changed,
 * the audit log.
 */
Datum
hotswap_configure_rollout(PG_FUNCTION_ARGS)
{
	char *environment = arg_text(fcinfo, 0, "environment", NAME_LIMIT);
	pg_uuid_t tenant = tenant_argument(fcinfo, 11);
	Datum key[] = { UUIDPGetDatum(&tenant), CStringGetTextDatum(environment) };
	DbArgs args = db_args(&update_environment);
	char *before;
	Call c;

	db_arg_uuid(&args, &tenant);
	db_arg_text(&args, environment);
	db_arg_text(&args, read_share(fcinfo, 1, "first_wave"));
	db_arg_text(&args, read_share(fcinfo, 2, "wave_step"));
	db_arg_interval(&args, arg_interval_between(fcinfo, 3, "first_bake", 0, BAKE_MAX, BAKE_RANGE));
	db_arg_interval(&args, arg_interval_between(fcinfo, 4, "bake", 0, BAKE_MAX, BAKE_RANGE));
	db_arg_datum(&args, BOOLOID, PG_ARGISNULL(5) ? (Datum) 0 : PG_GETARG_DATUM(5), PG_ARGISNULL(5));
	db_arg_interval(&args, arg_interval_between(fcinfo, 6, "pause_timeout", USECS_PER_MINUTE,
												TIMEOUT_MAX, "60 seconds and 366 days"));
	db_arg_interval(&args, arg_interval_between(fcinfo, 7, "health_timeout", USECS_PER_SEC,
												USECS_PER_DAY, "a second and a day"));
	if (!PG_ARGISNULL(8))
		(void) arg_label(fcinfo, 8, "canary_by", canary_names, lengthof(canary_names));
	db_arg_text(&args, arg_text_or_null(fcinfo, 8, "canary_by", NAME_LIMIT));
	db_arg_datum(&args, INT4OID,
				 PG_ARGISNULL(9) ?
					 (Datum) 0 :
					 Int32GetDatum(arg_int32(fcinfo, 9, "max_parallel", 0, NODES_LIMIT)),
				 PG_ARGISNULL(9));
	bind_order(&args, fcinfo);
	call_begin_change(&c, &tenant, CAPABILITY_ADMIN, "configure an environment");
	if (db_run(&lock_environment, key, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("environment \"%s\" does not exist", environment),
						errhint("Make it with hotswap.configure_environment().")));
	before = db_text(0, 1);
	(void) environment_change(&c, &tenant, environment, before, &args, "configure_rollout");
	call_end(&c);
	PG_RETURN_VOID();
}
