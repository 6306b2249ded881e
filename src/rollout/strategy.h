/*
 * strategy.h
 *		Strategies as data: in which order nodes are taken, in which waves, and what lies between.
 */
#ifndef HOTSWAP_STRATEGY_H
#define HOTSWAP_STRATEGY_H

#include <stdbool.h>
#include <stdint.h>

/* hotswap.strategy */
typedef enum Strategy
{
	STRATEGY_DIRECT,
	STRATEGY_ROLLING,
	STRATEGY_BLUE_GREEN,
	STRATEGY_CANARY,
	STRATEGY_AUTO
} Strategy;

#define STRATEGIES 5

extern const char *const strategy_names[];

typedef enum NodeOrder
{
	ORDER_NAME, /* as they are given */
	ORDER_HASH  /* by chance, but for a deployment always the same */
} NodeOrder;

/* So many nodes, or percent of them: rounded up, and at least one. */
typedef struct Share
{
	int number;
	bool percent;
} Share;

/* How a rollout goes; what a strategy leaves open is a setting of the environment. */
typedef struct RolloutPlan
{
	Strategy strategy;
	bool prepares; /* every node is made ready before the first one is switched */
	bool in_waves;
	Share first_wave;
	Share wave_step;
	bool bakes;
	bool bake_last; /* after the last wave as well */
	NodeOrder order;
} RolloutPlan;

extern int share_of(Share share, int nodes);
extern Strategy strategy_resolve(Strategy strategy, const char *environment, bool measured,
								 int nodes);
extern RolloutPlan strategy_plan(Strategy strategy);
extern int strategy_waves(const RolloutPlan *plan, int nodes);
extern int strategy_wave(const RolloutPlan *plan, int index, int nodes);
/* Which of two values of a label comes first: numbers, then words, then none (NULL). */
extern int label_compare(const char *a, const char *b);
extern uint64_t strategy_hash(const uint8_t *deployment, const uint8_t *node, int length);

#endif /* HOTSWAP_STRATEGY_H */
