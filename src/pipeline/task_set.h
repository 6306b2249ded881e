/*
 * task_set.h
 *		The tasks of a stage that a visit looks at, and how many others there are.
 */
#ifndef HOTSWAP_TASK_SET_H
#define HOTSWAP_TASK_SET_H

#include "pipeline/visit.h"

extern void task_set_begin(Visit *v, Stage *stage);
extern void task_set_load(Visit *v, Stage *stage);
extern void task_set_load_all(Visit *v, Stage *stage);
extern void task_set_complete(Visit *v);
extern void task_set_read_again(Visit *v, List *ordinals);
extern void task_set_next_wave(Visit *v);
extern List *task_set_more_ready(Visit *v, int limit);
extern void task_set_unclaimed(Visit *v);
extern int task_set_others(const Visit *v, bool reverts, TaskStatus status);
extern int task_set_swaps(const Visit *v);
extern TaskStatus task_set_status(const Visit *v, const Task *task);
extern bool task_set_is_unfinished(const Visit *v, const Task *task);
extern void task_set_save(Visit *v);

#endif /* HOTSWAP_TASK_SET_H */
