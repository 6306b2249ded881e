/*
 * Simulated rollouts: how many go back, pause and pass, where nothing is wrong and where the errors
 * are doubled.
 *
 *	simulation                   a few rows, in seconds
 *	simulation ROLLOUTS LOOKS    all, with so many rollouts a row; bench/run does it
 *
 * Nodes differ (for good), the day has its course, and each node's noise is correlated in time, an
 * AR(1) process: heartbeats of a node are no independent samples. Errors are Poisson, of which a
 * usual node has 90 in a bake and a sparse one 6. Metrics are errors, latency, CPU and memory; a
 * heartbeat comes every 30 s, a bake lasts for 30 of them, of which three are left to cold caches.
 * Waves are those of a canary, 10 % and then 20 % more each.
 */
#include "rollout/analysis.h"
#include "tap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MOST_NODES 50
#define BAKE 30
#define SETTLE 3
#define BASELINE (4 * BAKE)
#define DAY 2880
#define RHO 0.95

typedef struct Profile
{
	const char *name;
	double node;     /* standard deviation between nodes */
	double slow;     /* of a node's own drift */
	double requests; /* of a heartbeat */
	double spikes;   /* share of the bakes of a node that are 2.5 times as high */
} Profile;

static const Profile profiles[] = {
	{ "calm", 0.1, 0.05, 300, 0 },      { "usual", 0.3, 0.15, 300, 0 },
	{ "rough", 0.5, 0.3, 300, 0 },      { "sparse", 0.3, 0.15, 20, 0 },
	{ "spikes", 0.3, 0.15, 300, 0.03 },
};

enum
{
	CALM,
	USUAL,
	ROUGH,
	SPARSE,
	SPIKES
};

/* What is usual: 1 % errors, 50 ms, 40 % CPU, 50 % memory. */
static const double usual_level[METRICS] = { 0.01, 50, 40, 50 };

typedef enum Outcome
{
	WENT_BACK,
	PAUSED,
	PASSED,
	OUTCOMES
} Outcome;

/* ---- chance: splitmix64, and the polar method ---- */

static uint64_t state;

static double
uniform(void)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (double) ((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static double
normal(void)
{
	static double kept = NAN;
	double result = kept;
	double x;
	double y;
	double square;

	kept = NAN;
	if (!isnan(result))
		return result;
	do
	{
		x = 2 * uniform() - 1;
		y = 2 * uniform() - 1;
		square = x * x + y * y;
	} while (square >= 1 || square == 0);
	square = sqrt(-2 * log(square) / square);
	kept = y * square;
	return x * square;
}

/* Small numbers: those of a heartbeat. */
static double
poisson(double mean)
{
	double left = exp(-mean);
	double product = uniform();
	int result = 0;

	while (product > left && result < 1000)
	{
		product *= uniform();
		result++;
	}
	return result;
}

/* ---- nodes ---- */

typedef struct SimulatedNode
{
	double own[METRICS];   /* how it differs from the others */
	double drift[METRICS]; /* where its noise has got to */
	double spike;          /* how many times its usual level it has in this bake */
} SimulatedNode;

static void
begin_node(const Profile *p, SimulatedNode *s)
{
	for (int m = 0; m < METRICS; m++)
	{
		s->own[m] = p->node * normal();
		s->drift[m] = p->slow * normal();
	}
	s->spike = 1;
}

static void
beat(const Profile *p, SimulatedNode *s, double day, double factor, MetricSums *w)
{
	double level[METRICS];
	Heartbeat h;

	for (int m = 0; m < METRICS; m++)
	{
		s->drift[m] = RHO * s->drift[m] + sqrt(1 - RHO * RHO) * p->slow * normal();
		level[m] = usual_level[m] * exp(s->own[m] + day + s->drift[m] + 0.15 * normal());
	}
	level[METRIC_ERRORS] *= factor * s->spike;
	h.requests = p->requests;
	h.errors = fmin(poisson(p->requests * level[METRIC_ERRORS]), p->requests);
	h.latency = level[METRIC_LATENCY] * s->spike;
	h.cpu = level[METRIC_CPU] * s->spike;
	h.memory = level[METRIC_MEMORY];
	sums_add(w, &h);
}

/* ---- a rollout ---- */

static int
share(int nodes, int percent)
{
	return (nodes * percent + 99) / 100;
}

/* What a look decides; the rollout goes on with PASSED. */
static Outcome
look(AnalysisSettings *settings, AnalysisNode *nodes, int count, int have, int next)
{
	Analysis a;

	analyse(settings, nodes, count, &a);
	if (a.verdict == VERDICT_FAIL)
		return WENT_BACK;
	if (a.verdict == VERDICT_INCONCLUSIVE && settings->look == settings->looks &&
		2 * have <= count && 2 * next > count)
		return PAUSED;
	return PASSED;
}

/* The window of a look: from the cold caches to now, in thirds. */
static int
third_of(int beat, int looks, int look)
{
	int length = BAKE * look / looks - SETTLE;

	return beat - SETTLE >= length ? -1 : (beat - SETTLE) * THIRDS / length;
}

static Outcome
bake(const Profile *p, AnalysisSettings *settings, AnalysisNode *nodes, SimulatedNode *simulated,
	 int count, int have, int next, double factor, int *clock, double phase)
{
	static MetricSums beats[MOST_NODES][BAKE];

	memset(beats, 0, sizeof(beats));
	for (int i = 0; i < count; i++)
		simulated[i].spike = uniform() < p->spikes ? 2.5 : 1;
	for (int b = 0; b < BAKE; b++, ++*clock)
		for (int i = 0; i < count; i++)
			beat(p, &simulated[i], 0.3 * sin(2 * M_PI * *clock / DAY + phase),
				 nodes[i].treated ? factor : 1, &beats[i][b]);
	for (settings->look = 1; settings->look <= settings->looks; settings->look++)
	{
		Outcome outcome;

		for (int i = 0; i < count; i++)
		{
			memset(nodes[i].bake, 0, sizeof(nodes[i].bake));
			for (int b = SETTLE; b < BAKE; b++)
			{
				int third = third_of(b, settings->looks, settings->look);

				if (third >= 0)
					sums_merge(&nodes[i].bake[third], &beats[i][b]);
			}
		}
		settings->bake_share =
			((double) BAKE * settings->look / settings->looks - SETTLE) / BASELINE;
		outcome = look(settings, nodes, count, have, next);
		if (outcome != PASSED)
			return outcome;
	}
	return PASSED;
}

static Outcome
rollout(const Profile *p, int count, double factor, int looks)
{
	AnalysisSettings settings = { .confidence = 0.95,
								  .threshold = { 0.5, 1.0, 0.3, 0.3 },
								  .expected = BASELINE,
								  .looks = looks };
	AnalysisNode nodes[MOST_NODES] = { 0 };
	SimulatedNode simulated[MOST_NODES];
	double phase = 2 * M_PI * uniform();
	int clock = 0;

	for (int have = share(count, 10); have < count; have += share(count, 20))
		settings.waves++;
	for (int i = 0; i < count; i++)
		begin_node(p, &simulated[i]);
	for (; clock < BASELINE; clock++)
		for (int i = 0; i < count; i++)
			beat(p, &simulated[i], 0.3 * sin(2 * M_PI * clock / DAY + phase), 1,
				 &nodes[i].baseline);
	for (int have = share(count, 10); have <= count;)
	{
		int next = have == count ? count + 1 : have + share(count, 20);
		Outcome outcome;

		if (next > count && have < count)
			next = count;
		for (int i = 0; i < have; i++)
			nodes[i].treated = true;
		outcome = bake(p, &settings, nodes, simulated, count, have, next, factor, &clock, phase);
		if (outcome != PASSED)
			return outcome;
		have = next;
	}
	return PASSED;
}

/* ---- the table ---- */

static void
row(const Profile *p, int count, double factor, int looks, int runs, double percent[OUTCOMES])
{
	int outcomes[OUTCOMES] = { 0 };

	for (int run = 0; run < runs; run++)
		outcomes[rollout(p, count, factor, looks)]++;
	for (int i = 0; i < OUTCOMES; i++)
		percent[i] = 100.0 * outcomes[i] / runs;
	printf("# %-6s | %5d | %6s | %5d | %6.1f | %6.1f | %6.1f\n", p->name, count,
		   factor > 1 ? "x 2" : "-", looks, percent[WENT_BACK], percent[PAUSED], percent[PASSED]);
	fflush(stdout);
}

/*
 * At most 5 percent of good rollouts go back.  Rough nodes and spikes are worse than what is
 * promised for: there it may be twice as many.
 */
static void
good(int profile, int count, int looks, int runs)
{
	int limit = profile == ROUGH || profile == SPIKES ? 10 : 5;
	double percent[OUTCOMES];

	row(&profiles[profile], count, 1, looks, runs, percent);
	ok(percent[WENT_BACK] <= limit, "%s, %d nodes: at most %d %% of good rollouts go back",
	   profiles[profile].name, count, limit);
}

/* A version that doubles the errors hardly ever passes; where it can be seen, it goes back. */
static void
bad(int profile, int count, int looks, int runs)
{
	bool seen = profile <= USUAL ? count >= 10 : profile == SPARSE && count >= 50;
	double percent[OUTCOMES];

	row(&profiles[profile], count, 2, looks, runs, percent);
	ok(percent[PASSED] <= 5, "%s, %d nodes: at most 5 %% with doubled errors pass",
	   profiles[profile].name, count);
	if (seen)
		ok(percent[WENT_BACK] >= 95, "%s, %d nodes: at least 95 %% with doubled errors go back",
		   profiles[profile].name, count);
}

/* The rows that say most in a few seconds. */
static void
some_rows(int runs)
{
	for (int looks = 1; looks <= 5; looks += 4)
		for (int count = 5; count <= 20; count *= 2)
		{
			good(USUAL, count, looks, runs);
			bad(USUAL, count, looks, runs);
		}
	good(ROUGH, 10, 1, runs);
	bad(ROUGH, 10, 1, runs);
	good(SPIKES, 10, 1, runs);
	bad(SPARSE, 5, 1, runs);
	bad(SPARSE, 50, 1, runs);
}

/* All of them; those that are not promised for with a tenth of the rollouts. */
static void
all_rows(int runs, int looks)
{
	static const int sizes[] = { 5, 8, 10, 15, 20, 30, 50 };

	for (int profile = CALM; profile <= SPIKES; profile++)
		for (int i = 0; i < 7; i++)
		{
			good(profile, sizes[i], looks, profile == USUAL ? runs : runs / 10);
			bad(profile, sizes[i], looks, profile == USUAL ? runs : runs / 10);
		}
}

int
main(int argc, char **argv)
{
	state = 1;
	printf("# nodes  | count | errors | looks | back %% | paused | passed\n");
	if (argc > 2)
		all_rows(atoi(argv[1]), atoi(argv[2]));
	else
		some_rows(200);
	return tap_end();
}
