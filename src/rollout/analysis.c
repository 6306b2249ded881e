/*
 * analysis.c
 *		Are the nodes that have a version worse than those that do not?
 *
 * The unit is the node: heartbeats of one node are no independent samples, and nodes differ.  Each
 * node gives one number a metric, the logarithm of its level in the bake less that of its baseline,
 * so it is its own control; the time of day cancels against the nodes without the version.  Those
 * numbers are compared by Student's t test with a pooled variance, which works for a single node with
 * the version, too.  The error allowed is shared by all metrics, waves and looks of a rollout.
 *
 * Sources: Donald and Lang 2007 (Rev. Econ. Stat. 89:221) for one number a group; Bertrand, Duflo and
 * Mullainathan 2004 (QJE 119:249) for before and after; Crawford and Howell 1998 for a single case.
 *
 * Knows no server and allocates nothing.
 */
#include "rollout/analysis.h"

#include "rollout/student.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* A test needs that many nodes. */
#define TEST_NODES 10

/* From here on a version that doubles the errors must not pass, so a pass needs enough data. */
#define PROMISED_NODES 5

/* Fewer heartbeats and requests than these say nothing when some are missing. */
#define TELLING_HEARTBEATS 2
#define TELLING_REQUESTS 100

/* A share of errors has a logarithm by the way it is estimated. */
const double metric_least[METRICS] = { 0, 0.1, 0.1, 0.1 };

/* A difference that is smaller than this does no harm: 0.1 points of errors, 5 ms, 5 points. */
static const double harmless[METRICS] = { 0.001, 5, 5, 5 };

static void
add_logarithm(MetricSums *w, Metric metric, double value, double weight)
{
	if (isnan(value) || isnan(weight))
		return;
	w->logs[metric] += weight * log(fmax(value, metric_least[metric]));
	w->weights[metric] += weight;
}

void
sums_add(MetricSums *w, const Heartbeat *h)
{
	w->heartbeats++;
	if (!isnan(h->requests) && !isnan(h->errors))
	{
		w->requests += h->requests;
		w->errors += h->errors;
		w->weights[METRIC_ERRORS] += 1;
	}
	/* a node that does not count its requests weighs its heartbeats alike */
	add_logarithm(w, METRIC_LATENCY, h->latency, isnan(h->requests) ? 1 : h->requests);
	add_logarithm(w, METRIC_CPU, h->cpu, 1);
	add_logarithm(w, METRIC_MEMORY, h->memory, 1);
}

void
sums_merge(MetricSums *w, const MetricSums *other)
{
	w->heartbeats += other->heartbeats;
	w->requests += other->requests;
	w->errors += other->errors;
	for (int m = 0; m < METRICS; m++)
	{
		w->logs[m] += other->logs[m];
		w->weights[m] += other->weights[m];
	}
}

/* The logarithm of a metric's level in a window; NAN: it was not measured. */
static double
sums_level(const MetricSums *w, Metric metric)
{
	if (!(w->weights[metric] > 0))
		return NAN;
	if (metric == METRIC_ERRORS)
		return w->requests > 0 ? log((w->errors + 0.5) / (w->requests + 1)) : NAN;
	return w->logs[metric] / w->weights[metric];
}

/* The whole bake of a node (third < 0), or a third of it. */
static MetricSums
bake_sums(const AnalysisNode *node, int third)
{
	MetricSums w = { 0 };

	for (int i = 0; i < THIRDS; i++)
		if (third < 0 || third == i)
			sums_merge(&w, &node->bake[i]);
	return w;
}

/* ---- who is compared ---- */

/* What the nodes without the version did in the bake, as a share of their baselines. */
static void
control_pace(const AnalysisNode *nodes, int count, double *heartbeats, double *requests)
{
	MetricSums before = { 0 };
	MetricSums during = { 0 };

	for (int i = 0; i < count; i++)
	{
		MetricSums bake = bake_sums(&nodes[i], -1);

		if (nodes[i].treated || nodes[i].left_out)
			continue;
		sums_merge(&before, &nodes[i].baseline);
		sums_merge(&during, &bake);
	}
	*heartbeats = before.heartbeats > 0 ? (double) during.heartbeats / before.heartbeats : NAN;
	*requests = before.requests > 0 ? during.requests / before.requests : NAN;
}

/*
 * Is it too quiet?  One that crashes again and again says little, and gets no requests; what is
 * missing must not be taken for too little data.
 */
static bool
is_silent(const AnalysisSettings *settings, const AnalysisNode *node, double heartbeats,
		  double requests)
{
	MetricSums bake = bake_sums(node, -1);
	double expected = node->baseline.heartbeats * fmin(heartbeats, settings->bake_share);
	double expected_requests = node->baseline.requests * requests;

	if (isnan(heartbeats))
		expected = node->baseline.heartbeats * settings->bake_share;
	if (expected >= TELLING_HEARTBEATS && bake.heartbeats < expected / 2)
		return true;
	return expected_requests >= TELLING_REQUESTS && bake.requests < expected_requests / 2;
}

/* Leaves out whom there is nothing to compare with, and finds who has fallen silent. */
static void
sort_nodes(const AnalysisSettings *settings, AnalysisNode *nodes, int count, Analysis *out)
{
	double heartbeats;
	double requests;

	for (int i = 0; i < count; i++)
		nodes[i].left_out = nodes[i].disturbed || nodes[i].baseline.heartbeats == 0 ||
							nodes[i].baseline.heartbeats < settings->expected / 2;
	control_pace(nodes, count, &heartbeats, &requests);
	for (int i = 0; i < count; i++)
	{
		nodes[i].silent = nodes[i].treated && !nodes[i].left_out &&
						  is_silent(settings, &nodes[i], heartbeats, requests);
		if (nodes[i].left_out)
			continue;
		if (nodes[i].treated)
			out->treated++;
		else
			out->control++;
	}
}

/* ---- the comparison ---- */

/* Means and sums of squares, one pass over the nodes (Welford). */
typedef struct Group
{
	int count;
	double mean;
	double squares;
	double level; /* sum of the logarithms of the levels in the bake */
} Group;

static void
group_add(Group *g, double value, double level)
{
	double delta = value - g->mean;

	g->count++;
	g->mean += delta / g->count;
	g->squares += delta * (value - g->mean);
	g->level += level;
}

static void
gather(Metric metric, int third, const AnalysisNode *nodes, int count, Group groups[2])
{
	memset(groups, 0, 2 * sizeof(Group));
	for (int i = 0; i < count; i++)
	{
		MetricSums bake = bake_sums(&nodes[i], third);
		double level = sums_level(&bake, metric);
		double before = sums_level(&nodes[i].baseline, metric);

		if (!nodes[i].left_out && !isnan(level) && !isnan(before))
			group_add(&groups[nodes[i].treated], level - before, level);
	}
}

/* Is a difference more than so many times what the settings allow, and more than harmless? */
static bool
exceeds(const AnalysisSettings *settings, Metric metric, double difference, double control_level,
		double times)
{
	return difference > times * settings->threshold[metric] &&
		   difference * control_level > harmless[metric];
}

static double
difference_of(const Group groups[2])
{
	return exp(groups[true].mean - groups[false].mean) - 1;
}

/*
 * The test, and whether it had a chance.  Where one node of each kind is all there is, nobody knows
 * how much nodes differ.
 */
static void
test(const AnalysisSettings *settings, Metric metric, const Group groups[2], Comparison *c)
{
	double freedom = c->treated + c->control - 2;
	double error = sqrt((groups[0].squares + groups[1].squares) / freedom *
						(1.0 / c->treated + 1.0 / c->control));
	double allowed = fmax(settings->threshold[metric], harmless[metric] / c->control_level);
	double log_difference = groups[true].mean - groups[false].mean;
	double margin;
	double
		log_detectable; /* logarithm of 1 and the smallest difference that would have been found */

	c->t = c->p = NAN;
	c->detectable = INFINITY;
	if (freedom < 1)
		return;
	c->t = log_difference;
	/* nodes that all did exactly the same */
	if (c->t != 0)
		c->t /= error;
	c->p = student_tail(c->t, freedom);
	c->significant = c->p < c->alpha;
	margin = student_quantile(c->alpha, freedom) * error;
	c->at_least = exp(log_difference - margin) - 1;
	c->at_most = exp(log_difference + margin) - 1;
	log_detectable = margin + student_quantile(0.05, freedom) * error;
	c->detectable = exp(log_detectable) - 1;
	c->enough = log_detectable <= log(1 + 2 * allowed);
}

/* Is it worse by twice of what is allowed in each third of the bake? */
static bool
fails_in_thirds(const AnalysisSettings *settings, Metric metric, const AnalysisNode *nodes,
				int count)
{
	for (int third = 0; third < THIRDS; third++)
	{
		Group groups[2];

		gather(metric, third, nodes, count, groups);
		if (groups[0].count == 0 || groups[1].count == 0 ||
			!exceeds(settings, metric, difference_of(groups),
					 exp(groups[false].level / groups[false].count), 2))
			return false;
	}
	return true;
}

static void
compare(const AnalysisSettings *settings, Metric metric, const AnalysisNode *nodes, int count,
		Method method, Comparison *c)
{
	Group groups[2];

	gather(metric, -1, nodes, count, groups);
	c->treated = groups[true].count;
	c->control = groups[false].count;
	c->compared = c->treated > 0 && c->control > 0;
	if (!c->compared)
		return;
	c->treated_level = exp(groups[true].level / c->treated);
	c->control_level = exp(groups[false].level / c->control);
	c->difference = difference_of(groups);
	test(settings, metric, groups, c);
	if (method == METHOD_TEST)
		c->failed = c->significant && exceeds(settings, metric, c->difference, c->control_level, 1);
	else
		c->failed =
			settings->look == settings->looks && fails_in_thirds(settings, metric, nodes, count);
}

/* ---- the verdict ---- */

/* The error that one comparison at this look may have: the last look has most of what a bake has. */
static double
share_of_error(const AnalysisSettings *settings)
{
	int metrics = 0;
	double share;

	for (int m = 0; m < METRICS; m++)
		metrics += !isnan(settings->threshold[m]);
	share = (1 - settings->confidence) / fmax(metrics, 1) / fmax(settings->waves, 1);
	if (settings->looks == 1)
		return share;
	return settings->look == settings->looks ? 0.8 * share : 0.2 * share / (settings->looks - 1);
}

/* Errors and latency decide whether there is enough data; where nobody measures them, what there is. */
static bool
is_decisive(const Analysis *a, Metric metric)
{
	return metric <= METRIC_LATENCY ||
		   (!a->metrics[METRIC_ERRORS].compared && !a->metrics[METRIC_LATENCY].compared);
}

static Verdict
judge(const AnalysisSettings *settings, const Analysis *a)
{
	int decisive = 0;
	bool enough = true;

	for (int m = 0; m < METRICS; m++)
	{
		const Comparison *c = &a->metrics[m];

		if (c->failed)
			return VERDICT_FAIL;
		if (!c->compared || !is_decisive(a, m))
			continue;
		decisive++;
		/* with few nodes a test does not send back, but it does not let pass either */
		enough = enough && c->enough &&
				 !(c->significant && exceeds(settings, m, c->difference, c->control_level, 1));
	}
	if (decisive == 0)
		return VERDICT_INCONCLUSIVE;
	if (a->method == METHOD_THRESHOLD && a->treated + a->control < PROMISED_NODES)
		return settings->look == settings->looks ? VERDICT_PASS : VERDICT_INCONCLUSIVE;
	return enough ? VERDICT_PASS : VERDICT_INCONCLUSIVE;
}

void
analyse(const AnalysisSettings *settings, AnalysisNode *nodes, int count, Analysis *out)
{
	bool healthy = true;
	bool any_control = false;

	memset(out, 0, sizeof(*out));
	sort_nodes(settings, nodes, count, out);
	for (int i = 0; i < count; i++)
	{
		any_control = any_control || !nodes[i].treated;
		healthy = healthy && !(nodes[i].treated && (nodes[i].unhealthy || nodes[i].silent));
	}
	if (!any_control || settings->health_only)
		out->method = METHOD_HEALTH;
	else
		out->method = out->treated + out->control < TEST_NODES ? METHOD_THRESHOLD : METHOD_TEST;
	for (int m = 0; m < METRICS; m++)
	{
		out->metrics[m].alpha = share_of_error(settings);
		if (!isnan(settings->threshold[m]) && out->method != METHOD_HEALTH)
			compare(settings, m, nodes, count, out->method, &out->metrics[m]);
	}
	if (!healthy)
		out->verdict = VERDICT_FAIL;
	else if (out->method == METHOD_HEALTH)
		out->verdict = settings->look == settings->looks ? VERDICT_PASS : VERDICT_INCONCLUSIVE;
	else
		out->verdict = judge(settings, out);
}
