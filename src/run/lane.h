/*
 * lane.h
 *		Who changes which module on a node, and what the modules of a node ask of each other.
 */
#ifndef HOTSWAP_LANE_H
#define HOTSWAP_LANE_H

#include "run/record.h"

/* Until the transaction ends; session: until lane_release(). */
extern void lane_lock(const TaskRun *run, bool session);
extern void lane_release(const TaskRun *run);

/* Under that lock. */
extern void lane_require_met(const TaskRun *run);

#endif /* HOTSWAP_LANE_H */
