/*
 * due_set.c
 *		Which deployments are due now, which later, and which wait for a lane.
 *
 * Process-local.  An item is touched (to be visited: by priority, then by request, since the ids
 * are ordered by time), or has a timer, or waits for an event.  One that has not started also
 * stands in the waiting list of each of its lanes; it may start when it is the best of all of them
 * and none is held, and then it waits for its turn (fair_share.c).  A lane belongs to one tenant,
 * and its lists all have the same order, so the best of all that a tenant has waiting is the best
 * of each of its lanes, and somebody can always go.
 */
#include "postgres.h"

#include "dispatch/due_set.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

static MemoryContext context = NULL;
static HTAB *items;
static HTAB *lanes;
static HTAB *fronts;
static pairingheap *touched;
static pairingheap *timers;

/* A deployment that others wait for at a gate, whether or not it is known here. */
typedef struct Front
{
	pg_uuid_t id; /* hash key */
	dlist_head behind;
} Front;

#define item_of(ptr, member) pairingheap_container(DueItem, member, ptr)

/* Higher priority first, then the older request; positive: a goes before b. */
static int
compare_rank(const DueItem *a, const DueItem *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority ? 1 : -1;
	return memcmp(&b->id, &a->id, sizeof(a->id));
}

static int
compare_touched(const pairingheap_node *x, const pairingheap_node *y,
				void *arg pg_attribute_unused())
{
	return compare_rank(pairingheap_const_container(DueItem, touch, x),
						pairingheap_const_container(DueItem, touch, y));
}

static int
compare_timer(const pairingheap_node *x, const pairingheap_node *y, void *arg pg_attribute_unused())
{
	const DueItem *a = pairingheap_const_container(DueItem, timer, x);
	const DueItem *b = pairingheap_const_container(DueItem, timer, y);

	return a->due < b->due ? 1 : a->due > b->due ? -1 : 0;
}

static int
compare_lane(const pairingheap_node *x, const pairingheap_node *y, void *arg pg_attribute_unused())
{
	return compare_rank(pairingheap_const_container(LaneLink, node, x)->item,
						pairingheap_const_container(LaneLink, node, y)->item);
}

/* Forgets everything. */
void
dueset_reset(void)
{
	HASHCTL ctl;
	MemoryContext old;

	if (context)
		MemoryContextReset(context);
	else
		context =
			AllocSetContextCreate(TopMemoryContext, "hotswap due set", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	memset(&ctl, 0, sizeof(ctl));
	ctl.hcxt = context;
	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(DueItem);
	items = hash_create("hotswap due items", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(LaneKey);
	ctl.entrysize = sizeof(Lane);
	lanes = hash_create("hotswap lanes", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(Front);
	fronts = hash_create("hotswap fronts", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	touched = pairingheap_allocate(compare_touched, NULL);
	timers = pairingheap_allocate(compare_timer, NULL);
	turn_reset(context);
	MemoryContextSwitchTo(old);
}

DueItem *
dueset_find(const pg_uuid_t *id)
{
	return hash_search(items, id, HASH_FIND, NULL);
}

/*
 * The only place where the flag changes, so that the count of the tenant is always that of its
 * items.
 */
static void
set_started(DueItem *item, bool started)
{
	if (item->started == started)
		return;
	item->started = started;
	turn_count(item->tenant, started ? 1 : -1);
}

static void
leave_front(DueItem *item)
{
	if (item->is_behind)
		dlist_delete(&item->behind);
	item->is_behind = false;
}

/* Waits at a gate for another one: to be visited when something becomes of that; NULL: no more. */
void
dueset_wait_behind(DueItem *item, const pg_uuid_t *id)
{
	Front *front;
	bool found;

	leave_front(item);
	if (id == NULL)
		return;
	front = hash_search(fronts, id, HASH_ENTER, &found);
	if (!found)
		dlist_init(&front->behind);
	dlist_push_tail(&front->behind, &item->behind);
	item->is_behind = true;
}

/* Something has become of a deployment: those that wait for it look again. */
static void
touch_behind(const pg_uuid_t *id)
{
	Front *front = hash_search(fronts, id, HASH_FIND, NULL);

	if (front == NULL)
		return;
	while (!dlist_is_empty(&front->behind))
	{
		DueItem *item = dlist_head_element(DueItem, behind, &front->behind);

		leave_front(item);
		dueset_touch(item);
	}
	(void) hash_search(fronts, id, HASH_REMOVE, NULL);
}

/* Adds an item that is in no list yet; it joins up to nlanes lanes next. */
DueItem *
dueset_add(const pg_uuid_t *tenant, const pg_uuid_t *id, int priority, bool started, int nlanes)
{
	bool found;
	DueItem *item = hash_search(items, id, HASH_ENTER, &found);

	Assert(!found);
	memset((char *) item + sizeof(pg_uuid_t), 0, sizeof(DueItem) - sizeof(pg_uuid_t));
	item->tenant = turn_tenant(tenant);
	item->priority = priority;
	item->space = nlanes;
	item->links = MemoryContextAlloc(context, Max(nlanes, 1) * sizeof(LaneLink));
	turn_add(&item->turn, &item->id, item->tenant, priority);
	if (started)
		set_started(item, true);
	touch_behind(id);
	return item;
}

static Lane *
find_lane(const DueItem *item, const char *environment, const char *module)
{
	LaneKey key;
	Lane *lane;
	bool found;

	memset(&key, 0, sizeof(key));
	key.tenant = item->tenant->id;
	strlcpy(key.environment, environment, sizeof(key.environment));
	strlcpy(key.module, module, sizeof(key.module));
	lane = hash_search(lanes, &key, HASH_ENTER, &found);
	if (!found)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		lane->holder = NULL;
		lane->waiting = pairingheap_allocate(compare_lane, NULL);
		MemoryContextSwitchTo(old);
	}
	return lane;
}

/* Makes an item hold a lane (it has started) or wait for it. */
void
dueset_join_lane(DueItem *item, const char *environment, const char *module)
{
	LaneLink *link;
	Lane *lane = find_lane(item, environment, module);

	Assert(item->nlinks < item->space);
	link = &item->links[item->nlinks++];
	link->item = item;
	link->lane = lane;
	link->waiting = !item->started;
	if (item->started)
		lane->holder = item;
	else
		pairingheap_add(lane->waiting, &link->node);
}

/* Is the item the next one in all of its lanes? */
static bool
lanes_are_free(const DueItem *item)
{
	for (int i = 0; i < item->nlinks; i++)
	{
		Lane *lane = item->links[i].lane;

		if (lane->holder != NULL ||
			pairingheap_container(LaneLink, node, pairingheap_first(lane->waiting))->item != item)
			return false;
	}
	return true;
}

/* If the item can start, it is to be visited when it is its turn. */
void
dueset_ready(DueItem *item)
{
	if (item->nlinks > 0 && !item->started && lanes_are_free(item))
		turn_wait(&item->turn);
}

/* Somebody may be able to start now: the best of the lane. */
static void
wake_lane(Lane *lane)
{
	if (lane->holder == NULL && !pairingheap_is_empty(lane->waiting))
		dueset_ready(pairingheap_container(LaneLink, node, pairingheap_first(lane->waiting))->item);
}

/* Drops a lane that nobody needs any more. */
static void
tidy_lane(Lane *lane)
{
	if (lane->holder != NULL || !pairingheap_is_empty(lane->waiting))
		return;
	pairingheap_free(lane->waiting);
	(void) hash_search(lanes, &lane->key, HASH_REMOVE, NULL);
}

static void
unlink_lane(DueItem *item, LaneLink *link)
{
	Lane *lane = link->lane;

	if (lane == NULL)
		return;
	if (link->waiting)
		pairingheap_remove(lane->waiting, &link->node);
	if (lane->holder == item)
		lane->holder = NULL;
	link->lane = NULL;
	link->waiting = false;
	wake_lane(lane);
	tidy_lane(lane);
}

static void
leave_heaps(DueItem *item)
{
	if (item->touched)
		pairingheap_remove(touched, &item->touch);
	if (item->in_timer)
		pairingheap_remove(timers, &item->timer);
	item->touched = item->in_timer = false;
}

/* Forgets an item; its lanes go to the next. */
void
dueset_remove(DueItem *item)
{
	pg_uuid_t id = item->id;

	leave_heaps(item);
	leave_front(item);
	for (int i = 0; i < item->nlinks; i++)
		unlink_lane(item, &item->links[i]);
	pfree(item->links);
	set_started(item, false);
	turn_remove(&item->turn);
	(void) hash_search(items, &id, HASH_REMOVE, NULL);
	touch_behind(&id);
}

/* Something has happened to it: to be visited even if it cannot start. */
void
dueset_touch(DueItem *item)
{
	if (item->touched)
		return;
	item->touched = true;
	pairingheap_add(touched, &item->touch);
}

/* The same by the id of a deployment that may not be here any more. */
void
dueset_touch_id(const pg_uuid_t *id)
{
	DueItem *item = dueset_find(id);

	if (item)
		dueset_touch(item);
}

/* To be visited at a time; replaces the time set before; DT_NOEND: no more. */
void
dueset_timer(DueItem *item, TimestampTz due)
{
	if (item->in_timer)
		pairingheap_remove(timers, &item->timer);
	item->in_timer = due != DT_NOEND;
	item->due = due;
	if (item->in_timer)
		pairingheap_add(timers, &item->timer);
}

/* Not to be visited before that time, unless something happens to it. */
void
dueset_put_off(DueItem *item, TimestampTz due)
{
	dueset_take(item, false);
	turn_leave(&item->turn);
	dueset_timer(item, due);
}

void
dueset_fire_timers(TimestampTz now)
{
	while (!pairingheap_is_empty(timers))
	{
		DueItem *item = item_of(pairingheap_first(timers), timer);

		if (item->due > now)
			break;
		dueset_timer(item, DT_NOEND);
		dueset_touch(item);
	}
}

TimestampTz
dueset_next_timer(void)
{
	return pairingheap_is_empty(timers) ? DT_NOEND : item_of(pairingheap_first(timers), timer)->due;
}

/* The best of those that were touched, or NULL. */
DueItem *
dueset_touched(void)
{
	return pairingheap_is_empty(touched) ? NULL : item_of(pairingheap_first(touched), touch);
}

/* The item that may start now and whose turn it is, or NULL. */
DueItem *
dueset_next(void)
{
	TurnItem *turn;

	while ((turn = turn_next()) != NULL)
	{
		DueItem *item = (DueItem *) ((char *) turn - offsetof(DueItem, turn));

		if (lanes_are_free(item))
			return item;
		/* woken for a lane that somebody else has got: its time will come */
		turn_leave(turn);
	}
	return NULL;
}

/* The item is about to be visited; if it was its turn (next), it has had it. */
void
dueset_take(DueItem *item, bool next)
{
	if (item->touched)
		pairingheap_remove(touched, &item->touch);
	item->touched = false;
	if (next)
		turn_charge(&item->turn);
}

/* The item holds its lanes from now on. */
void
dueset_start(DueItem *item)
{
	turn_leave(&item->turn);
	set_started(item, true);
	for (int i = 0; i < item->nlinks; i++)
	{
		LaneLink *link = &item->links[i];

		if (link->waiting)
			pairingheap_remove(link->lane->waiting, &link->node);
		link->waiting = false;
		link->lane->holder = item;
	}
	touch_behind(&item->id);
}

/* The deployment is over, but what follows from that is not done yet: others may go where it was. */
void
dueset_leave(DueItem *item)
{
	/* it may have been its turn when it was touched */
	turn_leave(&item->turn);
	for (int i = 0; i < item->nlinks; i++)
		unlink_lane(item, &item->links[i]);
	/* it stands nowhere, whatever an earlier visit of the same batch has found */
	item->nlinks = 0;
	set_started(item, false);
}

/* The deployment is through with an environment: others may go there. */
void
dueset_leave_lane(DueItem *item, const char *environment)
{
	for (int i = 0; i < item->nlinks; i++)
		if (item->links[i].lane && strcmp(item->links[i].lane->key.environment, environment) == 0)
			unlink_lane(item, &item->links[i]);
}
