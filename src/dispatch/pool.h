/*
 * pool.h
 *		The executors of a database, as its dispatcher sees them.
 */
#ifndef HOTSWAP_POOL_H
#define HOTSWAP_POOL_H

#include "shm/shmem.h"

typedef enum PoolPlacement
{
	POOL_PLACED,
	POOL_BUSY,     /* every executor has enough to do: try again when one is done */
	POOL_NO_WORKER /* no worker slot is free in the cluster */
} PoolPlacement;

/* What became of a task whose executor has died. */
typedef void (*PoolLost)(const TaskKey *key, bool begun);

extern PoolPlacement pool_place(const TaskKey *key, Oid role);
extern bool pool_has(const TaskKey *key);
extern int pool_load(int *executors);
extern bool pool_cancel(const TaskKey *key, bool end);
extern TimestampTz pool_reap(PoolLost lost, bool leaving);
extern void pool_rebalance(void);
extern bool pool_take_stuck(TaskKey *key, Oid *role, TimestampTz *next);
extern TimestampTz pool_shrink(void);
extern bool pool_dismiss(void);

static inline bool
task_key_equal(const TaskKey *a, const TaskKey *b)
{
	return memcmp(a, b, sizeof(TaskKey)) == 0;
}

#endif /* HOTSWAP_POOL_H */
