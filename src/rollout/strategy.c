/*
 * strategy.c
 *		Strategies as data: in which order nodes are taken, in which waves, and what lies between.
 *
 * Knows no server and allocates nothing.
 */
#include "rollout/strategy.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/spread.h"

/* hotswap.strategy */
const char *const strategy_names[STRATEGIES] = { "direct", "rolling", "blue_green", "canary",
												 "auto" };

static const RolloutPlan plans[STRATEGIES] = {
	[STRATEGY_DIRECT] = { .strategy = STRATEGY_DIRECT, .order = ORDER_NAME },
	[STRATEGY_ROLLING] = { .strategy = STRATEGY_ROLLING,
						   .in_waves = true,
						   .first_wave = { 2, false },
						   .wave_step = { 2, false },
						   .bakes = true,
						   .order = ORDER_NAME },
	[STRATEGY_BLUE_GREEN] = { .strategy = STRATEGY_BLUE_GREEN,
							  .prepares = true,
							  .bakes = true,
							  .bake_last = true,
							  .order = ORDER_NAME },
	[STRATEGY_CANARY] = { .strategy = STRATEGY_CANARY,
						  .in_waves = true,
						  .first_wave = { 10, true },
						  .wave_step = { 20, true },
						  .bakes = true,
						  .bake_last = true,
						  .order = ORDER_HASH },
};

/* What auto is where somebody measures; an environment of another name is rolled. */
static const struct
{
	const char *environment;
	Strategy strategy;
} defaults[] = { { "development", STRATEGY_DIRECT },
				 { "staging", STRATEGY_BLUE_GREEN },
				 { "production", STRATEGY_CANARY } };

/* How many of the nodes. */
int
share_of(Share share, int nodes)
{
	int64_t number = share.percent ? ((int64_t) nodes * share.number + 99) / 100 : share.number;

	if (number > nodes)
		number = nodes;
	return number < 1 ? 1 : (int) number;
}

/*
 * The strategy that is carried out: auto makes nobody wait for what nobody measures, and a single
 * node is all there is.
 */
Strategy
strategy_resolve(Strategy strategy, const char *environment, bool measured, int nodes)
{
	if (nodes < 2 || (strategy == STRATEGY_AUTO && !measured))
		return STRATEGY_DIRECT;
	if (strategy != STRATEGY_AUTO)
		return strategy;
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		if (strcmp(defaults[i].environment, environment) == 0)
			return defaults[i].strategy;
	return STRATEGY_ROLLING;
}

/* The defaults of a strategy, which is not auto. */
RolloutPlan
strategy_plan(Strategy strategy)
{
	return plans[strategy];
}

/* The number of waves. */
int
strategy_waves(const RolloutPlan *plan, int nodes)
{
	return nodes == 0 ? 0 : strategy_wave(plan, nodes - 1, nodes);
}

/* The wave (from 1) of the index-th (from 0) of the nodes in their order. */
int
strategy_wave(const RolloutPlan *plan, int index, int nodes)
{
	int first = share_of(plan->first_wave, nodes);

	if (!plan->in_waves || index < first)
		return 1;
	return 2 + (index - first) / share_of(plan->wave_step, nodes);
}

/* Digits, with a sign and a fraction or without. */
static bool
is_number(const char *text)
{
	if (*text == '-')
		text++;
	if (*text < '0' || *text > '9')
		return false;
	while (*text >= '0' && *text <= '9')
		text++;
	if (*text == '.' && text[1] != '\0')
		text++;
	while (*text >= '0' && *text <= '9')
		text++;
	return *text == '\0';
}

static int
rank_of(const char *label)
{
	if (label == NULL)
		return 2;
	return is_number(label) ? 0 : 1;
}

int
label_compare(const char *a, const char *b)
{
	int rank = rank_of(a);
	double x;
	double y;

	if (rank != rank_of(b))
		return rank < rank_of(b) ? -1 : 1;
	if (a == NULL || b == NULL)
		return 0;
	x = rank == 0 ? atof(a) : 0;
	y = rank == 0 ? atof(b) : 0;
	if (x != y)
		return x < y ? -1 : 1;
	/* 1 and 1.0 are not the same, and always stand in one order */
	return strcmp(a, b);
}

/* Where a node stands in the order by chance. */
uint64_t
strategy_hash(const uint8_t *deployment, const uint8_t *node, int length)
{
	uint64_t hash = spread_bytes(SPREAD_START, deployment, length);

	return spread_end(spread_bytes(hash, node, length));
}
