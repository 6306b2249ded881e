/*
 * rollout.h
 *		What a rollout does next.
 */
#ifndef HOTSWAP_ROLLOUT_H
#define HOTSWAP_ROLLOUT_H

#include "rollout/analysis.h"
#include "rollout/strategy.h"

typedef enum MemberState
{
	MEMBER_WAITS,
	MEMBER_RUNS,
	MEMBER_DONE,
	MEMBER_FAILED,
	MEMBER_SKIPPED, /* by a person */
	MEMBER_LEFT     /* it was removed */
} MemberState;

/* A node of a rollout, or several that are alike. */
typedef struct Member
{
	int wave;
	MemberState state;
	MemberState preparation; /* where the strategy prepares nodes */
	int more;                /* so many besides this one */
} Member;

/* Why it is paused: several at a time, and it goes on when the last has gone. */
typedef enum Pause
{
	PAUSE_PERSON = 1,
	PAUSE_SUSPENDED = 2, /* the tenant is */
	PAUSE_WINDOW = 4,
	PAUSE_INCONCLUSIVE = 8,
	PAUSE_UNMEASURED = 16
} Pause;

typedef enum Gate
{
	GATE_UNASKED,
	GATE_PASSED,
	GATE_FAILED,
	GATE_INCONCLUSIVE,
	GATE_UNMEASURED /* nobody measures: what the tasks said is all there is */
} Gate;

/* What has happened; of bakes and gates those after the last wave that has begun. */
typedef struct RolloutEvents
{
	bool aborted;     /* somebody, or an end that came first */
	int may_fail;     /* so many nodes may fail, or be left */
	unsigned pauses;  /* of Pause, that others decide on */
	int max_parallel; /* nodes of a wave at a time; 0: any number */
	bool all_healthy; /* that were prepared */
	bool health_late; /* and are not in time */
	bool bake_begun;  /* its end is known */
	bool bake_over;   /* and has come */
	bool promoted;    /* somebody has ended the bake, or an inconclusive gate */
	bool hurried;     /* and all that are to come */
	bool require_metrics;
	bool gate_asked; /* functions of users are, and have not all said something */
	bool gate_runs;  /* one of them is at work */
	Gate gate;
} RolloutEvents;

typedef enum RolloutStepKind
{
	ROLLOUT_PREPARE,      /* nodes, before the first wave */
	ROLLOUT_AWAIT_HEALTH, /* of those */
	ROLLOUT_START,        /* nodes of a wave */
	ROLLOUT_WAIT,         /* for what runs */
	ROLLOUT_BEGIN_BAKE,
	ROLLOUT_BAKE,
	ROLLOUT_ASK_GATE,
	ROLLOUT_AWAIT_GATE, /* the functions that it asks */
	ROLLOUT_PAUSE,
	ROLLOUT_TAKE_BACK, /* or to end, where there is nothing to take back */
	ROLLOUT_DONE
} RolloutStepKind;

typedef struct RolloutStep
{
	RolloutStepKind kind;
	int wave;        /* to be started, or that bakes; 0: nodes are being prepared */
	int room;        /* nodes that may be started now */
	unsigned pauses; /* why it pauses */
	bool is_failing; /* it waits for what runs, and then is taken back */
} RolloutStep;

extern Gate gate_worst(Gate a, Gate b);
extern RolloutStep rollout_next(const RolloutPlan *plan, const Member *members, int count,
								const RolloutEvents *events);

#endif /* HOTSWAP_ROLLOUT_H */
