/*
 * rollout.c
 *		What a rollout does next, from what has happened: waves of nodes, and between two waves a bake
 *		and a gate.
 *
 * Nothing is remembered between two questions, so it does not matter who asks or how often: after a
 * crash the same facts give the same step.
 *
 * Knows no server and allocates nothing.
 */
#include "rollout/rollout.h"

/* How far it is. */
typedef struct Count
{
	int members;
	int waiting;
	int running;
	int done;
	int failed;
	int skipped;
	int left;
	int current;  /* the lowest wave that has nodes to take, or that run; 0: none */
	bool begun;   /* that wave has */
	int last;     /* the highest wave that has begun */
	int upcoming; /* nodes of the current wave that wait */
} Count;

static bool
is_open(MemberState state)
{
	return state == MEMBER_WAITS || state == MEMBER_RUNS;
}

/* Does it take part? */
static bool
belongs(MemberState state)
{
	return state != MEMBER_SKIPPED && state != MEMBER_LEFT;
}

static int *
count_of(Count *c, MemberState state)
{
	switch (state)
	{
		case MEMBER_RUNS:
			return &c->running;
		case MEMBER_DONE:
			return &c->done;
		case MEMBER_FAILED:
			return &c->failed;
		case MEMBER_SKIPPED:
			return &c->skipped;
		case MEMBER_LEFT:
			return &c->left;
		default:
			return &c->waiting;
	}
}

static Count
count_members(const Member *members, int count)
{
	Count c = { 0 };

	for (int i = 0; i < count; i++)
	{
		*count_of(&c, members[i].state) += 1 + members[i].more;
		c.members += 1 + members[i].more;
		if (is_open(members[i].state) && (c.current == 0 || members[i].wave < c.current))
			c.current = members[i].wave;
		/* one that was skipped before its wave has not begun it */
		if (members[i].state != MEMBER_WAITS && belongs(members[i].state) &&
			members[i].wave > c.last)
			c.last = members[i].wave;
	}
	c.begun = c.current > 0 && c.current <= c.last;
	for (int i = 0; i < count; i++)
		if (members[i].wave == c.current && members[i].state == MEMBER_WAITS)
			c.upcoming += 1 + members[i].more;
	return c;
}

static RolloutStep
step(RolloutStepKind kind, int wave)
{
	return (RolloutStep){ .kind = kind, .wave = wave };
}

static RolloutStep
pause_for(unsigned pauses, int wave)
{
	return (RolloutStep){ .kind = ROLLOUT_PAUSE, .wave = wave, .pauses = pauses };
}

/* As many of the wave as may run at a time. */
static RolloutStep
start(const RolloutEvents *events, int wave, int waiting, int running)
{
	RolloutStep result = step(ROLLOUT_START, wave);

	result.room = waiting;
	if (events->max_parallel > 0 && events->max_parallel - running < waiting)
		result.room = events->max_parallel - running;
	if (result.room <= 0)
		return step(ROLLOUT_WAIT, wave);
	return result;
}

/* Preparation of all nodes, which fails as a whole; true: there is something to do before the first wave. */
static bool
prepare(const Member *members, int count, const RolloutEvents *events, RolloutStep *result)
{
	int waiting = 0;
	int running = 0;

	for (int i = 0; i < count; i++)
	{
		if (!belongs(members[i].state))
			continue;
		waiting += members[i].preparation == MEMBER_WAITS ? 1 + members[i].more : 0;
		running += members[i].preparation == MEMBER_RUNS ? 1 + members[i].more : 0;
	}
	for (int i = 0; i < count; i++)
		if (members[i].preparation == MEMBER_FAILED && belongs(members[i].state))
		{
			*result = step(running > 0 ? ROLLOUT_WAIT : ROLLOUT_TAKE_BACK, 0);
			result->is_failing = true;
			return true;
		}
	if (waiting > 0)
	{
		*result = start(events, 0, waiting, running);
		if (result->kind == ROLLOUT_START)
			result->kind = ROLLOUT_PREPARE;
		return true;
	}
	if (running == 0 && events->all_healthy)
		return false;
	*result = step(running > 0 ? ROLLOUT_WAIT : ROLLOUT_AWAIT_HEALTH, 0);
	if (running == 0 && events->health_late)
		result->kind = ROLLOUT_TAKE_BACK;
	return true;
}

/*
 * After an inconclusive verdict a rollout goes on as long as at most half of the nodes have the
 * version.  Beyond that there are ever fewer to compare with, and it would hardly end; so it stops to
 * ask before it goes beyond.
 */
static bool
stops_to_ask(const Count *c)
{
	int members = c->members - c->skipped - c->left;

	return 2 * c->done <= members && 2 * (c->done + c->upcoming) > members && c->upcoming > 0;
}

/*
 * What is said by two together: the worse of them.  Who does not measure says nothing, so it is better
 * only than nothing.
 */
Gate
gate_worst(Gate a, Gate b)
{
	static const int badness[] = { [GATE_UNASKED] = 0,
								   [GATE_UNMEASURED] = 1,
								   [GATE_PASSED] = 2,
								   [GATE_INCONCLUSIVE] = 3,
								   [GATE_FAILED] = 4 };

	return badness[a] >= badness[b] ? a : b;
}

/* What lies after a wave; true: it is not over. */
static bool
between(const Count *c, const RolloutEvents *events, RolloutStep *result)
{
	bool promoted = events->promoted || events->hurried;

	*result = step(ROLLOUT_BAKE, c->last);
	if (events->gate == GATE_FAILED)
		result->kind = ROLLOUT_TAKE_BACK;
	else if (!events->bake_begun)
		result->kind = ROLLOUT_BEGIN_BAKE;
	else if (events->gate_asked)
		result->kind = ROLLOUT_AWAIT_GATE;
	else if (events->pauses)
		*result = pause_for(events->pauses, c->last);
	else if (!events->bake_over && !promoted)
		result->kind = ROLLOUT_BAKE;
	else if (events->gate == GATE_UNASKED)
		result->kind = ROLLOUT_ASK_GATE;
	else if (events->gate == GATE_UNMEASURED && events->require_metrics && !promoted)
		*result = pause_for(PAUSE_UNMEASURED, c->last);
	else if (events->gate == GATE_INCONCLUSIVE && !promoted && stops_to_ask(c))
		*result = pause_for(PAUSE_INCONCLUSIVE, c->last);
	else
		return false;
	return true;
}

/*
 * It does not go on: what runs ends, and then what was swapped is taken back.  A rollout that has
 * reached no node has not succeeded.
 */
static bool
has_failed(const Count *c, const RolloutEvents *events)
{
	return events->aborted || c->failed + c->skipped > events->may_fail ||
		   (c->members > 0 && c->current == 0 && c->done == 0);
}

RolloutStep
rollout_next(const RolloutPlan *plan, const Member *members, int count, const RolloutEvents *events)
{
	Count c = count_members(members, count);
	RolloutStep result;

	if (has_failed(&c, events))
	{
		result =
			step(c.running > 0 || events->gate_runs ? ROLLOUT_WAIT : ROLLOUT_TAKE_BACK, c.last);
		result.is_failing = true;
		return result;
	}
	/* what a wave has begun it ends, also when the rollout is paused meanwhile */
	if (c.begun)
		return c.upcoming > 0 ? start(events, c.current, c.upcoming, c.running) :
								step(ROLLOUT_WAIT, c.current);
	if (c.current > 0 && c.last == 0 && plan->prepares && events->pauses == 0 &&
		prepare(members, count, events, &result))
		return result;
	if (c.last > 0 && plan->bakes && (c.current > 0 || plan->bake_last) &&
		between(&c, events, &result))
		return result;
	if (c.current == 0)
		return step(ROLLOUT_DONE, c.last);
	if (events->pauses)
		return pause_for(events->pauses, c.last);
	return start(events, c.current, c.upcoming, c.running);
}
