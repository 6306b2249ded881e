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
#include "base/uuid.h"
#include "core/call.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "route/plain.h"
#include "route/ring.h"
#include "run/routed_nodes.h"

PG_FUNCTION_INFO_V1(hotswap_unroute);

static void
require_one_version(const RingKey *key)
{
	if (ring_is_shared(key))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("callers of module \"%s\" get two versions on node %s", key->module,
							   uuid_text(key->node)),
						errhint("Give all of them one: wait for the deployment, or call "
								"hotswap.set_route() with \"share\" => 0.")));
}

static void
unroute_node(Call *c, const RingKey *key)
{
	RingSlot *current;
	List *slots;

	routed_lock_lane(key);
	require_one_version(key);
	current = ring_current(key);
	slots = ring_close(key);
	if (current && OidIsValid(current->schema))
	{
		plain_replace_entries(current);
		CommandCounterIncrement();
	}
	ring_drop(key, slots);
	audit_tenant(&c->actor, key->tenant, "unroute", NULL, NULL, NULL,
				 audit_detail("module", key->module, "node", uuid_text(key->node), "version",
							  current ? current->version : NULL, NULL));
}

/*
 * unroute(module text, node uuid, tenant uuid) returns the number of nodes
 *
 * In: node NULL: all nodes.  Errors: 22023, 2BP01 something depends on a version's own objects, 55000
 * something strange is in a slot or callers get two versions, 55006 somebody has called a version and goes on, or it is being
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
	nodes = routed_nodes(&tenant, module, PG_ARGISNULL(1) ? NULL : &node);
	foreach (cell, nodes)
	{
		RingKey key = { &tenant, lfirst(cell), module };

		unroute_node(&c, &key);
	}
	call_end(&c);
	PG_RETURN_INT32(list_length(nodes));
}
