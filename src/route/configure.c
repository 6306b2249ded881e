/*
 * configure.c
 *		Which modules are routed, and how long their earlier versions stay installed.
 *
 * A module that is routed is so from its next deployment on, node by node.
 *
 * Locks: tenant row, then module row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/quota.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "route/ring.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_configure_module);

#define RETAIN_LIMIT 20
#define RETAIN_FOR_MAX (366 * USECS_PER_DAY)

/* What is configured, as JSON: the before and after of its audit events. */
#define MODULE_JSON                                                                           \
	"pg_catalog.jsonb_build_object('routed', m.routed, 'retain_versions', m.retain_versions," \
	" 'retain_for', m.retain_for)::text"

static DbStatement insert_module = DB_STATEMENT(
	"INSERT INTO hotswap.module (tenant_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", UUIDOID,
	TEXTOID);

static DbStatement lock_module =
	DB_STATEMENT("SELECT m.is_graph, m.routed, " MODULE_JSON " FROM hotswap.module m"
				 " WHERE m.tenant_id = $1 AND m.name = $2 FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

static DbStatement update_module =
	DB_STATEMENT("UPDATE hotswap.module m SET routed = coalesce($3, m.routed),"
				 " retain_versions = coalesce($4, m.retain_versions),"
				 " retain_for = coalesce($5, m.retain_for)"
				 " WHERE m.tenant_id = $1 AND m.name = $2 RETURNING " MODULE_JSON,
				 UUIDOID, TEXTOID, BOOLOID, INT4OID, INTERVALOID);

enum
{
	ARG_TENANT,
	ARG_MODULE,
	ARG_ROUTED,
	ARG_RETAIN_VERSIONS,
	ARG_RETAIN_FOR,
	ARG_COUNT
};

/* What was asked for: the parameters of update_module. */
typedef struct Request
{
	pg_uuid_t tenant;
	char *module;
	Datum args[ARG_COUNT];
	bool nulls[ARG_COUNT];
} Request;

static void
read_request(FunctionCallInfo fcinfo, Request *r)
{
	memset(r, 0, sizeof(Request));
	r->module = arg_module(fcinfo, 0);
	for (int i = ARG_ROUTED; i < ARG_COUNT; i++)
		r->nulls[i] = PG_ARGISNULL(i - 1); /* the tenant comes last */
	if (!r->nulls[ARG_ROUTED])
		r->args[ARG_ROUTED] = PG_GETARG_DATUM(ARG_ROUTED - 1);
	if (!r->nulls[ARG_RETAIN_VERSIONS])
		r->args[ARG_RETAIN_VERSIONS] = Int32GetDatum(
			arg_int32(fcinfo, ARG_RETAIN_VERSIONS - 1, "retain_versions", 0, RETAIN_LIMIT));
	r->args[ARG_RETAIN_FOR] =
		IntervalPGetDatum(arg_interval_between(fcinfo, ARG_RETAIN_FOR - 1, "retain_for", 0,
											   RETAIN_FOR_MAX, "nothing and a year"));
	r->tenant = tenant_argument(fcinfo, ARG_COUNT - 1);
	r->args[ARG_TENANT] = UUIDPGetDatum(&r->tenant);
	r->args[ARG_MODULE] = CStringGetTextDatum(r->module);
}

/* Makes the module if it is new, and locks it. */
static void
enter_module(Request *r)
{
	if (db_run(&insert_module, r->args, NULL) > 0)
		quota_require(&r->tenant, QUOTA_MODULES);
	if (db_run(&lock_module, r->args, NULL) != 1)
		elog(ERROR, "module \"%s\" has disappeared", r->module);
}

/* Raises 55000 where the module, which is locked, cannot be what is asked for. */
static void
require_possible(const Request *r, bool is_graph, bool was_routed)
{
	bool routed = r->nulls[ARG_ROUTED] ? was_routed : DatumGetBool(r->args[ARG_ROUTED]);

	if (routed && is_graph)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" cannot be routed", r->module),
				 errdetail("Its versions build on each other: no script makes all that one of them "
						   "consists of."),
				 errhint("Publish its functions in a module whose versions are complete.")));
	if (was_routed && !routed && ring_module_has_slots(&r->tenant, r->module))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" is called through entries", r->module),
				 errdetail("They would lead nowhere."), errhint("Call hotswap.unroute() first.")));
}

/*
 * configure_module(module text, routed boolean, retain_versions integer, retain_for interval,
 *		tenant uuid)
 *
 * In: NULL leaves what is there.  Errors: 22023, P0002 no such tenant, 53400 the quota of modules is
 * exceeded, 55000 its versions build on each other, or it has entries and would not be routed any
 * more, YH003.  Locks the tenant row and the module row; writes the module and, when something has
 * changed, the audit log.
 */
Datum
hotswap_configure_module(PG_FUNCTION_ARGS)
{
	Request request;
	Call c;
	char *before;
	char *after;

	args_require_count(fcinfo, ARG_COUNT);
	read_request(fcinfo, &request);
	call_begin_change(&c, &request.tenant, CAPABILITY_OPERATOR, "configure a module");
	enter_module(&request);
	before = db_text(0, 3);
	require_possible(&request, db_bool(0, 1), db_bool(0, 2));
	if (db_run(&update_module, request.args, request.nulls) != 1)
		elog(ERROR, "module \"%s\" was not written", request.module);
	after = db_text(0, 1);
	if (strcmp(before, after) != 0)
		audit_tenant(&c.actor, &request.tenant, "configure_module", before, after, NULL,
					 audit_detail("module", request.module, NULL));
	call_end(&c);
	PG_RETURN_VOID();
}
