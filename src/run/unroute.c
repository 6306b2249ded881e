/*
 * unroute.c
 *		A routed module is called directly again: unroute().
 *
 * Guarantees: who calls during it calls the version that callers get, through the entry or directly;
 * nobody has called one of another version and goes on.
 *
 * Locks: tenant row, module row, then node by node its lane and the markers of its slots (none of
 * both is waited for), the functions that are replaced, and what is dropped.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "route/plain.h"
#include "route/ring.h"
#include "run/lane.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(hotswap_unroute);

static DbStatement lock_module =
	DB_STATEMENT("SELECT FROM hotswap.module WHERE tenant_id = $1 AND name = $2 FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

/* $3: one of them */
static DbStatement nodes_query = DB_STATEMENT(
	"SELECT DISTINCT s.node_id FROM hotswap.route_slot s WHERE s.tenant_id = $1 AND s.module = $2"
	" AND s.node_id = coalesce($3, s.node_id) ORDER BY 1",
	UUIDOID, TEXTOID, UUIDOID);

static List *
read_nodes(const pg_uuid_t *tenant, const char *module, const pg_uuid_t *node)
{
	DbArgs lock = db_args(&lock_module);
	DbArgs args = db_args(&nodes_query);
	MemoryContext context = CurrentMemoryContext;
	uint64 n;

	db_arg_uuid(&lock, tenant);
	db_arg_text(&lock, module);
	if (db_run_args(&lock) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("module \"%s\" does not exist", module)));
	db_arg_uuid(&args, tenant);
	db_arg_text(&args, module);
	db_arg_uuid(&args, node);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	return db_uuid_rows(n);
}

static void
unroute_node(Call *c, const RingKey *key)
{
	char *node = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(key->node)));
	RingSlot *current;
	List *slots;

	if (!lane_lock_if_free(key->tenant, key->node, key->module))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("module \"%s\" is being changed on node %s", key->module, node),
						errhint("Repeat this when its deployment has ended.")));
	current = ring_current(key);
	slots = ring_close(key);
	if (current && OidIsValid(current->schema))
	{
		plain_replace_entries(current);
		CommandCounterIncrement();
	}
	ring_drop(key, slots);
	audit_tenant(&c->actor, key->tenant, "unroute", NULL, NULL, NULL,
				 audit_detail("module", key->module, "node", node, "version",
							  current ? current->version : NULL, NULL));
}

/*
 * unroute(module text, node uuid, tenant uuid) returns the number of nodes
 *
 * In: node NULL: all nodes.  Errors: 22023, 2BP01 something depends on a version's own objects, 55000
 * something strange is in a slot, 55006 somebody has called a version and goes on, or it is being
 * changed, P0002 no such module or tenant, YH003.  Locks: see above.
 */
Datum
hotswap_unroute(PG_FUNCTION_ARGS)
{
	char *module;
	pg_uuid_t node;
	pg_uuid_t tenant;
	Call c;
	List *nodes;
	ListCell *cell;

	args_require_count(fcinfo, 3);
	module = arg_module(fcinfo, 0);
	if (!PG_ARGISNULL(1))
		node = arg_uuid(fcinfo, 1, "node");
	tenant = tenant_argument(fcinfo, 2);
	call_begin_change(&c, &tenant, CAPABILITY_OPERATOR, "unroute a module");
	nodes = read_nodes(&tenant, module, PG_ARGISNULL(1) ? NULL : &node);
	foreach (cell, nodes)
	{
		RingKey key = { &tenant, lfirst(cell), module };

		unroute_node(&c, &key);
	}
	call_end(&c);
	PG_RETURN_INT32(list_length(nodes));
}
