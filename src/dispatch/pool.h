/*
 * pool.h
 *		The executors of a database, as its dispatcher sees them.
 */
#ifndef HOTSWAP_POOL_H
#define HOTSWAP_POOL_H

#include "shm/executors.h"

typedef enum PoolPlacement
{
	POOL_PLACED,
	POOL_STARTED,  /* placed, in an executor that is being started */
	POOL_BEHIND,   /* placed behind another task, since no worker slot is free in the cluster */
	POOL_BUSY,     /* every executor has enough to do: try again when one is done */
	POOL_NO_WORKER /* no worker slot is free, and no executor of the role has room */
} PoolPlacement;

/* What became of a task whose executor has died. */
typedef void (*PoolLost)(void *arg, const TaskKey *key, TaskLoss loss);

extern PoolPlacement pool_place(const TaskKey *key, Oid role, bool may_start);
extern void pool_leave_line(void);
extern int pool_tasks(int *executors);
extern bool pool_cancel(const TaskKey *key, bool end);
extern TimestampTz pool_reap(PoolLost lost, void *arg, bool leaving);
extern void pool_rebalance(void);
extern bool pool_take_stuck(TaskKey *key, Oid *role, TimestampTz *next);
extern TimestampTz pool_shrink(void);
extern bool pool_dismiss(void);

#endif /* HOTSWAP_POOL_H */
