/*
 * The verdicts of the analysis, on numbers that are small enough to check by hand.
 */
#include "rollout/analysis.h"
#include "rollout/student.h"
#include "tap.h"

#include <string.h>

#define NODES 12

static AnalysisNode nodes[NODES];
static AnalysisSettings settings;
static Analysis result;

/* A window in which each heartbeat says the same. */
static MetricSums
steady(int heartbeats, Heartbeat h)
{
	MetricSums w = { 0 };

	for (int i = 0; i < heartbeats; i++)
		sums_add(&w, &h);
	return w;
}

static void
fill(AnalysisNode *node, Heartbeat before, Heartbeat during)
{
	node->baseline = steady(120, before);
	for (int i = 0; i < THIRDS; i++)
		node->bake[i] = steady(10, during);
}

static Heartbeat
heartbeat(double errors, double latency)
{
	return (Heartbeat){
		.requests = 1000, .errors = errors, .latency = latency, .cpu = 40, .memory = 50
	};
}

/*
 * So many nodes, the first ones with the version: their errors go from 1 % to another share, those
 * of the others stay.  Nodes differ a little in what becomes of them.
 */
static void
given(int count, int treated, double errors)
{
	memset(nodes, 0, sizeof(nodes));
	settings = (AnalysisSettings){ .confidence = 0.95,
								   .threshold = { 0.5, 1.0, 0.3, 0.3 },
								   .expected = 120,
								   .bake_share = 0.25,
								   .waves = 5,
								   .looks = 1,
								   .look = 1 };
	for (int i = 0; i < count; i++)
	{
		double wobble = 1 + 0.02 * (i % 3 - 1);

		nodes[i].treated = i < treated;
		fill(&nodes[i], heartbeat(10, 50),
			 heartbeat((i < treated ? errors : 10) * wobble, 50 * wobble));
	}
}

static void
gives(int count, Verdict verdict, Method method, const char *name)
{
	analyse(&settings, nodes, count, &result);
	if (!ok(result.verdict == verdict && result.method == method, "%s", name))
		printf("# verdict %d by %d, expected %d by %d\n", result.verdict, result.method, verdict,
			   method);
}

/* The test against the textbook: means 1 and 0, two of each. */
static void
check_arithmetic(void)
{
	static const double changes[] = { 0.8, 1.2, -0.1, 0.1 };
	Comparison *c = &result.metrics[METRIC_LATENCY];

	given(4, 2, 10);
	for (int i = 0; i < 4; i++)
		fill(&nodes[i], heartbeat(10, 50 + i), heartbeat(10, (50 + i) * exp(changes[i])));
	analyse(&settings, nodes, 4, &result);
	/* pooled variance (0.08 + 0.02) / 2, its root times the root of 1/2 + 1/2 */
	is_near(c->t, 1 / sqrt(0.05), 1e-9, "t");
	is_near(c->p, student_tail(1 / sqrt(0.05), 2), 1e-12, "p");
	is_near(c->difference, exp(1) - 1, 1e-9, "the difference is that of the changes");
	is_near(c->control_level, sqrt(52 * 53), 1e-9, "a level is a geometric mean");
	is_near(c->alpha, 0.05 / 4 / 5, 1e-12, "the error is shared by metrics and waves");
	is_near(log1p(c->detectable),
			(student_quantile(0.0025, 2) + student_quantile(0.05, 2)) * sqrt(0.05), 1e-9,
			"what would have been found");
	is_near(log1p(c->at_least), 1 - student_quantile(0.0025, 2) * sqrt(0.05), 1e-9,
			"from where on the difference lies");
	is_near(log1p(c->at_most), 1 + student_quantile(0.0025, 2) * sqrt(0.05), 1e-9, "to where");
	settings.looks = 5;
	settings.look = 2;
	analyse(&settings, nodes, 4, &result);
	is_near(c->alpha, 0.0025 * 0.2 / 4, 1e-12, "four early looks share a fifth of it");
	settings.look = 5;
	analyse(&settings, nodes, 4, &result);
	is_near(c->alpha, 0.0025 * 0.8, 1e-12, "the last one has the rest");
	settings.threshold[METRIC_CPU] = settings.threshold[METRIC_MEMORY] = NAN;
	analyse(&settings, nodes, 4, &result);
	is_near(c->alpha, 0.005 * 0.8, 1e-12, "a metric that is not compared takes nothing of it");
	ok(!result.metrics[METRIC_CPU].compared, "nor is it compared");
}

static void
check_windows(void)
{
	Heartbeat silent = {
		.requests = NAN, .errors = NAN, .latency = NAN, .cpu = NAN, .memory = NAN
	};
	MetricSums w = steady(3, silent);

	is_int(w.heartbeats, 3, "a heartbeat that says nothing is one");
	is_near(w.requests + w.weights[METRIC_ERRORS] + w.weights[METRIC_CPU], 0, 0,
			"and measures nothing");
	silent.latency = 20;
	w = steady(2, silent);
	is_near(w.logs[METRIC_LATENCY] / w.weights[METRIC_LATENCY], log(20), 1e-12,
			"latency without requests: each heartbeat weighs the same");
	w = steady(1, heartbeat(0, 100));
	sums_add(&w,
			 &(Heartbeat){ .requests = 3000, .errors = 0, .latency = 10, .cpu = 0, .memory = 1 });
	is_near(w.logs[METRIC_LATENCY] / w.weights[METRIC_LATENCY], log(100) / 4 + log(10) * 3 / 4,
			1e-12, "else by its requests");
	ok(isfinite(w.logs[METRIC_CPU]), "nothing has a logarithm, too");
}

static void
check_tests(void)
{
	given(10, 2, 10);
	gives(10, VERDICT_PASS, METHOD_TEST, "no difference passes");
	given(10, 2, 20);
	settings.health_only = true;
	gives(10, VERDICT_PASS, METHOD_HEALTH, "where nothing is to be compared they do not");
	ok(!result.metrics[METRIC_ERRORS].compared, "nor are they looked at");
	settings.health_only = false;
	gives(10, VERDICT_FAIL, METHOD_TEST, "twice the errors fail");
	ok(result.metrics[METRIC_ERRORS].failed && !result.metrics[METRIC_LATENCY].failed,
	   "because of the errors");
	given(10, 1, 20);
	gives(10, VERDICT_FAIL, METHOD_TEST, "on a single node, too");
	given(10, 2, 14);
	gives(10, VERDICT_PASS, METHOD_TEST, "what is allowed passes, however sure it is");
	ok(result.metrics[METRIC_ERRORS].significant, "and sure it is");
	given(10, 2, 10);
	for (int i = 0; i < 10; i++)
		fill(&nodes[i], heartbeat(0, 50), heartbeat(0, i < 2 ? 150 : 50));
	gives(10, VERDICT_FAIL, METHOD_TEST, "nodes that all do the same make anything else sure");
	ok(result.metrics[METRIC_ERRORS].enough, "and where nothing happens, it would have been seen");
	given(10, 2, 5);
	gives(10, VERDICT_PASS, METHOD_TEST, "better is no failure");
	/* three times as many errors, but in a million requests */
	given(10, 2, 10);
	for (int i = 0; i < 10; i++)
		fill(&nodes[i], (Heartbeat){ 1e6, 10, 50, 40, 50 },
			 (Heartbeat){ 1e6, (i < 2 ? 30 : 10) + i % 3, 50 + i % 3, 40, 50 });
	gives(10, VERDICT_PASS, METHOD_TEST, "what does no harm passes");
	/* nodes that go up and down by a factor of three */
	given(10, 2, 10);
	for (int i = 0; i < 10; i++)
		fill(&nodes[i], heartbeat(10, 50), heartbeat(i % 2 ? 5 : 30, 50 + i % 3));
	gives(10, VERDICT_INCONCLUSIVE, METHOD_TEST, "nodes that differ too much tell nothing");
	ok(result.metrics[METRIC_ERRORS].detectable > 1, "a doubling would not have been found");
	ok(!result.metrics[METRIC_ERRORS].enough && result.metrics[METRIC_LATENCY].enough,
	   "of the errors; of the latency it would");
}

static void
check_few(void)
{
	given(9, 2, 25);
	gives(9, VERDICT_FAIL, METHOD_THRESHOLD, "few nodes: more than twice what is allowed fails");
	settings.looks = 2;
	gives(9, VERDICT_INCONCLUSIVE, METHOD_THRESHOLD, "but not before the end of the bake");
	given(9, 2, 25);
	nodes[0].bake[1] = nodes[1].bake[1] = steady(10, heartbeat(10, 50));
	gives(9, VERDICT_INCONCLUSIVE, METHOD_THRESHOLD, "nor when one third of it was good");
	given(9, 2, 10);
	gives(9, VERDICT_PASS, METHOD_THRESHOLD, "with enough data it passes");
	given(9, 2, 18);
	gives(9, VERDICT_INCONCLUSIVE, METHOD_THRESHOLD, "what a test would not let pass does not");
	given(4, 1, 10);
	for (int i = 0; i < 4; i++)
		fill(&nodes[i], heartbeat(10, 50), heartbeat(i % 2 ? 5 : 12, 50));
	gives(4, VERDICT_PASS, METHOD_THRESHOLD,
		  "below five nodes nothing is promised, and it goes on");
	settings.looks = 2;
	gives(4, VERDICT_INCONCLUSIVE, METHOD_THRESHOLD, "at the end of the bake");
	given(2, 1, 10);
	gives(2, VERDICT_PASS, METHOD_THRESHOLD, "two nodes");
	ok(isnan(result.metrics[METRIC_ERRORS].p), "have no test");
	ok(isinf(result.metrics[METRIC_ERRORS].detectable), "which would have found nothing");
	given(2, 1, 25);
	gives(2, VERDICT_FAIL, METHOD_THRESHOLD, "and fail like others");
}

static void
check_health(void)
{
	given(3, 3, 40);
	gives(3, VERDICT_PASS, METHOD_HEALTH, "nobody is left to compare with");
	settings.looks = 2;
	gives(3, VERDICT_INCONCLUSIVE, METHOD_HEALTH, "its bake goes on to the end");
	nodes[1].unhealthy = true;
	gives(3, VERDICT_FAIL, METHOD_HEALTH, "but not with a node that is unhealthy");
	given(10, 2, 10);
	nodes[5].unhealthy = true;
	gives(10, VERDICT_PASS, METHOD_TEST, "one without the version may be");
	nodes[1].unhealthy = true;
	gives(10, VERDICT_FAIL, METHOD_TEST, "one with it may not");
}

static void
check_silence(void)
{
	given(10, 2, 10);
	memset(nodes[1].bake, 0, sizeof(nodes[1].bake));
	gives(10, VERDICT_FAIL, METHOD_TEST, "one that has fallen silent fails");
	ok(nodes[1].silent && !nodes[0].silent, "and it is known which");
	settings.bake_share = 1.0 / 120;
	nodes[1].baseline.requests = 0;
	analyse(&settings, nodes, 10, &result);
	ok(!nodes[1].silent, "not where a single heartbeat was to be expected");
	given(10, 2, 10);
	for (int i = 0; i < THIRDS; i++)
		nodes[1].bake[i] = steady(4, heartbeat(10, 50));
	gives(10, VERDICT_FAIL, METHOD_TEST, "so does one with less than half of the heartbeats");
	for (int i = 2; i < 10; i++)
		for (int third = 0; third < THIRDS; third++)
			nodes[i].bake[third] = steady(4, heartbeat(10, 50 + i % 3));
	analyse(&settings, nodes, 10, &result);
	ok(!nodes[1].silent, "unless the others have as few");
	given(10, 2, 10);
	for (int i = 0; i < THIRDS; i++)
		nodes[1].bake[i] = steady(10, (Heartbeat){ 400, 4, 50, 40, 50 });
	gives(10, VERDICT_FAIL, METHOD_TEST, "or with less than half of the requests");
	given(3, 3, 10);
	memset(nodes[1].bake, 0, sizeof(nodes[1].bake));
	gives(3, VERDICT_FAIL, METHOD_HEALTH, "where nobody is left, it is known from before");
}

static void
check_left_out(void)
{
	given(11, 2, 10);
	nodes[0].disturbed = true;
	nodes[10].baseline = steady(59, heartbeat(10, 50));
	gives(11, VERDICT_PASS, METHOD_THRESHOLD, "who was disturbed, or is new, is left out");
	is_int(result.treated, 1, "one with the version is left");
	is_int(result.control, 8, "and eight without");
	ok(nodes[0].left_out && nodes[10].left_out && !nodes[1].left_out, "it is known who");
	nodes[1].disturbed = true;
	gives(11, VERDICT_INCONCLUSIVE, METHOD_THRESHOLD, "nothing to compare is no pass");
	given(10, 2, 10);
	for (int i = 2; i < 10; i++)
		nodes[i].disturbed = true;
	gives(10, VERDICT_INCONCLUSIVE, METHOD_THRESHOLD, "nor is nothing to compare with");
	given(10, 2, 10);
	for (int i = 0; i < THIRDS; i++)
		nodes[0].bake[i] = nodes[1].bake[i] = steady(10, (Heartbeat){ 0, 0, NAN, 90, 50 });
	for (int i = 0; i < 10; i++)
		nodes[i].baseline.requests = 0;
	gives(10, VERDICT_FAIL, METHOD_TEST, "where nobody counts requests, the rest is compared");
}

int
main(void)
{
	check_arithmetic();
	check_windows();
	check_tests();
	check_few();
	check_health();
	check_silence();
	check_left_out();
	return tap_end();
}
