/*
 * batch.h
 *		The dispatcher's work, in the background or in the session of CALL work().
 */
#ifndef HOTSWAP_BATCH_H
#define HOTSWAP_BATCH_H

#include "core/installation.h"
#include "nodes/pg_list.h"
#include "shm/shmem.h"
#include "utils/timestamp.h"

/* How transactions are made differs between a worker and a procedure. */
typedef struct DispatchMode
{
	bool background; /* tasks go to executors; else they run right here */
	void (*begin)(void);
	void (*commit)(void);
	void (*abort)(void);
} DispatchMode;

extern void dispatch_init(const DispatchMode *mode);
extern bool dispatch_lock(bool wait);
extern void dispatch_unlock(void);
extern DispatchState dispatch_load(void);
extern bool dispatch_step(void);
extern TimestampTz dispatch_next(void);
extern void dispatch_announced(const RingEntry *entries, int count);
extern void dispatch_reap(bool leaving);
extern void dispatch_give_back(void);
extern List *dispatch_left_roles(void);

#endif /* HOTSWAP_BATCH_H */
