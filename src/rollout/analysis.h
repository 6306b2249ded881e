/*
 * analysis.h
 *		Are the nodes that have a version worse than those that do not?
 */
#ifndef HOTSWAP_ANALYSIS_H
#define HOTSWAP_ANALYSIS_H

#include <stdbool.h>

typedef enum Metric
{
	METRIC_ERRORS,
	METRIC_LATENCY,
	METRIC_CPU,
	METRIC_MEMORY
} Metric;

#define METRICS 4

/* Less is none, where a logarithm is taken. */
extern const double metric_least[METRICS];

/* What a node reports of the time since it last did; NAN is what it does not know. */
typedef struct Heartbeat
{
	double requests;
	double errors;
	double latency; /* ms */
	double cpu;     /* percent */
	double memory;  /* percent */
} Heartbeat;

/* What a node has reported in a window of time. */
typedef struct MetricSums
{
	int heartbeats;
	double requests;
	double errors;
	double logs[METRICS];    /* weighted sums of logarithms; of errors: unused */
	double weights[METRICS]; /* their weights; 0: nobody measured it */
} MetricSums;

/* A bake is looked at in thirds. */
#define THIRDS 3

typedef struct AnalysisNode
{
	bool treated;   /* it has the version */
	bool unhealthy; /* by an absolute limit */
	bool disturbed; /* another module was swapped there since the baseline began */
	MetricSums baseline;
	MetricSums bake[THIRDS];
	bool silent;   /* out: it has the version, and says less than half of what it should */
	bool left_out; /* out: there is nothing to compare it with */
} AnalysisNode;

typedef struct AnalysisSettings
{
	double confidence;         /* of a whole rollout */
	double threshold[METRICS]; /* how much worse is too much: 0.5 is 50 %; NAN: not compared */
	double expected;           /* heartbeats of a node in the baseline */
	double bake_share;         /* length of the window in the bake, in lengths of the baseline */
	bool health_only;          /* nothing is compared */
	int waves;                 /* that leave nodes without the version */
	int looks;                 /* at each bake */
	int look;                  /* which one this is, from 1 */
} AnalysisSettings;

typedef enum Verdict
{
	VERDICT_PASS,
	VERDICT_FAIL,
	VERDICT_INCONCLUSIVE
} Verdict;

typedef enum Method
{
	METHOD_HEALTH,    /* absolute limits: no node is left to compare with */
	METHOD_THRESHOLD, /* too few nodes for a test */
	METHOD_TEST
} Method;

/* One metric compared.  Levels and differences are of geometric means. */
typedef struct Comparison
{
	bool compared;
	int treated;
	int control;
	double treated_level;
	double control_level;
	double
		difference; /* 0.5: 50 % worse than the nodes without the version, each beside its baseline */
	double at_least, at_most; /* where it lies, each with an error of alpha */
	double t;                 /* NAN: no test is possible */
	double p;
	double alpha;
	double detectable; /* the smallest difference that would have been found; INFINITY: none */
	bool significant;
	bool enough; /* a difference of twice what is allowed would have been found */
	bool failed;
} Comparison;

typedef struct Analysis
{
	Verdict verdict;
	Method method;
	int treated; /* nodes that are compared */
	int control;
	Comparison metrics[METRICS];
} Analysis;

extern void sums_add(MetricSums *w, const Heartbeat *h);
extern void sums_merge(MetricSums *w, const MetricSums *other);
extern void analyse(const AnalysisSettings *settings, AnalysisNode *nodes, int count,
					Analysis *out);

#endif /* HOTSWAP_ANALYSIS_H */
