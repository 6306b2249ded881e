/*
 * placement.h
 *		Where started tasks go.
 */
#ifndef HOTSWAP_PLACEMENT_H
#define HOTSWAP_PLACEMENT_H

#include "dispatch/dispatch.h"
#include "dispatch/due_set.h"

extern int placement_capacity(Dispatch *d);
extern void placement_count_tasks(Dispatch *d);
extern int placement_tasks_of(Dispatch *d, const pg_uuid_t *tenant);
extern bool placement_in_flight(void *d, const TaskKey *key);
extern bool placement_given_back(void *d, const TaskKey *key);
extern bool placement_overran(void *d, const TaskKey *key);
extern void placement_put(Dispatch *d, List *tasks);
extern void placement_run(Dispatch *d, DueItem *item, List *tasks);
extern void placement_hand_over(Dispatch *d);
extern void placement_cancel(Dispatch *d, DueItem *item, List *keys, bool end);
extern void placement_reap(Dispatch *d, bool leaving);
extern void placement_forget_settled(Dispatch *d);
extern TimestampTz placement_next(const Dispatch *d);

#endif /* HOTSWAP_PLACEMENT_H */
