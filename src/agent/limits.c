/*
 * limits.c
 *		configure_agents(): how long an environment leaves its tasks to agents.
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
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_configure_agents);

#define ATTEMPTS_LIMIT 100

/* What it sets, as JSON: the before and after of its audit events. */
#define LIMITS_JSON                                               \
	"pg_catalog.jsonb_build_object('agent_lease', e.agent_lease," \
	" 'agent_attempts', e.agent_attempts, 'claim_within', e.claim_within)"

static DbStatement lock_environment =
	DB_STATEMENT("SELECT (" LIMITS_JSON ")::text FROM hotswap.environment e"
				 " WHERE e.tenant_id = $1 AND e.name = $2 FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

static DbStatement update_environment =
	DB_STATEMENT("UPDATE hotswap.environment e SET agent_lease = coalesce($3, e.agent_lease),"
				 " agent_attempts = coalesce($4, e.agent_attempts),"
				 " claim_within = coalesce($5, e.claim_within)"
				 " WHERE e.tenant_id = $1 AND e.name = $2 RETURNING (" LIMITS_JSON ")::text",
				 UUIDOID, TEXTOID, INTERVALOID, INT4OID, INTERVALOID);

/*
 * configure_agents(environment text, lease interval, attempts integer, claim_within interval, tenant uuid)
 *
 * In: NULL leaves what is there; lease 1 s to 1 h, attempts 1 to 100, claim_within 1 s to 1 year.  What is given out
 * already keeps its lease until that is extended.  Errors: 22023, P0002 no such environment or tenant, YH003.  Locks
 * the tenant row and the environment; writes the environment and, when something has changed, the audit log.
 */
Datum
hotswap_configure_agents(PG_FUNCTION_ARGS)
{
	char *environment = arg_text(fcinfo, 0, "environment", NAME_LIMIT);
	pg_uuid_t tenant = tenant_argument(fcinfo, 4);
	DbArgs args = db_args(&update_environment);
	char *before;
	Call c;

	db_arg_uuid(&args, &tenant);
	db_arg_text(&args, environment);
	db_arg_interval(&args, arg_interval_between(fcinfo, 1, "lease", USECS_PER_SEC, USECS_PER_HOUR,
												"a second and an hour"));
	db_arg_datum(&args, INT4OID,
				 PG_ARGISNULL(2) ?
					 (Datum) 0 :
					 Int32GetDatum(arg_int32(fcinfo, 2, "attempts", 1, ATTEMPTS_LIMIT)),
				 PG_ARGISNULL(2));
	db_arg_interval(&args, arg_interval_between(fcinfo, 3, "claim_within", USECS_PER_SEC,
												366 * USECS_PER_DAY, "a second and a year"));
	call_begin_change(&c, &tenant, CAPABILITY_ADMIN, "configure an environment");
	before = environment_settings(&tenant, environment, &lock_environment);
	(void) environment_change(&c, &tenant, environment, before, &args, "configure_agents");
	call_end(&c);
	PG_RETURN_VOID();
}
