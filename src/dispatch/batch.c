/*
 * batch.c
 *		Claims due deployments in small batches, advances each, and acts on the result.
 *
 * A batch is one transaction, a deployment in it a subtransaction: an error of one is recorded as
 * its failure and harms no other.  What has to happen outside the database happens after the
 * commit. If the batch itself fails, nothing was done, and everything is loaded anew.
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
#include "dispatch/starvation.h"
#include "pipeline/pipeline.h"
#include "shm/advisory.h"
#include "shm/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#define LOCKED_RETRY_MS 20   /* a row that somebody else has; doubles */
#define FAILED_RETRY_MS 1000 /* a visit whose failure could not be recorded */
#define RETRY_DOUBLINGS 6
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

/* Logs a problem when it is another one than the last. */
static void
report_problem(Dispatch *d, ErrorData *error)
{
	if (d->last_problem && error && strcmp(d->last_problem, error->message) == 0)
		return;
	if (d->last_problem)
		pfree(d->last_problem);
	d->last_problem = error ? MemoryContextStrdup(d->context, error->message) : NULL;
	if (error)
		ereport(LOG, (errcode(error->sqlerrcode),
					  errmsg("hotswap could not dispatch: %s", error->message),
					  error->detail ? errdetail_internal("%s", error->detail) : 0,
					  error->context ? errcontext("%s", error->context) : 0));
}

/* ---- loading ---- */

static DispatchState
read_state(void)
{
	DbScope scope;
	DispatchState state;

	db_enter(&scope);
	state = installation_dispatch_state();
	db_leave(&scope);
	return state;
}

/* Loads everything anew, in a transaction of its own. */
DispatchState
dispatch_load(Dispatch *d)
{
	DispatchState state;

	dispatch_begin_transaction(d);
	MemoryContextReset(d->batch_context);
	starvation_forget(d);
	d->no_worker_until = DT_NOBEGIN;
	state = read_state();
	d->may_start = state == DISPATCH_ALLOWED;
	if (d->may_start || state == DISPATCH_STOPPED)
		load_all();
	else
		load_nothing();
	d->mode->commit();
	return state;
}

/* Deployments that a committed transaction changed, RING_BATCH at most. */
void
dispatch_announced(Dispatch *d, const RingEntry *entries, int count)
{
	Datum tenants[RING_BATCH];
	Datum ids[RING_BATCH];
	int unknown = 0;

	Assert(count <= RING_BATCH);
	for (int i = 0; i < count; i++)
	{
		DueItem *item = dueset_find(&entries[i].deployment);

		/* one that stood in no lane may have come to need some */
		if (item && item->nlinks == 0)
		{
			dueset_remove(item);
			item = NULL;
		}
		if (item)
			dueset_touch(item);
		else
		{
			tenants[unknown] = UUIDPGetDatum(&entries[i].tenant);
			ids[unknown++] = UUIDPGetDatum(&entries[i].deployment);
		}
	}
	if (unknown == 0)
		return;
	dispatch_begin_transaction(d);
	MemoryContextReset(d->batch_context);
	load_some(tenants, ids, unknown);
	d->mode->commit();
}

/* ---- a batch ---- */

/*
 * Reads what a tenant may do, once a batch: a suspension that committed before the batch began lets
 * nothing through.
 */
static void
refresh(Dispatch *d, DueTenant *tenant)
{
	Datum id = UUIDPGetDatum(&tenant->id);

	if (tenant->seen == d->batch)
		return;
	load_tenants(&id, 1);
	tenant->seen = d->batch;
}

/*
 * Picks what is to be visited next, and says whether it is admitted to its lanes: what was touched
 * is only looked at, and takes its turn like everything else that waits.
 */
static DueItem *
pick(Dispatch *d, int free_capacity, bool *admit)
{
	DueItem *item = dueset_touched();

	*admit = false;
	if (item)
		refresh(d, item->tenant);
	/* without capacity, all that waits waits for an executor */
	while (item == NULL && d->may_start && free_capacity > 0 && (item = dueset_next()) != NULL)
	{
		*admit = true;
		refresh(d, item->tenant);
		/* is it still its turn? */
		if (dueset_next() != item)
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
	errcontext("visit of deployment %s", uuid_text(&((Attempt *) arg)->result->deployment));
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
 * Visits a deployment in a subtransaction, or (failed) records that its visit has failed; returns the
 * error, or NULL.
 */
static ErrorData *
try_visit(VisitRequest *request, VisitResult *v, ErrorData *failed)
{
	Attempt a = { request, v, failed };
	ErrorData *error = subxact_run(attempt, &a);

	/* nor is it the deployment's fault when the extension is being dropped */
	if (error &&
		(backoff_is_outside(error->sqlerrcode) || error->sqlerrcode == ERRCODE_UNDEFINED_TABLE ||
		 error->sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED))
		ReThrowError(error);
	return error;
}

/* What goes wrong is the deployment's failure; where even that cannot be recorded, it rests. */
static void
visit(Dispatch *d, VisitRequest *request, VisitResult *v)
{
	int before = request->capacity;
	ErrorData *error = try_visit(request, v, NULL);

	if (error == NULL)
		return;
	request->capacity = before;
	report_problem(d, error);
	error = try_visit(request, v, error);
	if (error == NULL)
		return;
	report_problem(d, error);
	*v = (VisitResult){
		.tenant = v->tenant, .deployment = v->deployment, .next_due = DT_NOEND, .unrecorded = true
	};
}

static void
rest(DueItem *item, int base_ms)
{
	int64 delay = (int64) base_ms << Min(item->failures, RETRY_DOUBLINGS);

	item->failures++;
	dueset_timer(item, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay));
}

/* Acts on a visit that has committed. */
static void
apply(Dispatch *d, const VisitResult *v)
{
	DueItem *item = dueset_find(&v->deployment);
	ListCell *cell;

	if (item == NULL)
		return;
	if (v->locked)
	{
		rest(item, LOCKED_RETRY_MS);
		return;
	}
	if (v->unrecorded)
	{
		rest(item, FAILED_RETRY_MS);
		return;
	}
	item->failures = 0;
	if (v->ended)
	{
		dueset_remove(item);
		return;
	}
	if (v->running && !item->started)
		dueset_start(item);
	foreach (cell, v->finished_environments)
		dueset_leave_lane(item, lfirst(cell));
	dueset_timer(item, v->next_due);
	if (v->queued)
		dueset_ready(item);
	if (v->starved)
		starvation_note(d, &v->deployment);
	placement_cancel(d, item, v->cancelled, v->end_executors);
	if (d->mode->background)
		placement_put(d, v->started);
	else
		placement_run(d, item, v->started);
}

/*
 * A deployment that has been released stands in its lanes from now on; one that waits for an approval
 * leaves them to others.
 */
static void
change_lanes(Dispatch *d, const VisitResult *v)
{
	DueItem *item = dueset_find(&v->deployment);
	Datum tenant = UUIDPGetDatum(&v->tenant);
	Datum id = UUIDPGetDatum(&v->deployment);

	if (item == NULL || (!v->parked && !v->queued) || v->queued == (item->nlinks > 0))
		return;
	dueset_remove(item);
	dispatch_begin_transaction(d);
	load_some(&tenant, &id, 1);
	d->mode->commit();
}

/*
 * Must the batch be on disk before anybody acts on it?  The start of a task must: one that brings the
 * server down has to count as an attempt.  On this server's: a standby that is away must not hold the
 * rows of a batch.
 */
static bool
must_be_durable(const VisitResult *visits, int count)
{
	for (int i = 0; i < count; i++)
		if (visits[i].started != NIL)
			return true;
	return false;
}

static int
visit_batch(Dispatch *d, VisitResult *visits, VisitRequest *request, DueItem **items)
{
	int limit = hotswap_batch_size;
	int count = 0;
	bool admit;

	while (count < limit)
	{
		DueItem *item = pick(d, request->capacity, &admit);
		VisitResult *v = &visits[count];

		if (item == NULL)
			break;
		items[count] = item;
		v->tenant = item->tenant->id;
		v->deployment = item->id;
		request->may_admit = admit;
		request->suspended = item->tenant->suspended;
		request->leaving = item->tenant->leaving;
		count++;
		visit(d, request, v);
		/* two of one lane must not be admitted in one batch */
		if (v->running && !item->started)
			dueset_start(item);
	}
	if (synchronous_commit < SYNCHRONOUS_COMMIT_LOCAL_FLUSH && must_be_durable(visits, count))
		(void) set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	return count;
}

/* Visits a batch; false when there was nothing to visit. */
static bool
run_batch(Dispatch *d)
{
	VisitRequest request = { .capacity = d->giving_back ? 0 : placement_capacity(d),
							 .in_flight = placement_in_flight,
							 .given_back = placement_given_back,
							 .tasks = d,
							 .results = d->batch_context };
	AuditActor actor;
	VisitResult *visits;
	DueItem **items;
	int count;

	if (!d->mode->background)
		request.only_role = GetSessionUserId();
	d->batch++;
	dispatch_begin_transaction(d);
	MemoryContextReset(d->batch_context);
	/* the line may have been stopped since everything was loaded */
	d->may_start = read_state() == DISPATCH_ALLOWED;
	request.may_start = d->may_start && !d->giving_back;
	audit_worker(&actor);
	request.actor = &actor;
	visits = palloc0(hotswap_batch_size * sizeof(VisitResult));
	items = palloc0(hotswap_batch_size * sizeof(DueItem *));
	count = visit_batch(d, visits, &request, items);
	d->mode->commit();
	for (int i = 0; i < list_length(request.left_roles); i++)
	{
		MemoryContext old = MemoryContextSwitchTo(d->context);

		d->left_roles = list_append_unique_oid(d->left_roles, list_nth_oid(request.left_roles, i));
		MemoryContextSwitchTo(old);
	}
	for (int i = 0; i < count; i++)
		apply(d, &visits[i]);
	for (int i = 0; i < count; i++)
		change_lanes(d, &visits[i]);
	placement_forget_settled(d);
	return count > 0;
}

/* Is there anything that a batch would visit?  What waits for an executor it would not. */
static bool
can_visit(Dispatch *d)
{
	return dueset_touched() || (d->may_start && dueset_next() && placement_capacity(d) > 0);
}

/*
 * Does what is due: one batch.  False when nothing was.  An error means that nothing is known any
 * more: the caller loads everything anew.
 */
bool
dispatch_step(Dispatch *d)
{
	bool worked;

	dueset_fire_timers(GetCurrentTimestamp());
	if (d->mode->background)
	{
		placement_retry(d);
		pool_rebalance();
		starvation_relieve(d);
	}
	starvation_wake(d);
	if (!can_visit(d))
		return false;
	worked = run_batch(d);
	if (d->cancelled)
	{
		dispatch_give_back(d);
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("work() was cancelled while it ran a task")));
	}
	if (worked)
		report_problem(d, NULL);
	return worked;
}

/* When there is something to do without any event; DT_NOEND: never. */
TimestampTz
dispatch_next(const Dispatch *d)
{
	return Min(Min(dueset_next_timer(), placement_next(d)), d->next_look);
}

/* Before the end: what was broken off is ready again, and the attempt does not count. */
void
dispatch_give_back(Dispatch *d)
{
	d->giving_back = true;
	while (run_batch(d))
		;
}
