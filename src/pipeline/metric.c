/*
 * metric.c
 *		What nodes have reported in a time, summed up: for the analysis, and node_levels().
 *
 * The sums are those of sums_add(), made by the server: of a node that reports each second there are many
 * rows, and one result.  Reads; locks nothing.
 */
#include "postgres.h"

#include <math.h>

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/environment_row.h"
#include "core/metric_slot.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"
#include "pipeline/metric.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_node_levels);

/* $3 to $4: the time, in $6 parts, of the slots $5; $7: less is none. */
static DbStatement sums_query = DB_STATEMENT(
	"SELECT n.place::integer, p.part::integer, pg_catalog.count(*)::integer,"
	" coalesce(sum(m.requests) FILTER (WHERE m.errors IS NOT NULL), 0)::float8,"
	" coalesce(sum(m.errors) FILTER (WHERE m.requests IS NOT NULL), 0)::float8,"
	" pg_catalog.count(m.requests + m.errors)::float8,"
	" coalesce(sum(l.weight * ln(greatest(m.latency_ms, $7))), 0)::float8,"
	" coalesce(sum(l.weight) FILTER (WHERE m.latency_ms IS NOT NULL), 0)::float8,"
	" coalesce(sum(ln(greatest(m.cpu, $7))), 0)::float8, pg_catalog.count(m.cpu)::float8,"
	" coalesce(sum(ln(greatest(m.memory, $7))), 0)::float8, pg_catalog.count(m.memory)::float8"
	" FROM unnest($2) WITH ORDINALITY n (id, place) CROSS JOIN LATERAL (SELECT m.* FROM hotswap.node_metric m"
	" WHERE m.tenant_id = $1 AND m.node_id = n.id AND m.at >= $3 AND m.at < $4 AND m.slot = ANY ($5)"
	" AND m.counts OFFSET 0) m"
	" CROSS JOIN LATERAL (SELECT coalesce(m.requests, 1)::float8 AS weight) l"
	" CROSS JOIN LATERAL (SELECT floor($6 * extract(epoch FROM m.at - $3)"
	" / extract(epoch FROM $4 - $3)) AS part) p GROUP BY n.place, p.part",
	UUIDOID, UUIDARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT2ARRAYOID, INT4OID, FLOAT8OID);

enum
{
	S_PLACE = 1,
	S_PART,
	S_HEARTBEATS,
	S_REQUESTS,
	S_ERRORS,
	S_COUNTED,
	S_LATENCY
};

static DbStatement nodes_query =
	DB_STATEMENT("SELECT id, name FROM hotswap.node WHERE tenant_id = $1 AND environment = $2"
				 " AND removed_at IS NULL ORDER BY name",
				 UUIDOID, TEXTOID);

static double
read_double(uint64 row, int column)
{
	bool isnull;

	return DatumGetFloat8(db_datum(row, column, &isnull));
}

static void
read_sums(uint64 row, MetricSums *w)
{
	w->heartbeats = db_int32(row, S_HEARTBEATS);
	w->requests = read_double(row, S_REQUESTS);
	w->errors = read_double(row, S_ERRORS);
	w->weights[METRIC_ERRORS] = read_double(row, S_COUNTED);
	for (int m = METRIC_LATENCY; m < METRICS; m++)
	{
		int column = S_LATENCY + 2 * (m - METRIC_LATENCY);

		w->logs[m] = read_double(row, column);
		w->weights[m] = read_double(row, column + 1);
	}
}

void
metric_read(const pg_uuid_t *tenant, Datum nodes, int count, TimestampTz from, TimestampTz until,
			int parts, MetricSums *sums)
{
	DbArgs args = db_args(&sums_query);
	uint64 found;

	memset(sums, 0, (size_t) count * parts * sizeof(MetricSums));
	db_arg_uuid(&args, tenant);
	db_arg_datum(&args, UUIDARRAYOID, nodes, false);
	db_arg_time(&args, from);
	db_arg_time(&args, until);
	db_arg_datum(&args, INT2ARRAYOID, metric_slots(from, until), false);
	db_arg_int32(&args, parts);
	/* the same for all metrics that have one */
	db_arg_datum(&args, FLOAT8OID, Float8GetDatum(metric_least[METRIC_LATENCY]), false);
	found = db_run_args(&args);
	for (uint64 i = 0; i < found; i++)
		read_sums(i, &sums[(db_int32(i, S_PLACE) - 1) * parts + db_int32(i, S_PART)]);
}

/* ---- node_levels() ---- */

enum
{
	L_NODE,
	L_NAME,
	L_REPORTS,
	L_REQUESTS,
	L_ERRORS,
	L_LATENCY, /* in the order of Metric */
	L_CPU,
	L_MEMORY,
	L_COLUMNS
};

static void
put_levels(ReturnSetInfo *result, Datum id, Datum name, const MetricSums *w)
{
	Datum values[L_COLUMNS] = { 0 };
	bool nulls[L_COLUMNS] = { false };
	bool counted = w->weights[METRIC_ERRORS] > 0;

	values[L_NODE] = id;
	values[L_NAME] = name;
	values[L_REPORTS] = Int32GetDatum(w->heartbeats);
	values[L_REQUESTS] = Int64GetDatum((int64) w->requests);
	values[L_ERRORS] = Int64GetDatum((int64) w->errors);
	nulls[L_REQUESTS] = nulls[L_ERRORS] = !counted;
	for (int m = METRIC_LATENCY; m < METRICS; m++)
	{
		int column = L_LATENCY + m - METRIC_LATENCY;

		nulls[column] = !(w->weights[m] > 0);
		if (!nulls[column])
			values[column] = Float8GetDatum(exp(w->logs[m] / w->weights[m]));
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
return_levels(ReturnSetInfo *result, const pg_uuid_t *tenant, const char *environment,
			  TimestampTz from, TimestampTz until)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment) };
	uint64 count = db_run(&nodes_query, args, NULL);
	Datum *ids = palloc(Max(count, 1) * sizeof(Datum));
	Datum *names = palloc(Max(count, 1) * sizeof(Datum));
	MetricSums *sums = palloc(Max(count, 1) * sizeof(MetricSums));

	for (uint64 i = 0; i < count; i++)
	{
		pg_uuid_t *id = palloc(sizeof(pg_uuid_t));

		*id = db_uuid(i, 1);
		ids[i] = UUIDPGetDatum(id);
		names[i] = CStringGetTextDatum(db_text(i, 2));
	}
	metric_read(tenant, uuid_array(ids, (int) count), (int) count, from, until, 1, sums);
	for (uint64 i = 0; i < count; i++)
		put_levels(result, ids[i], names[i], &sums[i]);
}

/*
 * node_levels(environment text, since timestamptz, until timestamptz, tenant uuid)
 *		returns (node_id, node, reports, requests, errors, latency_ms, cpu, memory)
 *
 * In: until NULL is now.  Errors: 22023, P0002 no such environment, 42501.  Locks nothing.
 */
Datum
hotswap_node_levels(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char *environment = arg_text(fcinfo, 0, "environment", NAME_LIMIT);
	TimestampTz from = arg_time(fcinfo, 1, "since");
	TimestampTz until = arg_time(fcinfo, 2, "until");
	pg_uuid_t tenant = tenant_argument(fcinfo, 3);
	DbScope scope;

	arg_require(fcinfo, 1, "since");
	if (until == ARG_TIME_NULL)
		until = GetCurrentTimestamp();
	if (from >= until)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"since\" must be earlier than \"until\"")));
	InitMaterializedSRF(fcinfo, 0);
	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_VIEWER, "look at nodes");
	environment_require(&tenant, environment);
	return_levels(result, &tenant, environment, from, until);
	db_leave(&scope);
	return (Datum) 0;
}
