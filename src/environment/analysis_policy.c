/*
 * analysis_policy.c
 *		set_analysis_policy(): by what the waves of an environment are judged.
 *
 * A rollout that has begun keeps the policy that it began with.
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
#include "fmgr.h"

PG_FUNCTION_INFO_V1(hotswap_set_analysis_policy);

#define CONFIDENCE_LEAST 0.5
#define CONFIDENCE_MOST 0.9999
#define MORE_LEAST 1
#define MORE_MOST 10000
#define LOOKS_LIMIT 20
#define BAKE_MAX (30 * USECS_PER_DAY)

#define POLICY_JSON                                                                           \
	"pg_catalog.jsonb_build_object('confidence', e.confidence, 'more_errors', e.more_errors," \
	" 'more_latency', e.more_latency, 'more_cpu', e.more_cpu, 'more_memory', e.more_memory,"  \
	" 'looks', e.looks, 'adaptive', e.adaptive, 'min_bake', e.min_bake, 'require_metrics',"   \
	" e.require_metrics)::text"

static DbStatement lock_policy =
	DB_STATEMENT("SELECT " POLICY_JSON
				 " FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.name = $2"
				 " FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

static DbStatement update_policy = DB_STATEMENT(
	"UPDATE hotswap.environment e SET confidence = $3, more_errors = $4, more_latency = $5,"
	" more_cpu = $6, more_memory = $7, looks = $8, adaptive = $9, min_bake = $10, require_metrics = $11"
	" WHERE e.tenant_id = $1 AND e.name = $2 RETURNING " POLICY_JSON,
	UUIDOID, TEXTOID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, INT4OID, BOOLOID,
	INTERVALOID, BOOLOID);

enum
{
	ARG_ENVIRONMENT,
	ARG_CONFIDENCE,
	ARG_ERRORS,
	ARG_LATENCY,
	ARG_CPU,
	ARG_MEMORY,
	ARG_LOOKS,
	ARG_ADAPTIVE,
	ARG_MIN_BAKE,
	ARG_REQUIRE,
	ARG_TENANT
};

/* A number in a range, NaN is in none. */
static void
bind_number(DbArgs *args, FunctionCallInfo fcinfo, int n, const char *word, double least,
			double most)
{
	db_arg_datum(args, FLOAT8OID, PG_GETARG_DATUM(n), PG_ARGISNULL(n));
	if (!PG_ARGISNULL(n) && !(PG_GETARG_FLOAT8(n) >= least && PG_GETARG_FLOAT8(n) <= most))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is out of range: %g", word, PG_GETARG_FLOAT8(n)),
						errdetail("It must be between %g and %g.", least, most)));
}

static void
bind_interval(DbArgs *args, FunctionCallInfo fcinfo, int n)
{
	arg_require(fcinfo, n, "min_bake");
	db_arg_interval(args, arg_interval_between(fcinfo, n, "min_bake", 0, BAKE_MAX,
											   "0 seconds and 30 days"));
}

static void
read_request(FunctionCallInfo fcinfo, DbArgs *args, const pg_uuid_t *tenant,
			 const char *environment)
{
	db_arg_uuid(args, tenant);
	db_arg_text(args, environment);
	arg_require(fcinfo, ARG_CONFIDENCE, "confidence");
	bind_number(args, fcinfo, ARG_CONFIDENCE, "confidence", CONFIDENCE_LEAST, CONFIDENCE_MOST);
	bind_number(args, fcinfo, ARG_ERRORS, "more_errors", MORE_LEAST, MORE_MOST);
	bind_number(args, fcinfo, ARG_LATENCY, "more_latency", MORE_LEAST, MORE_MOST);
	bind_number(args, fcinfo, ARG_CPU, "more_cpu", MORE_LEAST, MORE_MOST);
	bind_number(args, fcinfo, ARG_MEMORY, "more_memory", MORE_LEAST, MORE_MOST);
	db_arg_int32(args, arg_int32(fcinfo, ARG_LOOKS, "looks", 1, LOOKS_LIMIT));
	db_arg_bool(args, arg_bool(fcinfo, ARG_ADAPTIVE, "adaptive"));
	bind_interval(args, fcinfo, ARG_MIN_BAKE);
	db_arg_bool(args, arg_bool(fcinfo, ARG_REQUIRE, "require_metrics"));
}

/*
 * set_analysis_policy(environment text, confidence double precision, more_errors double precision,
 *		more_latency double precision, more_cpu double precision, more_memory double precision,
 *		looks integer, adaptive boolean, min_bake interval, require_metrics boolean, tenant uuid)
 *
 * In: confidence 0.5 to 0.9999; more_* in percent, 1 to 10,000, NULL: not compared; looks 1 to 20; min_bake up to 30
 * days.  Errors: 22023, P0002 no such environment or tenant, 42501, YH003.  Locks the tenant row and the environment;
 * writes the environment and, when something has changed, the audit log.
 */
Datum
hotswap_set_analysis_policy(PG_FUNCTION_ARGS)
{
	char *environment = arg_text(fcinfo, ARG_ENVIRONMENT, "environment", NAME_LIMIT);
	pg_uuid_t tenant = tenant_argument(fcinfo, ARG_TENANT);
	DbArgs args = db_args(&update_policy);
	char *before;
	Call c;

	read_request(fcinfo, &args, &tenant, environment);
	call_begin_change(&c, &tenant, CAPABILITY_ADMIN, "set an analysis policy");
	before = environment_settings(&tenant, environment, &lock_policy);
	(void) environment_change(&c, &tenant, environment, before, &args, "set_analysis_policy");
	call_end(&c);
	PG_RETURN_VOID();
}
