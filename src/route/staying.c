/*
 * staying.c
 *		Why earlier versions of routed modules are still installed: they are retained, somebody has called them,
 *		or nobody needed their place yet.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "route/ring.h"
#include "route/staying.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static DbStatement staying_query = DB_STATEMENT(
	"SELECT s.slot, s.version, s.module, n.name, s.place <= s.retain_versions,"
	" CASE WHEN s.retired_at + s.retain_for > pg_catalog.clock_timestamp()"
	" THEN s.retired_at + s.retain_for END,"
	" (SELECT coalesce('process ' || min(l.pid), 'a prepared transaction')"
	" FROM pg_class c JOIN pg_locks l ON l.relation = c.oid AND l.locktype = 'relation' AND l.granted"
	" AND l.mode = 'AccessShareLock' AND l.database = (SELECT d.oid FROM pg_database d"
	" WHERE d.datname = current_database()) WHERE c.relname = 'hotswap_slot_' || s.generation"
	" HAVING count(*) > 0),"
	" (SELECT 'process ' || min(a.pid) FROM " OLD_SNAPSHOTS ")"
	" FROM (SELECT s.*, m.retain_versions, m.retain_for, row_number() OVER (PARTITION BY s.node_id,"
	" s.module ORDER BY s.retired_at DESC, s.generation DESC) AS place FROM hotswap.route_slot s"
	" JOIN hotswap.module m ON m.tenant_id = $1 AND m.name = s.module"
	" WHERE s.tenant_id = $1 AND s.module = ANY ($3) AND s.retired_at IS NOT NULL"
	" AND s.node_id IN (SELECT t.node_id FROM hotswap.task t WHERE t.tenant_id = $1"
	" AND t.deployment_id = $2)) s"
	" JOIN hotswap.node n ON n.tenant_id = $1 AND n.id = s.node_id"
	" ORDER BY n.name, s.module, s.place LIMIT 100",
	UUIDOID, UUIDOID, TEXTARRAYOID);

enum
{
	S_SLOT = 1,
	S_VERSION,
	S_MODULE,
	S_NODE,
	S_IS_RETAINED,
	S_RETAINED_UNTIL,
	S_CALLED_BY,
	S_SEEN_BY
};

/* The first reason that holds. */
static void
say_why(uint64 row, Staying *s)
{
	char *called_by = db_text(row, S_CALLED_BY);
	char *seen_by = db_text(row, S_SEEN_BY);

	s->until = "the end of that transaction";
	if (db_bool(row, S_IS_RETAINED))
	{
		s->why = "it is one of those that are retained";
		s->until = "later versions, or hotswap.configure_module() with \"retain_versions\"";
	}
	else if (!db_isnull(row, S_RETAINED_UNTIL))
	{
		s->why = "it is retained for a while";
		s->until =
			psprintf("the time %s", timestamptz_to_str(db_time(row, S_RETAINED_UNTIL, DT_NOEND)));
	}
	else if (called_by)
		s->why = psprintf("%s has called it", called_by);
	else if (seen_by)
		s->why = psprintf("%s may have a snapshot from when it was called", seen_by);
	else
	{
		s->why = "no version has needed its place since";
		s->until = "the next version";
	}
}

List *
staying_versions(const pg_uuid_t *tenant, const pg_uuid_t *deployment, List *modules)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(deployment), db_text_array(modules) };
	MemoryContext context = CurrentMemoryContext;
	List *result = NIL;
	uint64 n = db_run(&staying_query, args, NULL);

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		Staying *s = palloc(sizeof(Staying));

		s->what = psprintf("Version \"%s\" of module \"%s\" is in schema \"%s\" for node \"%s\"",
						   db_text(i, S_VERSION), db_text(i, S_MODULE), db_text(i, S_SLOT),
						   db_text(i, S_NODE));
		say_why(i, s);
		result = lappend(result, s);
	}
	return result;
}
