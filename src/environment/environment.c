/*
 * environment.c
 *		Environments: where modules are deployed to, and in which order.
 *
 * Deployments that have started keep the path they had; the dispatcher loads everything anew when a
 * change commits.
 *
 * Locks: tenant row, then environment row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/tenant.h"
#include "environment/share.h"
#include "fmgr.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_configure_environment);

#define RANK_LIMIT 1000
#define WITHIN_MAX (366 * USECS_PER_DAY)
#define MAX_LOCK_LEAST (10 * (int64) 1000)
#define MAX_LOCK_MOST USECS_PER_HOUR

/* hotswap.revert_policy */
static const char *const revert_policy_names[] = { "no", "approval", "operator", "anyone" };

/* What an environment is made of, as JSON: the before and after of its audit events. */
#define ENVIRONMENT_JSON                                                                    \
	"pg_catalog.jsonb_build_object('name', e.name, 'rank', e.rank, 'strategy', e.strategy," \
	" 'revert_on_failure', e.revert_on_failure, 'require_signature', e.require_signature,"  \
	" 'allow_revert', e.allow_revert, 'may_skip_environments', e.may_skip_environments,"    \
	" 'rollback_needs_approval', e.rollback_needs_approval,"                                \
	" 'rollback_within', e.rollback_within, 'max_failed', e.max_failed,"                    \
	" 'bring_up_needs_approval', e.bring_up_needs_approval,"                                \
	" 'freeze_stops_rollback', e.freeze_stops_rollback,"                                    \
	" 'rehearse_without_approval', e.rehearse_without_approval,"                            \
	" 'require_rehearsal', e.require_rehearsal, 'rehearse_max_lock', e.rehearse_max_lock)"

static DbStatement check_strategy =
	DB_STATEMENT("SELECT $1 = ANY (enum_range(NULL::hotswap.strategy)::text[]),"
				 " array_to_string(enum_range(NULL::hotswap.strategy), ', ')",
				 TEXTOID);

static DbStatement lock_environment =
	DB_STATEMENT("SELECT (" ENVIRONMENT_JSON ")::text FROM hotswap.environment e"
				 " WHERE e.tenant_id = $1 AND e.name = $2 FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

static DbStatement find_rank = DB_STATEMENT(
	"SELECT name FROM hotswap.environment WHERE tenant_id = $1 AND rank = $3 AND name <> $2",
	UUIDOID, TEXTOID, INT4OID);

static DbStatement insert_environment = DB_STATEMENT(
	"INSERT INTO hotswap.environment AS e (tenant_id, name, rank, strategy, revert_on_failure,"
	" require_signature, allow_revert, may_skip_environments, rollback_needs_approval, rollback_within,"
	" max_failed, bring_up_needs_approval, freeze_stops_rollback, rehearse_without_approval,"
	" require_rehearsal, rehearse_max_lock)"
	" VALUES ($1, $2, $3, coalesce($4::hotswap.strategy, 'auto'), coalesce($5, true),"
	" coalesce($6, false), $7::hotswap.revert_policy, coalesce($8, false), coalesce($9, false),"
	" coalesce($10, '7 d'), nullif($11, '0'), coalesce($12, false), coalesce($13, false),"
	" coalesce($14, false), coalesce($15, false), coalesce($16, '500 ms')) RETURNING (" ENVIRONMENT_JSON
	")::text",
	UUIDOID, TEXTOID, INT4OID, TEXTOID, BOOLOID, BOOLOID, TEXTOID, BOOLOID, BOOLOID, INTERVALOID,
	TEXTOID, BOOLOID, BOOLOID, BOOLOID, BOOLOID, INTERVALOID);

static DbStatement update_environment =
	DB_STATEMENT("UPDATE hotswap.environment e SET rank = coalesce($3, e.rank),"
				 " strategy = coalesce($4::hotswap.strategy, e.strategy),"
				 " revert_on_failure = coalesce($5, e.revert_on_failure),"
				 " require_signature = coalesce($6, e.require_signature),"
				 " allow_revert = coalesce($7::hotswap.revert_policy, e.allow_revert),"
				 " may_skip_environments = coalesce($8, e.may_skip_environments),"
				 " rollback_needs_approval = coalesce($9, e.rollback_needs_approval),"
				 " rollback_within = coalesce($10, e.rollback_within),"
				 " max_failed = nullif(coalesce($11, e.max_failed), '0'),"
				 " bring_up_needs_approval = coalesce($12, e.bring_up_needs_approval),"
				 " freeze_stops_rollback = coalesce($13, e.freeze_stops_rollback),"
				 " rehearse_without_approval = coalesce($14, e.rehearse_without_approval),"
				 " require_rehearsal = coalesce($15, e.require_rehearsal),"
				 " rehearse_max_lock = coalesce($16, e.rehearse_max_lock)"
				 " WHERE e.tenant_id = $1 AND e.name = $2 RETURNING (" ENVIRONMENT_JSON ")::text",
				 UUIDOID, TEXTOID, INT4OID, TEXTOID, BOOLOID, BOOLOID, TEXTOID, BOOLOID, BOOLOID,
				 INTERVALOID, TEXTOID, BOOLOID, BOOLOID, BOOLOID, BOOLOID, INTERVALOID);

enum
{
	ARG_TENANT,
	ARG_NAME,
	ARG_RANK,
	ARG_STRATEGY,
	ARG_REVERT,
	ARG_SIGNATURE,
	ARG_ALLOW_REVERT,
	ARG_MAY_SKIP,
	ARG_ROLLBACK_APPROVAL,
	ARG_ROLLBACK_WITHIN,
	ARG_MAX_FAILED,
	ARG_BRING_UP_APPROVAL,
	ARG_FREEZE_ROLLBACK,
	ARG_REHEARSE_FREELY,
	ARG_REQUIRE_REHEARSAL,
	ARG_MAX_LOCK,
	ARG_COUNT
};

/* What was asked for: the parameters of insert_environment and update_environment. */
typedef struct Request
{
	pg_uuid_t tenant;
	char *name;
	char *strategy; /* or NULL */
	Datum args[ARG_COUNT];
	bool nulls[ARG_COUNT];
} Request;

/* An argument that is one of these labels, as text; NULL leaves what is there. */
static void
read_label(FunctionCallInfo fcinfo, Request *r, int arg, const char *word, const char *const *known,
		   int count)
{
	int n = arg - 1; /* the tenant comes last */

	r->nulls[arg] = PG_ARGISNULL(n);
	if (!r->nulls[arg])
		r->args[arg] = CStringGetTextDatum(known[arg_label(fcinfo, n, word, known, count)]);
}

/* An interval between two others, in us. */
static void
read_interval(FunctionCallInfo fcinfo, Request *r, int arg, const char *word, int64 least,
			  int64 most, const char *range)
{
	r->nulls[arg] = PG_ARGISNULL(arg - 1);
	r->args[arg] =
		IntervalPGetDatum(arg_interval_between(fcinfo, arg - 1, word, least, most, range));
}

/*
 * How many nodes may stay behind: a number, or percent.  It is stored in one form; "off" is 0, which takes it
 * away.
 */
static void
read_max_failed(FunctionCallInfo fcinfo, Request *r)
{
	char *text = arg_text_or_null(fcinfo, ARG_MAX_FAILED - 1, "max_failed", NAME_LIMIT);
	char *share;

	r->nulls[ARG_MAX_FAILED] = text == NULL;
	if (text == NULL)
		return;
	share = strcmp(text, "off") == 0 ? "0" : share_parse(text, 0);
	if (share == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for \"max_failed\": \"%s\"", text),
						errdetail("It must be a number of nodes up to %d, percent like \"5%%\", or"
								  " \"off\".",
								  NODES_LIMIT)));
	r->args[ARG_MAX_FAILED] = CStringGetTextDatum(strcmp(share, "0%") == 0 ? "0" : share);
}

static void
read_bool(FunctionCallInfo fcinfo, Request *r, int arg)
{
	r->nulls[arg] = PG_ARGISNULL(arg - 1);
	if (!r->nulls[arg])
		r->args[arg] = PG_GETARG_DATUM(arg - 1);
}

static void
environment_read_request(FunctionCallInfo fcinfo, Request *r)
{
	memset(r, 0, sizeof(Request));
	r->name = arg_text(fcinfo, 0, "name", NAME_LIMIT);
	r->nulls[ARG_RANK] = PG_ARGISNULL(1);
	if (!r->nulls[ARG_RANK])
		r->args[ARG_RANK] = Int32GetDatum(arg_int32(fcinfo, 1, "rank", 1, RANK_LIMIT));
	r->strategy = arg_text_or_null(fcinfo, 2, "strategy", NAME_LIMIT);
	r->nulls[ARG_STRATEGY] = r->strategy == NULL;
	if (r->strategy)
		r->args[ARG_STRATEGY] = CStringGetTextDatum(r->strategy);
	read_bool(fcinfo, r, ARG_REVERT);
	read_bool(fcinfo, r, ARG_SIGNATURE);
	read_label(fcinfo, r, ARG_ALLOW_REVERT, "allow_revert", revert_policy_names,
			   lengthof(revert_policy_names));
	read_bool(fcinfo, r, ARG_MAY_SKIP);
	read_bool(fcinfo, r, ARG_ROLLBACK_APPROVAL);
	/* how long a rollback goes without approval: it may be nothing */
	read_interval(fcinfo, r, ARG_ROLLBACK_WITHIN, "rollback_within", 0, WITHIN_MAX,
				  "nothing and a year");
	read_max_failed(fcinfo, r);
	read_bool(fcinfo, r, ARG_BRING_UP_APPROVAL);
	read_bool(fcinfo, r, ARG_FREEZE_ROLLBACK);
	read_bool(fcinfo, r, ARG_REHEARSE_FREELY);
	read_bool(fcinfo, r, ARG_REQUIRE_REHEARSAL);
	read_interval(fcinfo, r, ARG_MAX_LOCK, "rehearse_max_lock", MAX_LOCK_LEAST, MAX_LOCK_MOST,
				  "10 ms and an hour");
	r->tenant = tenant_argument(fcinfo, ARG_COUNT - 1);
	r->args[ARG_TENANT] = UUIDPGetDatum(&r->tenant);
	r->args[ARG_NAME] = CStringGetTextDatum(r->name);
}

static void
require_strategy(const Request *r)
{
	Datum args[] = { r->args[ARG_STRATEGY] };

	if (r->strategy == NULL)
		return;
	(void) db_run(&check_strategy, args, NULL);
	if (!db_bool(0, 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for \"strategy\": \"%s\"", r->strategy),
						errdetail("It must be one of %s.", db_text(0, 2))));
}

static void
require_free_rank(Request *r)
{
	if (r->nulls[ARG_RANK] || db_run(&find_rank, r->args, NULL) == 0)
		return;
	ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
					errmsg("rank %d is taken", DatumGetInt32(r->args[ARG_RANK])),
					errdetail("Environment \"%s\" has it.", db_text(0, 1)),
					errhint("Choose another rank, or give that environment another one first.")));
}

static void
require_rank(const Request *r)
{
	if (r->nulls[ARG_RANK])
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("environment \"%s\" does not exist", r->name),
						errhint("Give a rank to make it.")));
}

/* Makes or changes the row; returns what it is now, with *before what it was, or NULL. */
static char *
write_environment(Request *r, char **before)
{
	*before = db_run(&lock_environment, r->args, NULL) > 0 ? db_text(0, 1) : NULL;
	if (*before == NULL)
		require_rank(r);
	require_free_rank(r);
	if (db_run(*before ? &update_environment : &insert_environment, r->args, r->nulls) != 1)
		elog(ERROR, "environment \"%s\" was not written", r->name);
	return db_text(0, 1);
}

/*
 * configure_environment(name text, rank integer, strategy text, revert_on_failure boolean,
 *		require_signature boolean, allow_revert text, may_skip_environments boolean,
 *		rollback_needs_approval boolean, rollback_within interval, max_failed text,
 *		bring_up_needs_approval boolean, freeze_stops_rollback boolean,
 *		rehearse_without_approval boolean, require_rehearsal boolean, rehearse_max_lock interval,
 *		tenant uuid)
 *
 * In: NULL leaves what is there.  Errors: 22023, P0002 no such environment and no rank, or no such
 * tenant, 23505 rank taken, YH003.  Locks the tenant row and the environment; writes the
 * environment and, when something has changed, the audit log; wakes the dispatcher.
 */
Datum
hotswap_configure_environment(PG_FUNCTION_ARGS)
{
	Request request;
	Call c;
	char *before;
	char *after;

	args_require_count(fcinfo, ARG_COUNT);
	environment_read_request(fcinfo, &request);
	call_begin_change(&c, &request.tenant, CAPABILITY_ADMIN, "configure an environment");
	require_strategy(&request);
	after = write_environment(&request, &before);
	if (before == NULL || strcmp(before, after) != 0)
	{
		audit_tenant(&c.actor, &request.tenant, "configure_environment", before, after, NULL,
					 audit_detail("environment", request.name, NULL));
		wake_reload();
	}
	call_end(&c);
	PG_RETURN_VOID();
}
