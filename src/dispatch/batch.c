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

#include "base/backoff.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "core/deployment.h"
#include "core/installation.h"
#include "dispatch/batch.h"
#include "dispatch/due_set.h"
#include "dispatch/load.h"
#include "dispatch/pool.h"
#include "pipeline/pipeline.h"
#include "run/task.h"
#include "shm/advisory.h"
#include "shm/shmem.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#define LOCKED_RETRY_MS 20   /* a row that somebody else has; doubles */
#define FAILED_RETRY_MS 1000 /* a visit whose failure could not be recorded */
#define RETRY_DOUBLINGS 6
#define NO_WORKER_RETRY_MS 2000
#define FOREGROUND_CAPACITY 8 /* tasks in hand of CALL work() */

static const DispatchMode *mode;
static MemoryContext batch_context = NULL;
static bool may_start = false;
static bool giving_back = false; /* shutting down: attempts broken off do not count */
static bool cancelled = false;   /* the session of CALL work() is to stop */
static List *unbegun = NIL;      /* of TaskKey: lost before they began */
static List *unplaced = NIL;     /* of StartedTask: started, but every executor is busy */
static List *starved = NIL;      /* of pg_uuid_t: deployments with ready tasks */
static TimestampTz no_worker_until = DT_NOBEGIN;
static TimestampTz next_reap = DT_NOEND;
static TimestampTz next_look = DT_NOEND; /* for tasks that are stuck behind others */
static bool no_workers = false;          /* as in the database's slot */
static uint64 batch = 0;                 /* number of the present one */
static List *left_roles = NIL;
static char *last_problem = NULL; /* logged once, not once a retry */

void
dispatch_init(const DispatchMode *how)
{
	mode = how;
	if (batch_context == NULL)
		batch_context =
			AllocSetContextCreate(TopMemoryContext, "hotswap batch", ALLOCSET_DEFAULT_SIZES);
	load_nothing();
	list_free_deep(unbegun);
	list_free_deep(unplaced);
	list_free_deep(starved);
	list_free(left_roles);
	unbegun = unplaced = starved = left_roles = NIL;
	giving_back = cancelled = false;
	no_worker_until = DT_NOBEGIN;
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
report_problem(ErrorData *error)
{
	if (last_problem && error && strcmp(last_problem, error->message) == 0)
		return;
	if (last_problem)
		pfree(last_problem);
	last_problem = error ? MemoryContextStrdup(TopMemoryContext, error->message) : NULL;
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
dispatch_load(void)
{
	DispatchState state;

	mode->begin();
	MemoryContextSwitchTo(batch_context);
	MemoryContextReset(batch_context);
	list_free_deep(starved);
	starved = NIL;
	next_look = DT_NOEND;
	state = read_state();
	may_start = state == DISPATCH_ALLOWED;
	if (may_start || state == DISPATCH_STOPPED)
		load_all();
	else
		load_nothing();
	mode->commit();
	return state;
}

/* Deployments that a committed transaction changed, RING_BATCH at most. */
void
dispatch_announced(const RingEntry *entries, int count)
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
	mode->begin();
	MemoryContextSwitchTo(batch_context);
	MemoryContextReset(batch_context);
	load_some(tenants, ids, unknown);
	mode->commit();
}

/* ---- executors ---- */

static bool
key_in(List *keys, const TaskKey *key)
{
	ListCell *cell;

	/* a StartedTask begins with its key */
	foreach (cell, keys)
		if (task_key_equal(lfirst(cell), key))
			return true;
	return false;
}

static bool
in_flight(const TaskKey *key)
{
	return key_in(unplaced, key) || executors_have(key);
}

static bool
given_back(const TaskKey *key)
{
	return giving_back || key_in(unbegun, key);
}

static void
remember_unbegun(const TaskKey *key)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	TaskKey *copy = palloc(sizeof(TaskKey));

	*copy = *key;
	unbegun = lappend(unbegun, copy);
	MemoryContextSwitchTo(old);
}

static void
touch_deployment(const pg_uuid_t *id)
{
	DueItem *item = dueset_find(id);

	if (item)
		dueset_touch(item);
}

static void
task_lost(const TaskKey *key, bool begun)
{
	if (!begun)
		remember_unbegun(key);
	touch_deployment(&key->deployment);
}

/* Looks for executors that have died. */
void
dispatch_reap(bool leaving)
{
	if (mode->background)
		next_reap = pool_reap(task_lost, leaving);
}

static int
capacity(void)
{
	if (!mode->background)
		return FOREGROUND_CAPACITY;
	if (GetCurrentTimestamp() < no_worker_until)
		return 0;
	return Max(0, hotswap_max_executors * QUEUE_DEPTH - pool_tasks() - list_length(unplaced));
}

static void
set_no_workers(bool none)
{
	DatabaseSlot *slot;

	if (none == no_workers || (slot = shmem_my_database()) == NULL)
		return;
	slot->no_workers = no_workers = none;
	LWLockRelease(slot->lock);
	if (none)
		ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("no worker slot is free for a hotswap executor"),
					  errhint("Consider increasing max_worker_processes.")));
	else
		ereport(LOG, (errmsg("worker slots are free again for hotswap executors")));
}

/* Gives a started task to an executor; false if it has to be tried again later. */
static bool
place(const StartedTask *task)
{
	switch (pool_place(&task->key, task->role))
	{
		case POOL_PLACED:
			set_no_workers(false);
			return true;
		case POOL_BUSY:
			return false;
		case POOL_NO_WORKER:
			set_no_workers(true);
			no_worker_until =
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_WORKER_RETRY_MS);
			remember_unbegun(&task->key);
			touch_deployment(&task->key.deployment);
			return true;
	}
	return true;
}

static void
place_unplaced(void)
{
	ListCell *cell;

	foreach (cell, unplaced)
	{
		StartedTask *task = lfirst(cell);

		if (!place(task))
			continue;
		unplaced = foreach_delete_current(unplaced, cell);
		pfree(task);
	}
}

static void
place_started(List *tasks)
{
	ListCell *cell;

	foreach (cell, tasks)
	{
		StartedTask *copy;

		if (place(lfirst(cell)))
			continue;
		copy = MemoryContextAlloc(TopMemoryContext, sizeof(StartedTask));
		*copy = *(StartedTask *) lfirst(cell);
		{
			MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

			unplaced = lappend(unplaced, copy);
			MemoryContextSwitchTo(old);
		}
	}
}

/* Another executor for a task that waits behind a long one. */
static void
free_stuck(void)
{
	StartedTask task;
	List *tasks;

	if (!pool_take_stuck(&task.key, &task.role, &next_look))
		return;
	tasks = list_make1(&task);
	place_started(tasks);
	list_free(tasks);
}

static bool
take_unplaced(const TaskKey *key)
{
	ListCell *cell;

	foreach (cell, unplaced)
		if (task_key_equal(lfirst(cell), key))
		{
			pfree(lfirst(cell));
			unplaced = foreach_delete_current(unplaced, cell);
			return true;
		}
	return false;
}

static void
cancel_tasks(DueItem *item, List *keys, bool end)
{
	ListCell *cell;

	foreach (cell, keys)
		if (take_unplaced(lfirst(cell)) || (shared && pool_cancel(lfirst(cell), end)))
			dueset_touch(item);
}

static void
run_here(DueItem *item, List *tasks)
{
	ListCell *cell;

	foreach (cell, tasks)
	{
		const TaskKey *key = &((StartedTask *) lfirst(cell))->key;

		if (cancelled)
		{
			remember_unbegun(key);
			continue;
		}
		mode->begin();
		MemoryContextSwitchTo(batch_context);
		cancelled = !task_run_in_session(key);
		mode->commit();
	}
	if (tasks != NIL)
		dueset_touch(item);
}

/* ---- a batch ---- */

/*
 * Reads what a tenant may do, once a batch: a suspension that committed before the batch began lets
 * nothing through.
 */
static void
refresh(DueTenant *tenant)
{
	Datum id = UUIDPGetDatum(&tenant->id);

	if (tenant->seen == batch)
		return;
	load_tenants(&id, 1);
	tenant->seen = batch;
}

/*
 * Picks what is to be visited next, and says whether it is admitted to its lanes: what was touched
 * is only looked at, and takes its turn like everything else that waits.
 */
static DueItem *
pick(int free_capacity, bool *admit)
{
	DueItem *item = dueset_touched();

	*admit = false;
	if (item)
		refresh(item->tenant);
	/* without capacity, all that waits waits for an executor */
	while (item == NULL && may_start && free_capacity > 0 && (item = dueset_next()) != NULL)
	{
		*admit = true;
		refresh(item->tenant);
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
	VisitRequest *context;
	VisitResult *visit;
	ErrorData *failed; /* with which error, or NULL */
} Attempt;

static void
attempt(void *arg)
{
	Attempt *a = arg;

	if (a->failed)
		pipeline_fail(a->context->actor, a->visit, a->failed);
	else
		pipeline_visit(a->context, a->visit);
}

/*
 * Visits a deployment in a subtransaction, or (failed) records that its visit has failed; returns the
 * error, or NULL.
 */
static ErrorData *
try_visit(VisitRequest *context, VisitResult *v, ErrorData *failed)
{
	Attempt a = { context, v, failed };
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
visit(VisitRequest *context, VisitResult *v)
{
	int before = context->capacity;
	ErrorData *error = try_visit(context, v, NULL);

	if (error == NULL)
		return;
	context->capacity = before;
	report_problem(error);
	error = try_visit(context, v, error);
	if (error == NULL)
		return;
	report_problem(error);
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

static void
remember_starved(const pg_uuid_t *id)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	pg_uuid_t *copy = palloc(sizeof(pg_uuid_t));

	*copy = *id;
	starved = lappend(starved, copy);
	MemoryContextSwitchTo(old);
}

/* Acts on a visit that has committed. */
static void
apply(const VisitResult *v)
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
		remember_starved(&v->deployment);
	cancel_tasks(item, v->cancelled, v->end_executors);
	if (mode->background)
		place_started(v->started);
	else
		run_here(item, v->started);
}

/*
 * A deployment that has been released stands in its lanes from now on; one that waits for an approval
 * leaves them to others.
 */
static void
change_lanes(const VisitResult *v)
{
	DueItem *item = dueset_find(&v->deployment);
	Datum tenant = UUIDPGetDatum(&v->tenant);
	Datum id = UUIDPGetDatum(&v->deployment);

	if (item == NULL || (!v->parked && !v->queued) || v->queued == (item->nlinks > 0))
		return;
	dueset_remove(item);
	mode->begin();
	MemoryContextSwitchTo(batch_context);
	load_some(&tenant, &id, 1);
	mode->commit();
}

static void
forget_settled(void)
{
	ListCell *cell;

	/* those that a visit has given back, or that are gone */
	foreach (cell, unbegun)
	{
		TaskKey *key = lfirst(cell);
		DueItem *item = dueset_find(&key->deployment);

		if (item && item->touched)
			continue;
		unbegun = foreach_delete_current(unbegun, cell);
		pfree(key);
	}
}

/*
 * Must the batch be on disk before anybody acts on it?  The start of a task must: one that brings the
 * server down has to count as an attempt.
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
visit_batch(VisitResult *visits, VisitRequest *context, DueItem **items)
{
	int limit = hotswap_batch_size;
	int count = 0;
	bool admit;

	while (count < limit)
	{
		DueItem *item = pick(context->capacity, &admit);
		VisitResult *v = &visits[count];

		if (item == NULL)
			break;
		items[count] = item;
		v->tenant = item->tenant->id;
		v->deployment = item->id;
		context->may_admit = admit;
		context->suspended = item->tenant->suspended;
		context->leaving = item->tenant->leaving;
		count++;
		visit(context, v);
		/* two of one lane must not be admitted in one batch */
		if (v->running && !item->started)
			dueset_start(item);
	}
	if (must_be_durable(visits, count))
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	return count;
}

/* Visits a batch; false when there was nothing to visit. */
static bool
run_batch(void)
{
	VisitRequest context = { .capacity = giving_back ? 0 : capacity(),
							 .in_flight = in_flight,
							 .given_back = given_back,
							 .results = batch_context };
	AuditActor actor;
	VisitResult *visits;
	DueItem **items;
	int count;

	if (!mode->background)
		context.only_role = GetSessionUserId();
	batch++;
	mode->begin();
	MemoryContextSwitchTo(batch_context);
	MemoryContextReset(batch_context);
	/* the line may have been stopped since everything was loaded */
	may_start = read_state() == DISPATCH_ALLOWED;
	context.may_start = may_start && !giving_back;
	audit_worker(&actor);
	context.actor = &actor;
	visits = palloc0(hotswap_batch_size * sizeof(VisitResult));
	items = palloc0(hotswap_batch_size * sizeof(DueItem *));
	count = visit_batch(visits, &context, items);
	mode->commit();
	for (int i = 0; i < list_length(context.left_roles); i++)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		left_roles = list_append_unique_oid(left_roles, list_nth_oid(context.left_roles, i));
		MemoryContextSwitchTo(old);
	}
	for (int i = 0; i < count; i++)
		apply(&visits[i]);
	for (int i = 0; i < count; i++)
		change_lanes(&visits[i]);
	forget_settled();
	return count > 0;
}

static void
wake_starved(void)
{
	int room = capacity();

	while (starved != NIL && room-- > 0)
	{
		pg_uuid_t *id = linitial(starved);

		touch_deployment(id);
		pfree(id);
		starved = list_delete_first(starved);
	}
}

/* Is there anything that a batch would visit?  What waits for an executor it would not. */
static bool
can_visit(void)
{
	return dueset_touched() || (may_start && dueset_next() && capacity() > 0);
}

/*
 * Does what is due: one batch.  False when nothing was.  An error means that nothing is known any
 * more: the caller loads everything anew.
 */
bool
dispatch_step(void)
{
	bool worked;

	dueset_fire_timers(GetCurrentTimestamp());
	if (mode->background)
	{
		place_unplaced();
		pool_rebalance();
		free_stuck();
	}
	wake_starved();
	if (!can_visit())
		return false;
	worked = run_batch();
	if (cancelled)
	{
		dispatch_give_back();
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("work() was cancelled while it ran a task")));
	}
	if (worked)
		report_problem(NULL);
	return worked;
}

/* When there is something to do without any event; DT_NOEND: never. */
TimestampTz
dispatch_next(void)
{
	TimestampTz next = Min(Min(dueset_next_timer(), next_reap), next_look);

	if (no_worker_until > GetCurrentTimestamp())
		next = Min(next, no_worker_until);
	return next;
}

/* Before the end: what was broken off is ready again, and the attempt does not count. */
void
dispatch_give_back(void)
{
	giving_back = true;
	while (run_batch())
		;
}

List *
dispatch_left_roles(void)
{
	return left_roles;
}
