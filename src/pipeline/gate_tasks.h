/*
 * gate_tasks.h
 *		What functions of users say of a wave.
 */
#ifndef HOTSWAP_GATE_TASKS_H
#define HOTSWAP_GATE_TASKS_H

#include "pipeline/visit.h"
#include "rollout/rollout.h"

/* Makes a task for each function that the rollout asks; false: it asks none. */
extern bool gate_tasks_begin(Visit *v);

/* Is one of the present wave at work, or yet to be asked? */
extern bool gate_tasks_run(const Visit *v);
extern bool gate_tasks_are_open(const Visit *v);

/* What all of the present wave have said, which is recorded.  Out: reason. */
extern Gate gate_tasks_verdict(Visit *v, char **reason);

#endif /* HOTSWAP_GATE_TASKS_H */
