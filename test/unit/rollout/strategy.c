/*
 * Which node is taken when: every strategy with 0 to 50 nodes.
 */
#include "rollout/strategy.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

/* How many have the version after each wave; written by hand. */
static const struct
{
	Strategy strategy;
	int nodes;
	int after[30]; /* 0: no more */
} waves[] = {
	{ STRATEGY_DIRECT, 1, { 1 } },
	{ STRATEGY_DIRECT, 50, { 50 } },
	{ STRATEGY_ROLLING, 1, { 1 } },
	{ STRATEGY_ROLLING, 2, { 2 } },
	{ STRATEGY_ROLLING, 5, { 2, 4, 5 } },
	{ STRATEGY_ROLLING, 8, { 2, 4, 6, 8 } },
	{ STRATEGY_BLUE_GREEN, 1, { 1 } },
	{ STRATEGY_BLUE_GREEN, 50, { 50 } },
	{ STRATEGY_CANARY, 1, { 1 } },
	{ STRATEGY_CANARY, 2, { 1, 2 } },
	{ STRATEGY_CANARY, 3, { 1, 2, 3 } },
	{ STRATEGY_CANARY, 5, { 1, 2, 3, 4, 5 } },
	{ STRATEGY_CANARY, 6, { 1, 3, 5, 6 } },
	{ STRATEGY_CANARY, 9, { 1, 3, 5, 7, 9 } },
	{ STRATEGY_CANARY, 10, { 1, 3, 5, 7, 9, 10 } },
	{ STRATEGY_CANARY, 11, { 2, 5, 8, 11 } },
	{ STRATEGY_CANARY, 20, { 2, 6, 10, 14, 18, 20 } },
	{ STRATEGY_CANARY, 21, { 3, 8, 13, 18, 21 } },
	{ STRATEGY_CANARY, 50, { 5, 15, 25, 35, 45, 50 } },
};

static void
check_table(void)
{
	for (size_t i = 0; i < sizeof(waves) / sizeof(waves[0]); i++)
	{
		RolloutPlan plan = strategy_plan(waves[i].strategy);
		int wave = 0;
		int taken = 0;
		bool good = true;

		for (; waves[i].after[wave] > 0; wave++)
			for (; taken < waves[i].after[wave]; taken++)
				good = good && strategy_wave(&plan, taken, waves[i].nodes) == wave + 1;
		ok(good && strategy_waves(&plan, waves[i].nodes) == wave, "%s of %d nodes",
		   strategy_names[waves[i].strategy], waves[i].nodes);
	}
}

/* Waves are not empty, do not go back, and are as large as they are said to be. */
static void
check_sizes(Strategy strategy, Share first, Share next)
{
	RolloutPlan plan = strategy_plan(strategy);
	bool good = true;

	if (plan.in_waves)
	{
		plan.first_wave = first;
		plan.wave_step = next;
	}
	for (int nodes = 0; nodes <= 50; nodes++)
	{
		int sizes[60] = { 0 };
		int count = strategy_waves(&plan, nodes);
		int last = nodes == 0 ? 0 : 1;

		for (int i = 0; i < nodes; i++)
		{
			int wave = strategy_wave(&plan, i, nodes);

			good = good && (wave == last || wave == last + 1);
			last = wave;
			sizes[wave]++;
		}
		good = good && last == count;
		for (int wave = 1; wave < count; wave++)
			good = good &&
				   sizes[wave] == share_of(wave == 1 ? plan.first_wave : plan.wave_step, nodes);
		good = good && (nodes == 0 || plan.in_waves || sizes[1] == nodes);
		good = good && (nodes == 0 ||
						(sizes[count] > 0 && (!plan.in_waves || count == 1 ||
											  sizes[count] <= share_of(plan.wave_step, nodes))));
	}
	ok(good, "%s, %d%s, then %d%s: sizes and order, for 0 to 50 nodes", strategy_names[strategy],
	   first.number, first.percent ? " %" : "", next.number, next.percent ? " %" : "");
}

static void
check_shares(void)
{
	static const int percents[] = { 1, 10, 20, 33, 50, 99, 100 };

	for (int i = 0; i < 7; i++)
		for (int nodes = 1; nodes <= 50; nodes++)
		{
			int got = share_of((Share){ percents[i], true }, nodes);

			if (got != (int) ceil(nodes * percents[i] / 100.0 - 1e-9))
				ok(false, "%d %% of %d is %d", percents[i], nodes, got);
		}
	is_int(share_of((Share){ 10, true }, 3), 1, "10 % of three is one");
	is_int(share_of((Share){ 34, true }, 3), 2, "34 % of three is two: it is rounded up");
	is_int(share_of((Share){ 0, true }, 3), 1, "at least one");
	is_int(share_of((Share){ 7, false }, 3), 3, "no more than there are");
	is_int(share_of((Share){ 2, false }, 3), 2, "a number is one");
	is_int(share_of((Share){ 100, true }, 2000000000), 2000000000, "of very many, too");
}

static void
check_auto(void)
{
	static const struct
	{
		const char *environment;
		Strategy strategy;
	} defaults[] = { { "development", STRATEGY_DIRECT },
					 { "qa", STRATEGY_ROLLING },
					 { "staging", STRATEGY_BLUE_GREEN },
					 { "production", STRATEGY_CANARY },
					 { "europe", STRATEGY_ROLLING } };

	for (int i = 0; i < 5; i++)
	{
		is_int(strategy_resolve(STRATEGY_AUTO, defaults[i].environment, true, 2),
			   defaults[i].strategy, defaults[i].environment);
		is_int(strategy_resolve(STRATEGY_AUTO, defaults[i].environment, false, 20), STRATEGY_DIRECT,
			   "where nobody measures nobody waits");
	}
	for (int strategy = STRATEGY_DIRECT; strategy < STRATEGY_AUTO; strategy++)
	{
		is_int(strategy_resolve(strategy, "development", false, 2), strategy,
			   "one that is set holds, whoever measures");
		is_int(strategy_resolve(strategy, "production", true, 1), STRATEGY_DIRECT,
			   "a single node is all there is");
	}
}

static int
compare_hashes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *) a;
	uint64_t y = *(const uint64_t *) b;

	return (x > y) - (x < y);
}

/* The order by chance: each deployment begins with other nodes. */
static void
check_hash(void)
{
	uint8_t deployment[16] = { 0 };
	uint8_t node[16] = { 0 };
	uint64_t all[10000];
	int first[20] = { 0 };
	int fewest = 1000;
	int most = 0;
	int same = 0;

	for (int d = 0; d < 1000; d++)
	{
		int lowest = 0;
		uint64_t hashes[20];

		deployment[14] = d / 256;
		deployment[15] = d % 256;
		for (int n = 0; n < 20; n++)
		{
			node[15] = n;
			hashes[n] = strategy_hash(deployment, node, 16);
			if (hashes[n] < hashes[lowest])
				lowest = n;
			if (d < 500)
				all[d * 20 + n] = hashes[n];
		}
		first[lowest]++;
	}
	for (int n = 0; n < 20; n++)
	{
		fewest = first[n] < fewest ? first[n] : fewest;
		most = first[n] > most ? first[n] : most;
	}
	/* 50 each, with a standard deviation of 7 */
	ok(fewest > 22 && most < 78, "each node is first as often as others (%d to %d of 1000)", fewest,
	   most);
	qsort(all, 10000, sizeof(uint64_t), compare_hashes);
	for (int i = 1; i < 10000; i++)
		same += all[i] == all[i - 1];
	is_int(same, 0, "no two of ten thousand are alike");
	ok(strategy_hash(deployment, node, 16) == strategy_hash(deployment, node, 16) &&
		   strategy_hash(deployment, node, 16) != strategy_hash(node, deployment, 16),
	   "a deployment always has the same");
}

/* The order of labels: written by hand, and every pair of it. */
static void
check_labels(void)
{
	static const char *const order[] = { "-10", "-2.5", "0",  "1",   "1.0", "2",  "10",
										 "10.5", "+1",  "1.", "1e3", "A",   "a1", "zone",
										 NULL };
	int count = sizeof(order) / sizeof(order[0]);

	for (int i = 0; i < count; i++)
		for (int j = 0; j < count; j++)
		{
			int got = label_compare(order[i], order[j]);

			ok((i < j && got < 0) || (i == j && got == 0) || (i > j && got > 0), "%s and %s",
			   order[i] ? order[i] : "none", order[j] ? order[j] : "none");
		}
	ok(label_compare("", "0") > 0 && label_compare("", "a") < 0, "an empty one is a word");
	ok(label_compare("-", "1") > 0 && label_compare(".5", "1") > 0, "what is no number is a word");
}

static void
check_plans(void)
{
	for (int strategy = STRATEGY_DIRECT; strategy < STRATEGY_AUTO; strategy++)
	{
		RolloutPlan plan = strategy_plan(strategy);
		const char *name = strategy_names[strategy];

		is_int(plan.strategy, strategy, name);
		is_int(plan.bakes, strategy != STRATEGY_DIRECT, "all but direct bake");
		is_int(plan.prepares, strategy == STRATEGY_BLUE_GREEN, "blue_green alone prepares");
		is_int(plan.bake_last, strategy == STRATEGY_BLUE_GREEN || strategy == STRATEGY_CANARY,
			   "what is judged as a whole bakes at the end");
		is_int(plan.order, strategy == STRATEGY_CANARY ? ORDER_HASH : ORDER_NAME,
			   "a canary takes nodes by chance");
	}
}

int
main(void)
{
	static const Share shares[] = { { 1, false }, { 2, false }, { 7, false },
									{ 10, true }, { 20, true }, { 100, true } };

	check_table();
	for (int strategy = STRATEGY_DIRECT; strategy < STRATEGY_AUTO; strategy++)
		for (int i = 0; i < 6; i++)
			for (int j = 0; j < 6; j++)
				check_sizes(strategy, shares[i], shares[j]);
	check_shares();
	check_auto();
	check_hash();
	check_labels();
	check_plans();
	return tap_end();
}
