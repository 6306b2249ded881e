/*
 * strategy.h
 *		In which wave a node is taken.
 */
#ifndef HOTSWAP_STRATEGY_H
#define HOTSWAP_STRATEGY_H

typedef enum Strategy
{
	STRATEGY_DIRECT
} Strategy;

/* The strategy of that name in hotswap.strategy. */
static inline Strategy
strategy_parse(const char *name)
{
	if (strcmp(name, "direct") == 0)
		return STRATEGY_DIRECT;
	elog(ERROR, "unknown strategy \"%s\"", name);
}

/* The wave (from 1) of the index-th (from 0) of count nodes in name order. */
static inline int
strategy_wave(Strategy strategy, int index pg_attribute_unused(), int count pg_attribute_unused())
{
	Assert(index < count);
	switch (strategy)
	{
		case STRATEGY_DIRECT:
			return 1;
	}
	pg_unreachable();
}

#endif /* HOTSWAP_STRATEGY_H */
