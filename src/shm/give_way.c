/*
 * give_way.c
 *		Whoever waits for a lock does not keep a snapshot for ever that a statement of a task waits for.
 *
 * CREATE INDEX CONCURRENTLY and its kin wait for everybody who has an older snapshot, and a function has one as long
 * as it waits.  Whoever has the lock that it waits for may in turn wait for the deployment that runs the statement:
 * asleep on a latch, or outside of the server, where no search for deadlocks sees it.  So a wait ends with an error
 * when somebody has waited for it in this way for a while.  Those who get their lock sooner, and all who
 * stand in nobody's way, notice nothing.
 *
 * Nobody can tell a process that it has begun to be waited for.  So a timer interrupts it now and then, only
 * while it waits for a lock, and its handler looks at shared memory: whether a statement of that kind runs, and whether
 * anybody waits for the lock that every transaction has on its own number.  It does nothing where it interrupts a
 * place that holds interrupts off, as run/lock_watch.c, which says why it may take a lightweight lock.
 *
 * Locks: for a moment each, shared->lock and the partition of that lock.
 */
#include "postgres.h"

#include <signal.h>

#include "base/compat.h"
#include "miscadmin.h"
#include "shm/executors.h"
#include "shm/give_way.h"
#include "shm/shmem.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#define LOOK_EVERY 500 /* ms */
#define PATIENCE 2     /* so many looks, one after the other, have found somebody */

static TimeoutId timeout = MAX_TIMEOUTS; /* MAX_TIMEOUTS: not registered yet */
static volatile sig_atomic_t waiting = false;
static volatile sig_atomic_t found;
static volatile sig_atomic_t is_told;

bool
give_way_is_due(void)
{
	VirtualTransactionId me;
	LOCKTAG tag;

	if (!executors_wait_for_snapshots(MyDatabaseId))
		return false;
	GET_VXID_FROM_PGPROC(me, *MyProc);
	SET_LOCKTAG_VIRTUALTRANSACTION(tag, me);
	/* its owner's, which is in the table as soon as somebody asks for it, and that of whoever waits */
	return LockWaiterCount(&tag) > 1;
}

void
give_way(void)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
		 errmsg("could not wait any longer, since a deployment waits for this transaction"),
		 errdetail(
			 "A statement of it, as CREATE INDEX CONCURRENTLY, waits for all that have a snapshot."
			 " It may hold up whoever has the lock."),
		 errhint("Try again in a new transaction, or wait with CALL hotswap.await_lock() or"
				 " await_lease(), which keep nobody waiting.")));
}

/* In a signal handler, which has itself held interrupts off. */
static void
look(void)
{
	if (!waiting || InterruptHoldoffCount > 1 || CritSectionCount > 0)
		return;
	found = give_way_is_due() ? found + 1 : 0;
	if (found < PATIENCE)
		return;
	is_told = true;
	QueryCancelPending = true;
	InterruptPending = true;
}

static void
begin(void)
{
	Assert(!waiting);
	if (timeout == MAX_TIMEOUTS)
		timeout = RegisterTimeout(USER_TIMEOUT, look);
	found = 0;
	is_told = false;
	waiting = true;
	enable_timeout_every(timeout, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_EVERY),
						 LOOK_EVERY);
}

/* True: it was told to end.  What it was told too late must not end anything else, but a limit of the session's may. */
static bool
end(void)
{
	waiting = false;
	disable_timeout(timeout, false);
	if (is_told && !get_timeout_indicator(STATEMENT_TIMEOUT, false) &&
		!get_timeout_indicator(LOCK_TIMEOUT, false))
		QueryCancelPending = false;
	return is_told;
}

void
give_way_while(void (*body)(void *), void *arg)
{
	MemoryContext context = CurrentMemoryContext;

	if (shared == NULL)
	{
		body(arg);
		return;
	}
	begin();
	PG_TRY();
	{
		body(arg);
	}
	PG_CATCH();
	{
		if (end() && geterrcode() == ERRCODE_QUERY_CANCELED)
		{
			MemoryContextSwitchTo(context);
			FlushErrorState();
			give_way();
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	(void) end();
}
