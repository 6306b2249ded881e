/*
 * wave_plan.h
 *		In which waves a deployment would take the nodes of an environment.
 */
#ifndef HOTSWAP_WAVE_PLAN_H
#define HOTSWAP_WAVE_PLAN_H

#include "core/plan.h"
#include "deployment/rollout_row.h"

/*
 * Inside a scope.  plans: of NodePlan, of all nodes.  Out: the wave of each of them.  NULL: all are taken at once, and
 * nothing is waited for.
 */
extern RolloutRow *wave_plan(const Deployment *d, char *environment, List *plans, int *waves);

/* How many nodes each wave has, of as many waves as the row says; of waves of callers all are in the first. */
extern int *wave_sizes(const RolloutRow *r, List *plans, const int *waves);

#endif /* HOTSWAP_WAVE_PLAN_H */
