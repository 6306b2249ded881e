/*
 * surplus.c
 *		Drops the slots of routed modules that nobody needs any more.
 *
 * Versions that follow each other while old ones are held, or to be retained for a time, get more slots than
 * are used in turn; and so does a module that is to retain fewer versions than before.  What the ring
 * (route/ring.c) would give to a version and will not need for one goes, with the entries to functions that no
 * other slot has.
 *
 * A slot that something depends on, or that has what no version made, stays, and does not keep
 * others from being dropped.
 *
 * Locks, none of them waited for: the lane, then the marker of the slot; then what is dropped.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/subxact.h"
#include "catalog/pg_type.h"
#include "route/interface.h"
#include "run/lane.h"
#include "run/surplus.h"
#include "utils/memutils.h"

#define LOCK_WAIT_MS 200 /* how long others may have to queue behind us */

/* Modules on nodes that have many slots, behind one of them. */
static DbStatement keys_query = DB_STATEMENT(
	"SELECT s.tenant_id, s.node_id, s.module FROM hotswap.route_slot s"
	" JOIN hotswap.module m ON m.tenant_id = s.tenant_id AND m.name = s.module"
	" WHERE s.retired_at IS NOT NULL AND (s.tenant_id, s.node_id, s.module) > ($1, $2, $3)"
	" GROUP BY s.tenant_id, s.node_id, s.module, m.retain_versions"
	" HAVING count(*) > greatest(m.retain_versions, 1) ORDER BY 1, 2, 3 LIMIT $4",
	UUIDOID, UUIDOID, TEXTOID, INT4OID);

/* How far it is, and what could not be dropped. */
static pg_uuid_t last_tenant;
static pg_uuid_t last_node;
static char *last_module = NULL;
static char *failure = NULL;

typedef struct Removal
{
	const RingKey *key;
	RingSlot *slot;
} Removal;

static void
keep(char **place, const char *text)
{
	if (*place)
		pfree(*place);
	*place = text ? MemoryContextStrdup(TopMemoryContext, text) : NULL;
}

/* All of them are looked at again. */
void
surplus_begin(void)
{
	memset(&last_tenant, 0, sizeof(last_tenant));
	memset(&last_node, 0, sizeof(last_node));
	keep(&last_module, "");
	keep(&failure, NULL);
}

static void
drop_slot(void *arg)
{
	Removal *r = arg;

	if (ring_drop_surplus(r->key, r->slot))
		interface_drop_unused(r->key, r->slot->entry_schema);
}

static void
drop_slots(const RingKey *key)
{
	ListCell *cell;

	/* what is surplus may be called again by somebody who has the lane */
	if (!lane_lock_if_free(key->tenant, key->node, key->module))
		return;
	foreach (cell, ring_surplus(key))
	{
		Removal removal = { key, lfirst(cell) };
		ErrorData *error = subxact_run(drop_slot, &removal);

		if (error && ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
			ReThrowError(error);
		if (error)
			keep(&failure, psprintf("schema \"%s\": %s", removal.slot->name, error->message));
	}
}

typedef struct Place
{
	pg_uuid_t tenant;
	pg_uuid_t node;
	char *module;
} Place;

/* The next modules on nodes, of Place *. */
static List *
next_places(int limit)
{
	DbArgs args = db_args(&keys_query);
	MemoryContext context = CurrentMemoryContext;
	List *places = NIL;
	uint64 n;

	db_arg_uuid(&args, &last_tenant);
	db_arg_uuid(&args, &last_node);
	db_arg_text(&args, last_module);
	db_arg_int32(&args, limit);
	n = db_run_args(&args);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		Place *place = palloc(sizeof(Place));

		place->tenant = db_uuid(i, 1);
		place->node = db_uuid(i, 2);
		place->module = db_text(i, 3);
		places = lappend(places, place);
	}
	return places;
}

bool
surplus_drop(int limit)
{
	List *places = next_places(limit);
	ListCell *cell;

	db_limit_lock_wait(LOCK_WAIT_MS);
	foreach (cell, places)
	{
		const Place *place = lfirst(cell);
		RingKey key = { &place->tenant, &place->node, place->module };

		last_tenant = place->tenant;
		last_node = place->node;
		keep(&last_module, place->module);
		drop_slots(&key);
	}
	if (places == NIL && failure)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("%s", failure)));
	return places != NIL;
}
