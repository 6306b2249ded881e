/*
 * pin.c
 *		Nodes that stay at a version for a time: pin_node(), unpin_node().
 *
 * What is planned after the commit leaves the node out (core/plan.c); a stage that has started goes on.
 *
 * Locks: tenant row, node row (KEY SHARE, which keeps it from being removed), row of the pin.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/audit.h"
#include "core/call.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "module/tag.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(hotswap_pin_node);
PG_FUNCTION_INFO_V1(hotswap_unpin_node);

/* The node, and what it runs of a module. */
static DbStatement lock_node = DB_STATEMENT(
	"SELECT n.environment, n.name, m.version, $4 = ANY (coalesce(m.heads, ARRAY[m.version]))"
	" FROM hotswap.node n LEFT JOIN LATERAL (SELECT s.version, s.heads FROM hotswap.node_module s"
	" WHERE s.tenant_id = $1 AND s.node_id = n.id AND s.module = $3 ORDER BY s.swap DESC LIMIT 1) m"
	" ON true WHERE n.tenant_id = $1 AND n.id = $2 AND n.removed_at IS NULL FOR KEY SHARE OF n",
	UUIDOID, UUIDOID, TEXTOID, TEXTOID);

static DbStatement save_pin = DB_STATEMENT(
	"INSERT INTO hotswap.node_pin (tenant_id, node_id, module, version, until, reason, pinned_at,"
	" pinned_by) VALUES ($1, $2, $3, $4, $5, $6, pg_catalog.now(), $7)"
	" ON CONFLICT (tenant_id, node_id, module) DO UPDATE SET version = excluded.version,"
	" until = excluded.until, reason = excluded.reason, pinned_at = excluded.pinned_at,"
	" pinned_by = excluded.pinned_by",
	UUIDOID, UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID);

static DbStatement delete_pin = DB_STATEMENT(
	"DELETE FROM hotswap.node_pin WHERE tenant_id = $1 AND node_id = $2 AND module = $3"
	" RETURNING version, until > pg_catalog.clock_timestamp()",
	UUIDOID, UUIDOID, TEXTOID);

/* Of a node, and what of it is meant. */
typedef struct PinnedNode
{
	pg_uuid_t tenant;
	pg_uuid_t id;
	char *module;
	char *environment;
	char *name;
} PinnedNode;

/* Reads and locks the node; what it runs of the module, and whether that is a version. */
static bool
find_node(PinnedNode *n, char *version, char **runs)
{
	DbArgs args = db_args(&lock_node);

	db_arg_uuid(&args, &n->tenant);
	db_arg_uuid(&args, &n->id);
	db_arg_text(&args, n->module);
	db_arg_text(&args, version);
	if (db_run_args(&args) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("node \"%s\" does not exist", uuid_text(&n->id))));
	n->environment = db_text(0, 1);
	n->name = db_text(0, 2);
	*runs = db_text(0, 3);
	return !db_isnull(0, 4) && db_bool(0, 4);
}

static void
begin(FunctionCallInfo fcinfo, PinnedNode *n, Call *c, const char *action)
{
	n->id = arg_uuid(fcinfo, 0, "node");
	n->module = arg_module(fcinfo, 1);
	n->tenant = tenant_current();
	call_begin_change(c, &n->tenant, CAPABILITY_OPERATOR, action);
}

static void
write_event(const Call *c, const PinnedNode *n, const char *event, char *version, const char *until,
			char *reason)
{
	audit_tenant(&c->actor, &n->tenant, event, NULL, NULL, reason,
				 audit_detail("node", uuid_text(&n->id), "environment", n->environment, "name",
							  n->name, "module", n->module, "version", version,
							  until ? "until" : NULL, until, NULL));
}

/*
 * pin_node(node uuid, module text, version text, until timestamptz, reason text)
 *
 * In: a node that runs the version, or a tag of it; until: in the future, at most a year away; reason of 1 to 10,000
 * characters.  Deployments leave the node out until then.  Errors: 22023, P0002 no such node, 55000 it runs
 * something else, 42501, YH003.  Locks the tenant row and the node; writes node_pin and the audit log.
 */
Datum
hotswap_pin_node(PG_FUNCTION_ARGS)
{
	char *version = arg_version(fcinfo, 2, "version");
	TimestampTz until = arg_until(fcinfo, 3, "until");
	char *reason = arg_text(fcinfo, 4, "reason", REASON_LIMIT);
	DbArgs args = db_args(&save_pin);
	PinnedNode n;
	char *runs;
	Call c;

	begin(fcinfo, &n, &c, "pin a node");
	version = version_resolve(&n.tenant, n.module, version);
	if (!find_node(&n, version, &runs))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node \"%s\" does not run version \"%s\" of module \"%s\"", n.name,
							   version, n.module),
						runs ? errdetail("It runs version \"%s\".", runs) :
							   errdetail("It runs nothing of the module."),
						errhint("Deploy the version there first.")));
	db_arg_uuid(&args, &n.tenant);
	db_arg_uuid(&args, &n.id);
	db_arg_text(&args, n.module);
	db_arg_text(&args, version);
	db_arg_time(&args, until);
	db_arg_text(&args, reason);
	db_arg_text(&args, c.actor.person);
	(void) db_run_args(&args);
	write_event(&c, &n, "pin_node", version, timestamptz_to_str(until), reason);
	call_end(&c);
	PG_RETURN_VOID();
}

/*
 * unpin_node(node uuid, module text, reason text)
 *
 * In: a node that is pinned; reason of 1 to 10,000 characters.  Errors: 22023, P0002 no such node, or it is not
 * pinned, 42501, YH003.  Locks the tenant row and the node; writes node_pin and the audit log.
 */
Datum
hotswap_unpin_node(PG_FUNCTION_ARGS)
{
	char *reason = arg_text(fcinfo, 2, "reason", REASON_LIMIT);
	DbArgs args = db_args(&delete_pin);
	PinnedNode n;
	char *runs;
	Call c;

	begin(fcinfo, &n, &c, "unpin a node");
	(void) find_node(&n, NULL, &runs);
	db_arg_uuid(&args, &n.tenant);
	db_arg_uuid(&args, &n.id);
	db_arg_text(&args, n.module);
	if (db_run_args(&args) == 0 || !db_bool(0, 2))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("node \"%s\" is not pinned to a version of module \"%s\"", n.name,
							   n.module)));
	write_event(&c, &n, "unpin_node", db_text(0, 1), NULL, reason);
	call_end(&c);
	PG_RETURN_VOID();
}
