/*
 * dispatch.h
 *		What a dispatcher knows besides the due set: shared by the files that do its work.
 *
 * batch.c visits deployments, reading.c reads them, setback.c knows those that cannot be visited;
 * placement.c hands started tasks to executors, or runs them; tenant_limit.c bounds those of one
 * tenant; starvation.c sees to tasks that do
 * not get anywhere.  Lists live in the dispatcher's own context.
 */
#ifndef HOTSWAP_DISPATCH_H
#define HOTSWAP_DISPATCH_H

#include "nodes/pg_list.h"
#include "shm/executors.h"
#include "shm/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How transactions are made differs between a worker and a procedure. */
typedef struct DispatchMode
{
	bool background; /* tasks go to executors; else they run right here */
	void (*begin)(void);
	void (*commit)(void);
} DispatchMode;

typedef struct Dispatch
{
	const DispatchMode *mode;
	MemoryContext context;
	MemoryContext batch_context; /* of the present transaction */
	TimestampTz
		began;    /* what was requested before may have been tried before a crash; DT_NOEND: all */
	uint64 batch; /* number of the present one */
	bool may_start;
	bool loaded;            /* everything has been read once: before that nothing is visited */
	TimestampTz next_chunk; /* of what is to be read */
	int limit;    /* of a batch: halved when one fails, until it is known because of which visit */
	List *taken;  /* of pg_uuid_t: visited by the present batch */
	List *unread; /* of RingEntry: to be read by the next batch, before it takes anything */
	bool giving_back;   /* shutting down: attempts broken off do not count */
	List *left_roles;   /* of Oid: whose tasks work() did not run */
	char *last_problem; /* logged once, not once a retry */

	/* placement.c */
	List *unbegun;               /* of TaskKey: lost before they began */
	List *overrun;               /* of TaskKey: lost because they did not end in time */
	List *unplaced;              /* of StartedTask: started, but every executor is busy */
	bool cancelled;              /* the session of CALL work() is to stop */
	uint32 shortages;            /* executors that could not be started, in a row */
	TimestampTz no_worker_until; /* none is started before */
	TimestampTz short_reported;  /* when the log last had it that no worker slot is free */
	bool short_known;            /* and it has not yet had that they are free again */
	TimestampTz next_reap;

	/* tenant_limit.c */
	List *starting; /* of StartedTask: by the present batch */
	List *full;     /* of pg_uuid_t: tenants that stand aside */

	/* starvation.c */
	List *starved;             /* of pg_uuid_t: deployments with ready tasks */
	int reserved;              /* capacity that is left to deployments whose turn it is */
	TimestampTz next_look;     /* for tasks that are stuck behind others */
	TimestampTz relieve_after; /* there was no worker slot for one */
} Dispatch;

/* Adds a copy to one of the lists. */
static inline void
dispatch_remember(Dispatch *d, List **list, const void *data, size_t size)
{
	MemoryContext old = MemoryContextSwitchTo(d->context);
	void *copy = palloc(size);

	memcpy(copy, data, size);
	*list = lappend(*list, copy);
	MemoryContextSwitchTo(old);
}

/* The memory of a transaction that begins now. */
static inline void
dispatch_begin_transaction(Dispatch *d)
{
	d->mode->begin();
	MemoryContextSwitchTo(d->batch_context);
}

#endif /* HOTSWAP_DISPATCH_H */
