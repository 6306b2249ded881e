/*
 * set_route.c
 *		A share of the callers, or those with certain roles, get a version that is installed beside the one
 *		that runs: set_route().
 *
 * What runs on a node is what was deployed there, and stays so: everybody gets another version by a
 * deployment or by going back, which also ends what was set here.
 *
 * Locks: tenant row, module row, then node by node the lane (not waited for), and the route until the commit.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "module/tag.h"
#include "route/route.h"
#include "run/routed_nodes.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_set_route);

/* The row that counts: what runs, what is tried beside it, and whether a deployment does that. */
static DbStatement route_query = DB_STATEMENT(
	"SELECT coalesce(r.other_version, r.version), CASE WHEN r.other_slot IS NOT NULL THEN r.version END,"
	" r.share, r.roles::oid[], r.other_slot IS NOT NULL AND EXISTS (SELECT FROM hotswap.deployment d"
	" WHERE d.tenant_id = $1 AND d.id = r.deployment_id AND d.finished_at IS NULL)"
	" FROM hotswap.route r WHERE r.tenant_id = $1 AND r.node_id = $2 AND r.module = $3"
	" ORDER BY r.epoch DESC LIMIT 1",
	UUIDOID, UUIDOID, TEXTOID);

/* How callers are sent, for the audit log. */
static DbStatement json_query = DB_STATEMENT(
	"SELECT pg_catalog.jsonb_build_object('version', $1, 'share', $2, 'roles', $3::regrole[])::text",
	TEXTOID, INT4OID, OIDARRAYOID);

/* What a node's callers get beside what runs there. */
typedef struct Trial
{
	char *version; /* NULL: nothing */
	int share;
	List *roles;
} Trial;

static bool
is_nobody(const Trial *t)
{
	return t->version == NULL || (t->share == 0 && t->roles == NIL);
}

static bool
is_same(const Trial *a, const Trial *b)
{
	if (is_nobody(a) || is_nobody(b))
		return is_nobody(a) == is_nobody(b);
	return strcmp(a->version, b->version) == 0 && a->share == b->share && equal(a->roles, b->roles);
}

/* NULL: nobody gets another version. */
static char *
json_of(const Trial *t)
{
	Datum args[] = { (Datum) 0, Int32GetDatum(t->share), db_oid_array(t->roles) };
	bool nulls[] = { false, false, t->roles == NIL };

	if (is_nobody(t))
		return NULL;
	args[0] = CStringGetTextDatum(t->version);
	(void) db_run(&json_query, args, nulls);
	return db_text(0, 1);
}

/* ---- a node ---- */

/* Reads the row that counts; false: the module is called by nobody there. */
static bool
read_route(const RingKey *key, char **runs, Trial *trial)
{
	Datum args[] = { UUIDPGetDatum(key->tenant), UUIDPGetDatum(key->node),
					 CStringGetTextDatum(key->module) };
	MemoryContext context = CurrentMemoryContext;
	Datum roles;
	bool isnull;

	memset(trial, 0, sizeof(*trial));
	if (db_run(&route_query, args, NULL) == 0)
		return false;
	MemoryContextSwitchTo(context);
	*runs = db_text(0, 1);
	trial->version = db_text(0, 2);
	trial->share = db_int32(0, 3);
	roles = db_datum(0, 4, &isnull);
	trial->roles = isnull ? NIL : db_oid_list(roles);
	if (db_bool(0, 5))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("a deployment decides which callers of module \"%s\" get version \"%s\"",
						key->module, trial->version),
				 errhint("Wait for its end, or use hotswap.promote() or hotswap.cancel().")));
	return true;
}

static RingSlot *
require_installed(const RingKey *key, const char *version)
{
	RingSlot *slot = ring_find_version(key, version);

	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("version \"%s\" of module \"%s\" is not installed on node %s", version,
						key->module, uuid_text(key->node)),
				 errhint("Deploy it: versions that ran before stay installed for a while.")));
	return slot;
}

static void
require_other(const RingKey *key, const char *version, const char *runs)
{
	if (strcmp(version, runs) == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("version \"%s\" of module \"%s\" is what callers get on node %s",
							   version, key->module, uuid_text(key->node)),
						errhint("Name the version that a share of them shall get instead.")));
}

/* True: something has changed. */
static bool
set_on_node(Call *c, const RingKey *key, const Trial *wanted)
{
	char *runs;
	char *before;
	RingSlot *slot;
	RingSlot *base;
	Trial current;

	routed_lock_lane(key);
	if (!read_route(key, &runs, &current))
		return false;
	require_other(key, wanted->version, runs);
	slot = require_installed(key, wanted->version);
	if (is_same(&current, wanted))
		return false;
	base = require_installed(key, runs);
	before = json_of(&current);
	if (is_nobody(wanted))
		ring_activate(key, base, NULL);
	else
		ring_share(key, slot, base, wanted->share, wanted->roles, NULL);
	audit_tenant(&c->actor, key->tenant, "set_route", before, json_of(wanted), NULL,
				 audit_detail("module", key->module, "node", uuid_text(key->node), NULL));
	return true;
}

/* ---- the call ---- */

/*
 * set_route(module text, version text, share integer, roles regrole[], node uuid, tenant uuid)
 *		returns the number of nodes where something has changed
 *
 * In: share of 10,000 callers; roles, node and tenant may be NULL.  Errors: 22023, 55000 the version is what
 * callers get, 55006 the module is being changed, P0002 no such module, version, role or tenant, or it is not
 * installed, 42501, YH003.  Locks: see above.
 */
Datum
hotswap_set_route(PG_FUNCTION_ARGS)
{
	Trial wanted = { NULL };
	char *module;
	pg_uuid_t node;
	pg_uuid_t tenant;
	Call c;
	List *nodes;
	ListCell *cell;
	int changed = 0;

	args_require_count(fcinfo, 6);
	module = arg_module(fcinfo, 0);
	wanted.version = arg_version(fcinfo, 1, "version");
	wanted.share = arg_int32(fcinfo, 2, "share", 0, ROUTE_ALL - 1);
	wanted.roles = arg_oids(fcinfo, 3, "roles");
	if (!PG_ARGISNULL(4))
		node = arg_uuid(fcinfo, 4, "node");
	tenant = tenant_argument(fcinfo, 5);
	role_require_all(wanted.roles);
	call_begin_change(&c, &tenant, CAPABILITY_OPERATOR, "set a route");
	wanted.version = version_resolve(&tenant, module, wanted.version);
	nodes = routed_nodes(&tenant, module, PG_ARGISNULL(4) ? NULL : &node);
	foreach (cell, nodes)
	{
		RingKey key = { &tenant, lfirst(cell), module };

		changed += set_on_node(&c, &key, &wanted);
	}
	call_end(&c);
	PG_RETURN_INT32(changed);
}
