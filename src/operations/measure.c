/*
 * measure.c
 *		Measures the database nodes of environments that want it, from the server's statistics.
 *
 * All nodes share a database, and who calls is not whom scripts run as, so what tells one from another is its
 * schema: how often its functions were called and how long they took, or how often its tables were scanned and
 * how many rows that read.  The server counts from some beginning; a report has the difference to the one
 * before, and the count itself in its details.  Where that has become less, something was dropped or the
 * statistics were reset, and counting begins anew.
 *
 * A node without a schema is not measured.  Reads; locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/metric_slot.h"
#include "operations/measure.h"
#include "utils/timestamp.h"

static DbStatement wanted_query = DB_STATEMENT0(
	"SELECT coalesce(pg_catalog.bool_or(measure = 'functions'), false),"
	" coalesce(pg_catalog.bool_or(measure = 'tables'), false) FROM hotswap.environment");

/* $1: now, in seconds; $2: its slot; $3: that of the day before, too.  The counts are of (schema, calls, total). */
#define MEASURE(measure, counts)                                                                                   \
	"WITH c AS MATERIALIZED (" counts ")"                                                                          \
	" INSERT INTO hotswap.node_metric (tenant_id, node_id, at, counts, slot, latency_ms, requests, details)"       \
	" SELECT n.tenant_id, n.id, $1, true, $2, CASE WHEN d.calls > 0 THEN d.total / d.calls END, d.calls,"          \
	" pg_catalog.jsonb_build_object('calls', s.calls, 'total', s.total) FROM hotswap.environment e"                \
	" JOIN hotswap.node n ON n.tenant_id = e.tenant_id AND n.environment = e.name"                                 \
	" AND n.kind = 'database' AND n.schema IS NOT NULL AND n.removed_at IS NULL"                                   \
	" LEFT JOIN c ON c.schema = n.schema"                                                                          \
	" CROSS JOIN LATERAL (SELECT coalesce(c.calls, 0) AS calls, coalesce(c.total, 0) AS total) s"                  \
	" LEFT JOIN LATERAL (SELECT (m.details->>'calls')::bigint AS calls, (m.details->>'total')::float8 AS total"    \
	" FROM hotswap.node_metric m WHERE m.tenant_id = n.tenant_id AND m.node_id = n.id AND m.at < $1"               \
	" AND m.at > $1 - '10 min'::interval AND m.slot = ANY ($3) AND m.counts ORDER BY m.at DESC LIMIT 1) b ON true" \
	" LEFT JOIN LATERAL (SELECT s.calls - b.calls AS calls, s.total - b.total AS total"                            \
	" WHERE s.calls >= b.calls AND s.total >= b.total) d ON true"                                                  \
	" WHERE e.measure = '" measure "' ON CONFLICT DO NOTHING"

static DbStatement measure_functions = DB_STATEMENT(
	MEASURE(
		"functions",
		"SELECT schemaname::text AS schema, sum(calls)::bigint AS calls, sum(self_time) AS total"
		" FROM pg_catalog.pg_stat_user_functions GROUP BY schemaname"),
	TIMESTAMPTZOID, INT2OID, INT2ARRAYOID);

static DbStatement measure_tables = DB_STATEMENT(
	MEASURE(
		"tables",
		"SELECT schemaname::text AS schema, sum(seq_scan + coalesce(idx_scan, 0))::bigint AS calls,"
		" sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::float8 AS total"
		" FROM pg_catalog.pg_stat_user_tables GROUP BY schemaname"),
	TIMESTAMPTZOID, INT2OID, INT2ARRAYOID);

/* Measures once. */
bool
measure_nodes(void)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum args[] = { TimestampTzGetDatum(now - now % USECS_PER_SEC),
					 Int16GetDatum(metric_slot(now)), metric_slots(now - USECS_PER_DAY, now) };
	DbScope scope;
	bool functions;
	bool tables;

	db_enter(&scope);
	(void) db_run(&wanted_query, NULL, NULL);
	functions = db_bool(0, 1);
	tables = db_bool(0, 2);
	if (functions)
		(void) db_run(&measure_functions, args, NULL);
	if (tables)
		(void) db_run(&measure_tables, args, NULL);
	db_leave(&scope);
	return functions || tables;
}
