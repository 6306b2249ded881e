/*
 * batch.c
 *		Claims due deployments in small batches, advances each, and acts on the result.
 *
 * A batch is one transaction, a deployment in it a subtransaction: an error of one is recorded as
 * its failure and harms no other.  Where that cannot be recorded, or the error is none of the
 * deployment's own, it is set aside and visited again after a delay that grows.  What has to happen
 * outside the database happens after the commit.  If the batch itself fails, nothing was done: what it
 * had taken is tried again in smaller batches, so that the one that is at fault ends up alone and is set
 * aside.
 *
 * Locks: the dispatcher lock (session) for as long as it works; the rows of deployments, taken
 * without waiting, so that two rows in one transaction cannot make a deadlock with anybody.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/backoff.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "base/uuid.h"
#include "core/deployment.h"
#include "core/installation.h"
#include "dispatch/batch.h"
#include "dispatch/due_set.h"
#include "dispatch/load.h"
#include "dispatch/placement.h"
#include "dispatch/pool.h"
#include "dispatch/reading.h"
#include "dispatch/setback.h"
#include "dispatch/starvation.h"
#include "dispatch/tenant_limit.h"
#include "pipeline/pipeline.h"
#include "shm/advisory.h"
#include "shm/shmem.h"
#include "shm/trouble.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* Begins to dispatch, with an empty due set; what was known before is forgotten. */
Dispatch *
dispatch_begin(const DispatchMode *mode)
{
	static MemoryContext context = NULL;
	Dispatch *d;

	if (context == NULL)
		context =
			AllocSetContextCreate(TopMemoryContext, "hotswap dispatch", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(context);
	d = MemoryContextAllocZero(context, sizeof(Dispatch));
	d->mode = mode;
	d->context = context;
	d->batch_context = AllocSetContextCreate(context, "hotswap batch", ALLOCSET_DEFAULT_SIZES);
	d->began = mode->background ? GetCurrentTimestamp() : DT_NOEND;
	d->limit = hotswap_batch_size;
	d->no_worker_until = DT_NOBEGIN;
	d->next_reap = d->next_look = DT_NOEND;
	load_nothing();
	return d;
}

/* Takes the lock that makes this session the dispatcher of the database. */
bool
dispatch_lock(bool wait)
{
	LOCKTAG tag;

	lock_tag(&tag, LOCK_DISPATCHER, NULL, 0);
	return LockAcquire(&tag, ExclusiveLock, true, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
dispatch_unlock(void)
{
	LOCKTAG tag;

	lock_tag(&tag, LOCK_DISPATCHER, NULL, 0);
	(void) LockRelease(&tag, ExclusiveLock, true);
}

/*
 * Picks what is to be visited next, and says whether it is admitted to its lanes: what was touched
 * is only looked at, and takes its turn like everything else that waits.
 */
static DueItem *
pick(Dispatch *d, int free_capacity, bool *admit)
{
	DueItem *item;

	*admit = false;
	while ((item = dueset_touched()) != NULL && !reading_refresh(d, item))
		;
	/* without capacity, all that waits waits for an executor */
	while (item == NULL && d->may_start && free_capacity > 0 &&
		   (item = tenant_limit_next(d)) != NULL)
	{
		*admit = true;
		/* is it still its turn? */
		if (!reading_refresh(d, item) || tenant_limit_next(d) != item)
			item = NULL;
	}
	if (item)
		dueset_take(item, *admit);
	return item;
}

/* A visit, or the record that it has failed. */
typedef struct Attempt
{
	VisitRequest *request;
	VisitResult *result;
	ErrorData *failed; /* with which error, or NULL */
} Attempt;

/* Adds the deployment to the context of messages. */
static void
describe_visit(void *arg)
{
	errcontext("visit of deployment \"%s\"", uuid_text(&((Attempt *) arg)->result->deployment));
}

static void
attempt(void *arg)
{
	Attempt *a = arg;
	ErrorContextCallback callback = { .callback = describe_visit,
									  .arg = a,
									  .previous = error_context_stack };

	error_context_stack = &callback;
	if (a->failed)
		pipeline_fail(a->request, a->result, a->failed);
	else
		pipeline_visit(a->request, a->result);
	error_context_stack = callback.previous;
}

/*
 * Visits a deployment in a subtransaction, or (failed) records that its visit has failed; returns
 * the error, or NULL.
 */
static ErrorData *
try_visit(VisitRequest *request, VisitResult *v, ErrorData *failed)
{
	Attempt a = { request, v, failed };
	ErrorData *error = subxact_run(attempt, &a);

	if (error && setback_is_final(error))
		ReThrowError(error);
	return error;
}

/*
 * What goes wrong is the deployment's failure; where even that cannot be recorded, or it says nothing about
 * the deployment, returns the error.
 */
static ErrorData *
visit(Dispatch *d, VisitRequest *request, VisitResult *v)
{
	int before = request->capacity;
	ErrorData *error = try_visit(request, v, NULL);

	if (error == NULL)
		return NULL;
	request->capacity = before;
	if (!backoff_is_outside(error->sqlerrcode))
	{
		ErrorData *first = error;

		error = try_visit(request, v, first);
		if (error == NULL)
			setback_report(d, first);
	}
	if (error)
		*v = (VisitResult){ .tenant = v->tenant,
							.deployment = v->deployment,
							.next_due = DT_NOEND,
							.unrecorded = true };
	return error;
}

/* A visit of the present batch. */
typedef struct Visited
{
	VisitResult result;
	bool admitted;
	ErrorData *error; /* why it is set aside, or NULL */
} Visited;

/* Acts on a visit that has committed. */
static void
apply(Dispatch *d, const Visited *visited)
{
	const VisitResult *v = &visited->result;
	DueItem *item = dueset_find(&v->deployment);
	ListCell *cell;

	if (item == NULL)
		return;
	if (v->locked)
	{
		setback_locked(item);
		return;
	}
	if (visited->error)
	{
		setback_set_aside(d, item, visited->error);
		return;
	}
	setback_unlocked(item);
	foreach (cell, v->waited_for_it)
		dueset_touch_id(lfirst(cell));
	if (v->ended)
	{
		setback_forget(item);
		return;
	}
	/* that one could be looked at says nothing about its next start */
	if (!v->queued || visited->admitted)
		setback_over(item);
	if (v->running && !item->started)
		dueset_start(item);
	foreach (cell, v->finished_environments)
		dueset_leave_lane(item, lfirst(cell));
	dueset_timer(item, v->next_due);
	if (v->queued)
		dueset_ready(item);
	if (v->starved)
		starvation_note(d, item);
	placement_cancel(d, item, v->cancelled, v->end_executors);
	if (d->mode->background)
		placement_put(d, v->started);
	else
		placement_run(d, item, v->started);
}

/*
 * A deployment that has been released stands in its lanes from now on; one that waits for an
 * approval leaves them to others.
 */
static void
change_lanes(Dispatch *d, const VisitResult *v)
{
	DueItem *item = dueset_find(&v->deployment);

	if (item == NULL || (!v->parked && !v->queued) || v->queued == (item->nlinks > 0))
		return;
	dueset_remove(item);
	dispatch_begin_transaction(d);
	reading_one(d, &v->tenant, &v->deployment);
	d->mode->commit();
}

/*
 * Must the batch be on disk before anybody acts on it?  On this server's: a standby that is away must not
 * hold the rows of a batch.
 */
static bool
must_be_durable(const Visited *visits, int count)
{
	for (int i = 0; i < count; i++)
		if (visits[i].result.durable)
			return true;
	return false;
}

/*
 * How much of the capacity a visit leaves to others: what its tenant may not have, and, if it is only
 * looked at, what is reserved for them.
 */
static int
left_to_others(Dispatch *d, const DueItem *item, bool admitted, int capacity)
{
	return Max(admitted ? 0 : d->reserved, capacity - tenant_limit_room(d, item->tenant));
}

static int
visit_batch(Dispatch *d, Visited *visits, VisitRequest *request)
{
	int count = 0;
	bool broken = false;

	while (count < d->limit && !broken)
	{
		Visited *v = &visits[count];
		DueItem *item = pick(d, request->capacity, &v->admitted);
		RingEntry entry;
		int left;

		if (item == NULL)
			break;
		entry = (RingEntry){ item->tenant->id, item->id };
		v->result.tenant = item->tenant->id;
		v->result.deployment = item->id;
		dispatch_remember(d, &d->taken, &entry, sizeof(entry));
		request->may_admit = v->admitted;
		request->suspended = item->tenant->suspended;
		request->leaving = item->tenant->leaving;
		count++;
		left = left_to_others(d, item, v->admitted, request->capacity);
		request->capacity -= left;
		v->error = visit(d, request, &v->result);
		request->capacity += left;
		d->starting = list_concat(d->starting, v->result.started);
		/* whoever waits for the server or for a lock shall not make the others of the batch wait */
		broken = v->error != NULL;
		dueset_wait_behind(item, v->result.is_behind ? &v->result.behind : NULL);
		/* two of one lane must not be admitted in one batch */
		if (v->result.running && !item->started)
			dueset_start(item);
		/* the next one of its lanes may start in the transaction in which it ends */
		if (v->result.ended)
			dueset_leave(item);
	}
	if (synchronous_commit < SYNCHRONOUS_COMMIT_LOCAL_FLUSH && must_be_durable(visits, count))
		(void) set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	return count;
}

static void
keep_left_roles(Dispatch *d, const VisitRequest *request)
{
	MemoryContext old = MemoryContextSwitchTo(d->context);

	for (int i = 0; i < list_length(request->left_roles); i++)
		d->left_roles = list_append_unique_oid(d->left_roles, list_nth_oid(request->left_roles, i));
	MemoryContextSwitchTo(old);
}

/* Visits a batch; false when there was nothing to visit. */
static bool
run_batch(Dispatch *d)
{
	VisitRequest request = { .capacity = d->giving_back ? 0 : placement_capacity(d),
							 .in_flight = placement_in_flight,
							 .given_back = placement_given_back,
							 .overran = placement_overran,
							 .tasks = d,
							 .results = d->batch_context };
	AuditActor actor;
	Visited *visits;
	int count;
	bool troubled = false;

	request.began = d->began;
	if (!d->mode->background)
		request.only_role = GetSessionUserId();
	d->batch++;
	dispatch_begin_transaction(d);
	d->starting = NIL;
	MemoryContextReset(d->batch_context);
	d->limit = Min(d->limit, hotswap_batch_size);
	reading_unread(d);
	/* the line may have been stopped since everything was loaded */
	d->may_start = reading_state() == DISPATCH_ALLOWED;
	request.may_start = d->may_start && !d->giving_back;
	audit_worker(&actor);
	request.actor = &actor;
	visits = palloc0(hotswap_batch_size * sizeof(Visited));
	count = visit_batch(d, visits, &request);
	d->mode->commit();
	d->starting = NIL;
	list_free_deep(d->taken);
	d->taken = NIL;
	if (count > 0)
		d->limit = Min(2 * d->limit, hotswap_batch_size);
	keep_left_roles(d, &request);
	for (int i = 0; i < count; i++)
	{
		apply(d, &visits[i]);
		troubled = troubled || visits[i].error;
	}
	/* when none of them can be forgotten any more */
	if (d->mode->background && d->unplaced != NIL)
		placement_hand_over(d);
	if (count > 0 && !troubled)
		setback_report(d, NULL);
	for (int i = 0; i < count; i++)
		change_lanes(d, &visits[i].result);
	placement_forget_settled(d);
	return count > 0;
}

/*
 * To be told when dispatch_step() has raised an error, after the transaction has been ended.  What the batch
 * had taken is as it was before, and is read and tried again, half of it at a time; one that was alone is at
 * fault, and is set aside.  False when there was none to be found at fault.
 */
bool
dispatch_failed(Dispatch *d, ErrorData *error)
{
	List *taken = d->taken;
	int count = list_length(taken);
	ListCell *cell;

	if (count == 0)
		return false;
	d->taken = NIL;
	d->starting = NIL;
	d->limit = Max(1, count / 2);
	foreach (cell, taken)
	{
		RingEntry *entry = lfirst(cell);
		DueItem *item = dueset_find(&entry->deployment);

		dispatch_remember(d, &d->unread, entry, sizeof(*entry));
		if (item == NULL)
			continue;
		item->read = 0;
		if (count == 1)
			setback_set_aside(d, item, error);
	}
	list_free_deep(taken);
	return true;
}

/* Is there anything that a batch would visit?  What waits for an executor it would not. */
static bool
can_visit(Dispatch *d)
{
	return dueset_touched() || (d->may_start && placement_capacity(d) > 0 && tenant_limit_next(d));
}

/*
 * Does what is due: reads a chunk of what is to be read, and visits one batch.  False when there was
 * nothing.  After an error the caller tells dispatch_failed().
 */
bool
dispatch_step(Dispatch *d)
{
	bool worked = reading_more(d);

	if (!d->loaded)
		return worked;
	dueset_fire_timers(GetCurrentTimestamp());
	if (d->mode->background)
	{
		placement_hand_over(d);
		pool_rebalance();
		starvation_relieve(d);
	}
	tenant_limit_return(d);
	starvation_wake(d);
	if (d->unread == NIL && !can_visit(d))
		return worked;
	/* what was read anew meanwhile may have to be visited, too */
	worked = run_batch(d) || can_visit(d) || worked;
	if (d->cancelled)
	{
		dispatch_give_back(d);
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("work() was cancelled while it ran a task")));
	}
	return worked;
}

/* When there is something to do without any event; DT_NOEND: never. */
TimestampTz
dispatch_next(const Dispatch *d)
{
	return Min(Min(dueset_next_timer(), placement_next(d)), Min(d->next_look, reading_next(d)));
}

/* Before the end: what was broken off is ready again, and the attempt does not count. */
void
dispatch_give_back(Dispatch *d)
{
	d->giving_back = true;
	while (run_batch(d))
		;
}
