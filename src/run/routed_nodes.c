/*
 * routed_nodes.c
 *		The nodes on which a module is called through entries, for those who change that by hand.
 *
 * Locks: the module's row, then the lanes, in the order of the nodes; those are not waited for.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "run/lane.h"
#include "run/routed_nodes.h"

static DbStatement lock_module =
	DB_STATEMENT("SELECT FROM hotswap.module WHERE tenant_id = $1 AND name = $2 FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID);

/* $3: one of them */
static DbStatement nodes_query = DB_STATEMENT(
	"SELECT DISTINCT s.node_id FROM hotswap.route_slot s WHERE s.tenant_id = $1 AND s.module = $2"
	" AND s.node_id = coalesce($3, s.node_id) ORDER BY 1",
	UUIDOID, TEXTOID, UUIDOID);

List *
routed_nodes(const pg_uuid_t *tenant, const char *module, const pg_uuid_t *node)
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

void
routed_lock_lane(const RingKey *key)
{
	if (!lane_lock_if_free(key->tenant, key->node, key->module))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("module \"%s\" is being changed on node %s", key->module,
							   uuid_text(key->node)),
						errhint("Repeat this when its deployment has ended.")));
}
