/*
 * node_health.c
 *		Is a node healthy, and is an environment: node_problems(), environment_health().
 *
 * By what was reported in the last silent_after: a single report is no illness, and none in that time is
 * one, if there were some before.  A node that says for so long that it runs something else than was
 * brought to it is ill as well.  Reads; locks nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/metric_slot.h"
#include "core/missing.h"
#include "core/node_health.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_node_problems);
PG_FUNCTION_INFO_V1(hotswap_environment_health);

/* A rate of fewer requests says nothing. */
#define REQUESTS_MIN 20

static const char *const health_state_names[] = { "unknown", "healthy", "unhealthy" };

/*
 * $1 tenant, $2 environment, or $3 node; $4 now, $5 the slots of this day and the one before, $6 since when reports
 * are kept.  A digest is another one than those that came last of each module, be it of the version or of its
 * artifact: since when, without one that is right after it; what was said before that swap does not matter.
 */
static DbStatement health_query = DB_STATEMENT(
	"SELECT e.silent_after IS NOT NULL AND e.measure IS NULL, r.last, CASE WHEN r.last IS NULL THEN EXISTS (SELECT 1"
	" FROM hotswap.node_metric m WHERE m.tenant_id = $1 AND m.node_id = n.id AND m.at > $6) END,"
	" r.cpu, e.max_cpu::float8, r.memory, e.max_memory::float8, r.requests, r.errors,"
	" e.max_error_rate::float8, d.digest, n.id, n.name FROM hotswap.node n"
	" JOIN hotswap.environment e ON e.tenant_id = n.tenant_id AND e.name = n.environment"
	" CROSS JOIN LATERAL (SELECT $4 - coalesce(e.silent_after, '2 min') AS since) s"
	" CROSS JOIN LATERAL (SELECT pg_catalog.max(m.at) AS last,"
	" pg_catalog.avg(m.cpu) FILTER (WHERE m.counts) AS cpu,"
	" pg_catalog.avg(m.memory) FILTER (WHERE m.counts) AS memory,"
	" pg_catalog.sum(m.requests) FILTER (WHERE m.counts AND m.errors IS NOT NULL)::float8 AS requests,"
	" pg_catalog.sum(m.errors) FILTER (WHERE m.counts AND m.requests IS NOT NULL)::float8 AS errors"
	" FROM hotswap.node_metric m WHERE m.tenant_id = $1 AND m.node_id = n.id AND m.slot = ANY ($5)"
	" AND m.at > s.since) r"
	" LEFT JOIN LATERAL (SELECT pg_catalog.max(l.swapped_at) AS at,"
	" pg_catalog.array_agg(l.digest) FILTER (WHERE l.digest IS NOT NULL) ||"
	" pg_catalog.array_agg(v.artifact_digest) FILTER (WHERE v.artifact_digest IS NOT NULL) AS digests"
	" FROM (SELECT DISTINCT ON (nm.module) nm.module, nm.version, nm.digest, nm.swapped_at"
	" FROM hotswap.node_module nm"
	" WHERE nm.tenant_id = $1 AND nm.node_id = n.id ORDER BY nm.module, nm.swap DESC) l"
	" LEFT JOIN hotswap.module_version v ON v.tenant_id = $1 AND v.module = l.module"
	" AND v.version = l.version) w ON true"
	" LEFT JOIN LATERAL (SELECT pg_catalog.encode(m.digest, 'hex') AS digest FROM hotswap.node_metric m"
	" WHERE m.tenant_id = $1 AND m.node_id = n.id AND m.slot = ANY ($5)"
	" AND m.at > greatest(w.at, s.since - ($4 - s.since)) AND m.digest <> ALL (w.digests)"
	" AND m.at <= s.since AND NOT EXISTS (SELECT FROM hotswap.node_metric g WHERE g.tenant_id = $1"
	" AND g.node_id = n.id AND g.slot = ANY ($5) AND g.at > m.at AND g.digest = ANY (w.digests))"
	" ORDER BY m.at LIMIT 1) d ON true"
	" WHERE n.tenant_id = $1 AND (n.environment = $2 OR n.id = $3) AND n.removed_at IS NULL",
	UUIDOID, TEXTOID, UUIDOID, TIMESTAMPTZOID, INT2ARRAYOID, TIMESTAMPTZOID);

enum
{
	H_LOOKS_FOR_SILENCE = 1,
	H_LAST,
	H_REPORTED_ONCE,
	H_CPU,
	H_MAX_CPU,
	H_MEMORY,
	H_MAX_MEMORY,
	H_REQUESTS,
	H_ERRORS,
	H_MAX_ERRORS,
	H_OTHER_DIGEST,
	H_NODE,
	H_NAME
};

static DbStatement share_query = DB_STATEMENT(
	"SELECT coalesce(min_healthy, 100) FROM hotswap.environment WHERE tenant_id = $1 AND name = $2",
	UUIDOID, TEXTOID);

static double
read_number(uint64 row, int column)
{
	bool isnull;
	Datum value = db_datum(row, column, &isnull);

	return isnull ? -1 : DatumGetFloat8(value);
}

/* A mean that is too high. */
static void
judge_mean(NodeHealth *h, uint64 row, int column, const char *what)
{
	double mean = read_number(row, column);
	double most = read_number(row, column + 1);

	if (most >= 0 && mean > most)
		h->reasons =
			lappend(h->reasons, psprintf("%s is at %.1f %%, more than %g %%", what, mean, most));
}

static void
judge_errors(NodeHealth *h, uint64 row)
{
	double requests = read_number(row, H_REQUESTS);
	double errors = read_number(row, H_ERRORS);
	double most = read_number(row, H_MAX_ERRORS);

	if (most >= 0 && requests >= REQUESTS_MIN && errors * 100 > most * requests)
		h->reasons =
			lappend(h->reasons, psprintf("%.1f %% of %.0f requests failed, more than %g %%",
										 errors * 100 / requests, requests, most));
}

static NodeHealth *
judge(uint64 row)
{
	NodeHealth *h = palloc0(sizeof(NodeHealth));
	bool reports = !db_isnull(row, H_LAST);

	h->node = db_uuid(row, H_NODE);
	h->name = db_text(row, H_NAME);
	if (!reports && !db_bool(row, H_REPORTED_ONCE))
		return h;
	if (!reports && db_bool(row, H_LOOKS_FOR_SILENCE))
		h->reasons = lappend(h->reasons, "it has fallen silent");
	judge_mean(h, row, H_CPU, "CPU");
	judge_mean(h, row, H_MEMORY, "memory");
	judge_errors(h, row);
	if (!db_isnull(row, H_OTHER_DIGEST))
		h->reasons =
			lappend(h->reasons, psprintf("it runs something else than was brought to it: %s",
										 db_text(row, H_OTHER_DIGEST)));
	h->state = h->reasons != NIL ? HEALTH_UNHEALTHY : reports ? HEALTH_HEALTHY : HEALTH_UNKNOWN;
	return h;
}

List *
node_health_read(const pg_uuid_t *tenant, const char *environment, const pg_uuid_t *node)
{
	TimestampTz now = GetCurrentTimestamp();
	DbArgs args = db_args(&health_query);
	List *nodes = NIL;
	uint64 count;

	db_arg_uuid(&args, tenant);
	db_arg_text(&args, environment);
	db_arg_uuid(&args, node);
	db_arg_time(&args, now);
	db_arg_datum(&args, INT2ARRAYOID, metric_slots(now - USECS_PER_DAY, now), false);
	db_arg_time(&args, now - METRIC_RETENTION);
	count = db_run_args(&args);
	for (uint64 i = 0; i < count; i++)
		nodes = lappend(nodes, judge(i));
	return nodes;
}

/*
 * Of an environment: unknown where nobody reports; unhealthy where more nodes are than may be.  A node that does not
 * report is not unhealthy.
 */
static HealthState
health_of(const pg_uuid_t *tenant, const char *environment)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment) };
	List *nodes = node_health_read(tenant, environment, NULL);
	int count[] = { 0, 0, 0 };
	ListCell *cell;

	foreach (cell, nodes)
		count[((NodeHealth *) lfirst(cell))->state]++;
	if (count[HEALTH_UNKNOWN] == list_length(nodes))
		return HEALTH_UNKNOWN;
	if (db_run(&share_query, args, NULL) == 0)
		environment_refuse_missing(tenant, environment);
	return (list_length(nodes) - count[HEALTH_UNHEALTHY]) * 100 >=
				   db_int32(0, 1) * list_length(nodes) ?
			   HEALTH_HEALTHY :
			   HEALTH_UNHEALTHY;
}

/*
 * node_problems(tenant uuid, node uuid) returns why it is unhealthy, empty where it is not, NULL where nobody knows
 *
 * Errors: 22023, 42501.  Locks nothing.
 */
Datum
hotswap_node_problems(PG_FUNCTION_ARGS)
{
	pg_uuid_t tenant = arg_uuid(fcinfo, 0, "tenant");
	pg_uuid_t node = arg_uuid(fcinfo, 1, "node");
	DbScope scope;
	List *nodes;
	NodeHealth *h;
	Datum result = (Datum) 0;

	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_VIEWER, "look at a node");
	nodes = node_health_read(&tenant, NULL, &node);
	h = nodes != NIL ? linitial(nodes) : NULL;
	MemoryContextSwitchTo(scope.context);
	if (h && h->state != HEALTH_UNKNOWN)
		result = db_text_array(h->reasons);
	db_leave(&scope);
	if (result == (Datum) 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}

/*
 * environment_health(tenant uuid, environment text) returns healthy, unhealthy or unknown
 *
 * Errors: 22023, 42501.  Locks nothing.
 */
Datum
hotswap_environment_health(PG_FUNCTION_ARGS)
{
	pg_uuid_t tenant = arg_uuid(fcinfo, 0, "tenant");
	char *environment = arg_text(fcinfo, 1, "environment", NAME_LIMIT);
	DbScope scope;
	HealthState state;

	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_VIEWER, "look at an environment");
	state = health_of(&tenant, environment);
	db_leave(&scope);
	PG_RETURN_TEXT_P(cstring_to_text(health_state_names[state]));
}
