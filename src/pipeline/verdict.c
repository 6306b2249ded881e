/*
 * verdict.c
 *		What nodes report decides about a wave: the analysis of rollout/analysis.c, on the rows of node_metric.
 *
 * The nodes with the version are those that the stage has swapped, the others those whose wave has not begun; a
 * node that has failed, was skipped or has gone is neither.  All are looked at in the same time, from when the last
 * of the wave has settled to now, each beside what it reported before the stage.
 *
 * Where another module was swapped on a node in that time, nobody can tell whose the difference is: the node is
 * left out, by name, so that two rollouts on the same nodes do not take each other's numbers for theirs.  What is
 * wrong with it whatever the others do, that it is unhealthy, is the matter of who came last.
 *
 * What is seen is written in the transaction of the visit, which decides by it, and is not changed.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include <math.h>

#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/metric_slot.h"
#include "core/node_health.h"
#include "core/plan.h"
#include "core/release.h"
#include "deployment/rollout_row.h"
#include "pipeline/metric.h"
#include "pipeline/verdict.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* What was before is that many bakes, and at least an hour. */
#define BASELINE_BAKES 4
#define BASELINE_LEAST USECS_PER_HOUR

/* In the order of Verdict. */
static const Gate gates[] = { GATE_PASSED, GATE_FAILED, GATE_INCONCLUSIVE };

/* hotswap.metric, in the order of Metric */
static const char *const metric_names[METRICS] = { "errors", "latency", "cpu", "memory" };

/* hotswap.analysis_method, in the order of Method */
static const char *const method_names[] = { "health", "threshold", "test" };

/*
 * $2 nodes, $3 the deployment, $4 its modules, $5 to $6 before it, of the slots $7.  Overtaken: another module came
 * to the node after this one, and is there.
 */
static DbStatement nodes_query = DB_STATEMENT(
	"SELECT n.name, EXISTS (SELECT FROM hotswap.node_module m WHERE m.tenant_id = $1"
	" AND m.node_id = n.id AND m.module <> ALL ($4) AND m.swapped_at >= $5),"
	" EXISTS (SELECT FROM (SELECT DISTINCT ON (m.module) m.module, m.swap, m.digest"
	" FROM hotswap.node_module m WHERE m.tenant_id = $1 AND m.node_id = n.id AND m.module <> ALL ($4)"
	" ORDER BY m.module, m.swap DESC) l WHERE l.swap > o.swap AND l.digest IS DISTINCT FROM"
	" (SELECT p.digest FROM hotswap.node_module p WHERE p.tenant_id = $1 AND p.node_id = n.id"
	" AND p.module = l.module AND p.swap < o.swap ORDER BY p.swap DESC LIMIT 1)),"
	" EXISTS (SELECT FROM hotswap.node_metric k WHERE k.tenant_id = $1 AND k.node_id = n.id AND k.counts),"
	" (SELECT pg_catalog.min(b.at) FROM hotswap.node_metric b WHERE b.tenant_id = $1"
	" AND b.node_id = n.id AND b.slot = ANY ($7) AND b.at >= $5 AND b.at < $6 AND b.counts)"
	" FROM unnest($2) WITH ORDINALITY x (id, place) JOIN hotswap.node n ON n.tenant_id = $1"
	" AND n.id = x.id CROSS JOIN LATERAL (SELECT pg_catalog.max(m.swap) AS swap"
	" FROM hotswap.node_module m WHERE m.tenant_id = $1 AND m.node_id = n.id AND m.deployment_id = $3) o"
	" ORDER BY x.place",
	UUIDOID, UUIDARRAYOID, UUIDOID, TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT2ARRAYOID);

enum
{
	N_NAME = 1,
	N_DISTURBED,
	N_OVERTAKEN,
	N_MEASURED,
	N_FIRST_REPORT
};

static DbStatement insert_row = DB_STATEMENT(
	"INSERT INTO hotswap.analysis (tenant_id, deployment_id, stage, at, metric, wave, look, method,"
	" verdict, gate, nodes_with, nodes_without, level_with, level_without, difference, at_least,"
	" at_most, threshold, p, alpha, detectable, baseline_since, since, left_out, reason)"
	" VALUES ($1, $2, $3, $4, $5::hotswap.metric, $6, $7, $8::hotswap.analysis_method,"
	" $9::hotswap.gate_result, $10::hotswap.gate_result, $11, $12, $13, $14, $15, $16, $17, $18, $19,"
	" $20, $21, $22, $23, $24, $25)",
	UUIDOID, UUIDOID, INT2OID, TIMESTAMPTZOID, TEXTOID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
	INT4OID, INT4OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID,
	FLOAT8OID, FLOAT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTOID);

static DbStatement reason_query = DB_STATEMENT(
	"SELECT pg_catalog.string_agg(a.reason, '; ' ORDER BY a.metric, a.function) FROM hotswap.analysis a"
	" WHERE a.tenant_id = $1 AND a.deployment_id = $2 AND a.stage = $3 AND a.wave = $4"
	" AND (a.metric = 'function' OR a.metric = 'health' AND a.at = (SELECT pg_catalog.max(l.at)"
	" FROM hotswap.analysis l WHERE l.tenant_id = $1 AND l.deployment_id = $2 AND l.stage = $3"
	" AND l.wave = $4 AND l.metric = 'health'))",
	UUIDOID, UUIDOID, INT2OID, INT4OID);

/* What is known of the nodes of a stage. */
typedef struct Evidence
{
	Visit *v;
	int count;
	Datum *ids; /* of pg_uuid_t */
	char **names;
	AnalysisNode *nodes;
	char *ill; /* what is wrong with one that has the version; NULL: nothing */
	bool is_measured;
	TimestampTz baseline; /* from then on ... */
	TimestampTz before;   /* ... until the stage began */
	TimestampTz since;    /* and now from then on ... */
	TimestampTz until;    /* ... to now */
	AnalysisSettings settings;
	Analysis result;
} Evidence;

/* A tenth of it, and at least a minute, as far as that leaves half of it. */
int64
verdict_settle(int64 bake)
{
	return Min(Max(bake / 10, USECS_PER_MINUTE), bake / 2);
}

/* ---- gathering ---- */

/* The nodes with the version and those that are still to get it. */
static void
find_nodes(Evidence *e)
{
	int most = Max(list_length(e->v->tasks), 1);
	ListCell *cell;

	e->ids = palloc(most * sizeof(Datum));
	e->names = palloc(most * sizeof(char *));
	e->nodes = palloc0(most * sizeof(AnalysisNode));
	foreach (cell, e->v->tasks)
	{
		const Task *task = lfirst(cell);

		if (task->kind != TASK_SWAP || task->steps == 0 ||
			(task->status != TASK_SUCCEEDED && task->status != TASK_PENDING))
			continue;
		e->nodes[e->count].treated = task->status == TASK_SUCCEEDED;
		e->ids[e->count++] = UUIDPGetDatum(&task->node);
	}
}

/* Who they are, and what else has come to them. */
static bool *
read_nodes(Evidence *e)
{
	bool *overtaken = palloc0(Max(e->count, 1) * sizeof(bool));
	DbArgs args = db_args(&nodes_query);
	TimestampTz first = e->before;

	db_arg_uuid(&args, &e->v->d.tenant);
	db_arg_datum(&args, UUIDARRAYOID, uuid_array(e->ids, e->count), false);
	db_arg_uuid(&args, &e->v->d.id);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(target_modules(deployment_targets(&e->v->d))),
				 false);
	db_arg_time(&args, e->baseline);
	db_arg_time(&args, e->before);
	db_arg_datum(&args, INT2ARRAYOID, metric_slots(e->baseline, e->before), false);
	if (db_run_args(&args) != (uint64) e->count)
		elog(ERROR, "a node has disappeared");
	for (int i = 0; i < e->count; i++)
	{
		e->names[i] = db_text(i, N_NAME);
		e->nodes[i].disturbed = db_bool(i, N_DISTURBED);
		overtaken[i] = db_bool(i, N_OVERTAKEN);
		e->is_measured = e->is_measured || db_bool(i, N_MEASURED);
		first = Min(first, db_time(i, N_FIRST_REPORT, e->before));
	}
	/* nobody reported before: it begins when somebody did */
	e->baseline = first;
	return overtaken;
}

static void
read_health(Evidence *e, const bool *overtaken)
{
	ListCell *cell;

	foreach (cell, node_health_read(&e->v->d.tenant, e->v->stage->environment, NULL))
	{
		const NodeHealth *h = lfirst(cell);

		for (int i = 0; h->state == HEALTH_UNHEALTHY && i < e->count; i++)
		{
			if (!uuid_equal(DatumGetUUIDP(e->ids[i]), &h->node) || overtaken[i])
				continue;
			e->nodes[i].unhealthy = true;
			if (e->nodes[i].treated && e->ill == NULL)
				e->ill = psprintf("node \"%s\" is unhealthy: %s", h->name,
								  (char *) linitial(h->reasons));
		}
	}
}

static int
compare_counts(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

/* How many reports a node is expected to have made: the median of those that have made any. */
static double
expected_reports(const Evidence *e)
{
	int *counts = palloc(Max(e->count, 1) * sizeof(int));
	int reporting = 0;
	int middle;

	for (int i = 0; i < e->count; i++)
		if (e->nodes[i].baseline.heartbeats > 0)
			counts[reporting++] = e->nodes[i].baseline.heartbeats;
	if (reporting == 0)
		return 0;
	qsort(counts, reporting, sizeof(int), compare_counts);
	middle = reporting / 2;
	return counts[middle];
}

static void
read_metrics(Evidence *e)
{
	MetricSums *sums = palloc(Max(e->count, 1) * THIRDS * sizeof(MetricSums));
	Datum ids = uuid_array(e->ids, e->count);

	metric_read(&e->v->d.tenant, ids, e->count, e->baseline, e->before, 1, sums);
	for (int i = 0; i < e->count; i++)
		e->nodes[i].baseline = sums[i];
	metric_read(&e->v->d.tenant, ids, e->count, e->since, e->until, THIRDS, sums);
	for (int i = 0; i < e->count; i++)
		memcpy(e->nodes[i].bake, &sums[i * THIRDS], THIRDS * sizeof(MetricSums));
}

static void
gather(Evidence *e, TimestampTz swapped)
{
	const RolloutRow *r = e->v->rollout;
	int64 bake = rollout_bake_length(r);
	bool *overtaken;

	e->before = e->v->stage->started_at;
	e->baseline = e->before - Max(BASELINE_BAKES * bake, BASELINE_LEAST);
	e->until = GetCurrentTimestamp();
	e->since = swapped + verdict_settle(bake);
	find_nodes(e);
	overtaken = read_nodes(e);
	if (!e->is_measured)
		return;
	read_health(e, overtaken);
	read_metrics(e);
}

/* Has everything been switched off? */
static bool
compares_nothing(const RolloutRow *r)
{
	for (int m = 0; m < METRICS; m++)
		if (!isnan(r->analysis.threshold[m]))
			return false;
	return true;
}

static void
analyse_evidence(Evidence *e, int look, int looks)
{
	const RolloutRow *r = e->v->rollout;
	double before = (double) (e->before - e->baseline);

	e->settings = r->analysis;
	e->settings.health_only = r->plan.strategy == STRATEGY_ROLLING || compares_nothing(r);
	e->settings.expected = expected_reports(e);
	e->settings.bake_share = before > 0 ? (double) (e->until - e->since) / before : 0;
	e->settings.waves = Max(r->waves - 1, 1);
	e->settings.looks = looks;
	e->settings.look = look;
	analyse(&e->settings, e->nodes, e->count, &e->result);
}

/* ---- words ---- */

static List *
names_left_out(const Evidence *e)
{
	List *names = NIL;

	for (int i = 0; i < e->count; i++)
		if (e->nodes[i].left_out)
			names = lappend(names, e->names[i]);
	return names;
}

/* By how much more; a test says between what it lies. */
static char *
difference_words(Metric metric, const Comparison *c)
{
	if (isnan(c->t))
		return psprintf("%s %+.0f %%", metric_names[metric], 100 * c->difference);
	return psprintf("%s %+.0f %% (%+.0f to %+.0f)", metric_names[metric], 100 * c->difference,
					100 * c->at_least, 100 * c->at_most);
}

/* All differences, or those that are too much. */
static void
add_differences(const Evidence *e, StringInfo words, bool too_much)
{
	for (int m = 0; m < METRICS; m++)
	{
		const Comparison *c = &e->result.metrics[m];

		if (!c->compared || (too_much && !c->failed))
			continue;
		appendStringInfo(words, "%s%s", words->len > 0 ? ", " : "", difference_words(m, c));
		if (too_much)
			appendStringInfo(words, ", more than %.0f %%",
							 (e->result.method == METHOD_THRESHOLD ? 200 : 100) *
								 e->settings.threshold[m]);
	}
}

/* What it would take to see a difference that must not pass. */
static void
add_lack(const Evidence *e, StringInfo words)
{
	for (int m = 0; m < METRICS; m++)
	{
		const Comparison *c = &e->result.metrics[m];

		if (!c->compared || c->enough)
			continue;
		if (isinf(c->detectable))
			appendStringInfo(words, "; no difference of %s would have been found", metric_names[m]);
		else
			appendStringInfo(
				words,
				"; of %s the smallest that would have been found is %+.0f %%, and must be %+.0f %%",
				metric_names[m], 100 * c->detectable, 200 * e->settings.threshold[m]);
	}
}

static char *
find_silent(const Evidence *e)
{
	for (int i = 0; i < e->count; i++)
		if (e->nodes[i].silent)
			return psprintf("node \"%s\" has fallen silent, or gets no requests any more",
							e->names[i]);
	return NULL;
}

static char *
reason_of(const Evidence *e)
{
	List *left_out = names_left_out(e);
	char *silent = find_silent(e);
	StringInfoData words;

	initStringInfo(&words);
	if (e->ill || silent)
		appendStringInfoString(&words, e->ill ? e->ill : silent);
	add_differences(e, &words, e->result.verdict == VERDICT_FAIL);
	if (words.len == 0)
		appendStringInfoString(&words, e->result.method == METHOD_HEALTH ?
										   "no node is unhealthy" :
										   "there are no nodes to be compared");
	if (e->result.verdict == VERDICT_INCONCLUSIVE)
		add_lack(e, &words);
	if (left_out != NIL)
		appendStringInfo(&words, "; left out: %s", plan_names(left_out));
	return words.data;
}

/* ---- recording ---- */

static void
arg_number(DbArgs *args, double value, bool is_known)
{
	is_known = is_known && !isnan(value);
	db_arg_datum(args, FLOAT8OID, is_known ? Float8GetDatum(value) : (Datum) 0, !is_known);
}

/* What a metric says by itself; NULL is health, of which there are no numbers. */
static Gate
verdict_of(const Evidence *e, const Comparison *c)
{
	if (c == NULL)
		return e->ill || find_silent(e) ? GATE_FAILED : GATE_PASSED;
	if (c->failed)
		return GATE_FAILED;
	return c->enough || e->result.verdict == VERDICT_PASS ? GATE_PASSED : GATE_INCONCLUSIVE;
}

static void
record(const Evidence *e, const char *metric, const Comparison *c, double threshold,
	   const char *reason)
{
	static const Comparison none;
	bool compared = c != NULL;
	const Comparison *n = c ? c : &none;
	DbArgs args = db_args(&insert_row);

	db_arg_uuid(&args, &e->v->d.tenant);
	db_arg_uuid(&args, &e->v->d.id);
	db_arg_int16(&args, e->v->stage->ordinal);
	db_arg_time(&args, e->until);
	db_arg_text(&args, metric);
	db_arg_int32(&args, e->v->rollout->wave);
	db_arg_int32(&args, e->settings.look);
	db_arg_text(&args, method_names[e->result.method]);
	db_arg_text(&args, gate_names[verdict_of(e, c)]);
	db_arg_text(&args, gate_names[gates[e->result.verdict]]);
	db_arg_int32(&args, c ? c->treated : e->result.treated);
	db_arg_int32(&args, c ? c->control : e->result.control);
	arg_number(&args, n->treated_level, compared);
	arg_number(&args, n->control_level, compared);
	arg_number(&args, n->difference, compared);
	arg_number(&args, n->at_least, compared && !isnan(n->t));
	arg_number(&args, n->at_most, compared && !isnan(n->t));
	arg_number(&args, threshold, compared);
	arg_number(&args, n->p, compared);
	arg_number(&args, n->alpha, compared);
	arg_number(&args, n->detectable, compared);
	db_arg_time(&args, e->baseline);
	db_arg_time(&args, e->since);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(names_left_out(e)), false);
	db_arg_text(&args, reason);
	(void) db_run_args(&args);
}

Gate
verdict_look(Visit *v, TimestampTz swapped, int look, int looks, char **reason)
{
	Evidence e = { .v = v };

	gather(&e, swapped);
	if (!e.is_measured)
		return GATE_UNMEASURED;
	analyse_evidence(&e, look, looks);
	*reason = reason_of(&e);
	record(&e, "health", NULL, NAN, *reason);
	for (int m = 0; m < METRICS; m++)
		if (e.result.metrics[m].compared)
			record(&e, metric_names[m], &e.result.metrics[m], e.settings.threshold[m], NULL);
	return gates[e.result.verdict];
}

char *
verdict_reason(const Deployment *d, int stage, int wave)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage),
					 Int32GetDatum(wave) };

	return db_run(&reason_query, args, NULL) > 0 ? db_text(0, 1) : NULL;
}
