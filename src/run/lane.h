/*
 * lane.h
 *		Who changes which module on a node, and what the modules of a node ask of each other.
 */
#ifndef HOTSWAP_LANE_H
#define HOTSWAP_LANE_H

#include "run/record.h"

/* Until the transaction ends; session: until lane_release(). */
extern void lane_lock(const TaskRun *run, bool session);

/* Until the transaction ends, without waiting; false: somebody changes the module on the node. */
extern bool lane_lock_if_free(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module);
extern void lane_release(const TaskRun *run);

/* Under that lock. */
extern void lane_require_met(const TaskRun *run);

#endif /* HOTSWAP_LANE_H */
