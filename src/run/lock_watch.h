/*
 * lock_watch.h
 *		Which relations a rehearsal locks, how strongly and for how long; and its end when that is too long.
 */
#ifndef HOTSWAP_LOCK_WATCH_H
#define HOTSWAP_LOCK_WATCH_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"

/* A lock on a relation that was there before. */
typedef struct WatchedLock
{
	Oid relation;
	LOCKMODE mode; /* the strongest */
	int step;      /* in which it was taken */
	int waiters;   /* the most that were seen to wait for the relation */
	TimestampTz since;
	TimestampTz until; /* when it was last seen to be held */
} WatchedLock;

/*
 * In a transaction.  From now on the process is cancelled when it holds an AccessExclusive lock for longer than
 * so many ms.
 */
extern void lock_watch_begin(int limit);

/* A step begins: it is counted for what is locked from now on. */
extern void lock_watch_step(int step);

/* Before the locks are released: looks at all of them. */
extern void lock_watch_look(void);

/* Nothing is cancelled any more. */
extern void lock_watch_end(void);

/* What was seen, of WatchedLock, in the order of the steps; and the lock that was held for too long, or NULL. */
extern List *lock_watch_locks(void);
extern const WatchedLock *lock_watch_excess(void);

#endif /* HOTSWAP_LOCK_WATCH_H */
