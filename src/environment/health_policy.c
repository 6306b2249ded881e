/*
 * health_policy.c
 *		set_health_policy(): when a node and an environment are healthy, and who or what says so.
 *
 * Locks: tenant row, then environment row.
 */
#include "postgres.h"

#include <math.h>

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/environment_row.h"
#include "core/missing.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(hotswap_set_health_policy);

#define SILENCE_MIN (2 * USECS_PER_SEC)
#define SILENCE_MAX USECS_PER_DAY

/* hotswap.node_measure */
static const char *const measure_names[] = { "functions", "tables" };

#define POLICY_JSON                                                                       \
	"pg_catalog.jsonb_build_object('silent_after', e.silent_after, 'max_cpu', e.max_cpu," \
	" 'max_memory', e.max_memory, 'max_error_rate', e.max_error_rate, 'min_healthy',"     \
	" e.min_healthy, 'metrics_from', e.metrics_from, 'measure', e.measure)::text"

static DbStatement lock_policy =
	DB_STATEMENT("SELECT " POLICY_JSON
				 " FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.name = $2"
				 " FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

static DbStatement update_policy = DB_STATEMENT(
	"UPDATE hotswap.environment e SET silent_after = $3, max_cpu = $4, max_memory = $5, max_error_rate = $6,"
	" min_healthy = $7, metrics_from = $8::regrole, measure = $9::hotswap.node_measure"
	" WHERE e.tenant_id = $1 AND e.name = $2 RETURNING " POLICY_JSON,
	UUIDOID, TEXTOID, INTERVALOID, FLOAT8OID, FLOAT8OID, FLOAT8OID, INT4OID, OIDOID, TEXTOID);

enum
{
	ARG_ENVIRONMENT,
	ARG_SILENT,
	ARG_CPU,
	ARG_MEMORY,
	ARG_ERRORS,
	ARG_MIN_HEALTHY,
	ARG_FROM,
	ARG_MEASURE,
	ARG_TENANT
};

static void
bind_percent(DbArgs *args, FunctionCallInfo fcinfo, int n, const char *word)
{
	db_arg_datum(args, FLOAT8OID, PG_GETARG_DATUM(n), PG_ARGISNULL(n));
	if (!PG_ARGISNULL(n) && !(PG_GETARG_FLOAT8(n) >= 0 && PG_GETARG_FLOAT8(n) <= 100))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is out of range: %g", word, PG_GETARG_FLOAT8(n)),
						errdetail("It must be between 0 and 100, in percent.")));
}

static void
bind_min_healthy(DbArgs *args, FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(ARG_MIN_HEALTHY))
		db_arg_datum(args, INT4OID, (Datum) 0, true);
	else
		db_arg_int32(args, arg_int32(fcinfo, ARG_MIN_HEALTHY, "min_healthy", 1, 100));
}

static void
bind_source(DbArgs *args, FunctionCallInfo fcinfo)
{
	Oid role = PG_ARGISNULL(ARG_FROM) ? InvalidOid : PG_GETARG_OID(ARG_FROM);

	if (OidIsValid(role))
		role_require(role);
	db_arg_oid(args, role);
}

/*
 * All nodes are in one database, so its statistics say nothing of one of them: the same numbers for nodes with a
 * version and without it would pass everything.
 */
static void
bind_measure(DbArgs *args, FunctionCallInfo fcinfo)
{
	char *name = arg_text_or_null(fcinfo, ARG_MEASURE, "measure", NAME_LIMIT);
	const char *tracked = GetConfigOption("track_functions", false, false);
	bool is_functions = name && strcmp(name, measure_names[0]) == 0;

	if (name && strcmp(name, "database") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for \"measure\": \"%s\"", name),
				 errdetail("All nodes share the statistics of the database."),
				 errhint("Use \"functions\" or \"tables\", which are counted for each schema.")));
	if (name)
		(void) arg_label(fcinfo, ARG_MEASURE, "measure", measure_names, lengthof(measure_names));
	if (name && !PG_ARGISNULL(ARG_FROM))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"metrics_from\" must be null where \"measure\" is not"),
				 errdetail("What is measured here counts, and then that role's reports do not.")));
	db_arg_text(args, name);
	if (is_functions && strcmp(tracked, "none") == 0)
		ereport(NOTICE, (errmsg("functions are not counted in this session"),
						 errdetail("Setting \"track_functions\" is none."),
						 errhint("Set it to pl or all for those who call them.")));
}

static void
read_request(FunctionCallInfo fcinfo, DbArgs *args, const pg_uuid_t *tenant,
			 const char *environment)
{
	db_arg_uuid(args, tenant);
	db_arg_text(args, environment);
	db_arg_interval(args, arg_interval_between(fcinfo, ARG_SILENT, "silent_after", SILENCE_MIN,
											   SILENCE_MAX, "two seconds and a day"));
	bind_percent(args, fcinfo, ARG_CPU, "max_cpu");
	bind_percent(args, fcinfo, ARG_MEMORY, "max_memory");
	bind_percent(args, fcinfo, ARG_ERRORS, "max_error_rate");
	bind_min_healthy(args, fcinfo);
	bind_source(args, fcinfo);
	bind_measure(args, fcinfo);
}

/*
 * set_health_policy(environment text, silent_after interval, max_cpu double precision,
 *		max_memory double precision, max_error_rate double precision, min_healthy integer,
 *		metrics_from regrole, measure text, tenant uuid)
 *
 * In: silent_after two seconds to a day; the others 0 to 100, in percent; all but the environment may be NULL,
 * for which nothing is asked.  Errors: 22023, P0002 no such environment, role or tenant, 42501, YH003.  Locks the
 * tenant row and the environment; writes the environment and, when something has changed, the audit log; wakes
 * the dispatcher.
 */
Datum
hotswap_set_health_policy(PG_FUNCTION_ARGS)
{
	char *environment = arg_text(fcinfo, ARG_ENVIRONMENT, "environment", NAME_LIMIT);
	pg_uuid_t tenant = tenant_argument(fcinfo, ARG_TENANT);
	DbArgs args = db_args(&update_policy);
	char *before;
	Call c;

	read_request(fcinfo, &args, &tenant, environment);
	call_begin_change(&c, &tenant, CAPABILITY_ADMIN, "set a health policy");
	before = environment_settings(&tenant, environment, &lock_policy);
	if (environment_change(&c, &tenant, environment, before, &args, "set_health_policy"))
		wake_reload();
	call_end(&c);
	PG_RETURN_VOID();
}
