/*
 * fair_share.c
 *		Whose turn it is: the tenants of the due set, what each may start, and their shares.
 *
 * Process-local, a part of the due set.  Of what waits and may be able to start, a higher priority
 * goes first.  Within a priority the tenants take turns by start-time fair queueing (Goyal, Vin and
 * Cheng, 1996), whose virtual times are the passes of stride scheduling (Waldspurger and Weihl,
 * 1995): each turn costs a tenant a unit of time divided by its weight, and the one with the least
 * time behind it is next; then the older request.  A tenant that had nothing waiting begins at the
 * time of the turn that was given last, so that it is next without having saved anything up.
 *
 * A tenant that is not active, or has as many deployments running or tasks in hand as it may, does
 * not compete: its shares stand aside, all that waits in them with one step.
 */
#include "postgres.h"

#include "dispatch/fair_share.h"
#include "utils/hsearch.h"

/* What a turn costs a tenant of weight 1; at a million turns a second it lasts for half a year. */
#define TURN_COST (UINT64CONST(1) << 20)

typedef struct PriorityTime
{
	int32 priority; /* hash key */
	uint64 now;     /* of the turn that was given last */
} PriorityTime;

static MemoryContext context;
static HTAB *tenants;
static HTAB *shares;
static HTAB *times;
static pairingheap *competing;

static int
compare_age(const pairingheap_node *x, const pairingheap_node *y, void *arg pg_attribute_unused())
{
	const TurnItem *a = pairingheap_const_container(TurnItem, node, x);
	const TurnItem *b = pairingheap_const_container(TurnItem, node, y);

	return memcmp(b->id, a->id, sizeof(*a->id));
}

static int
compare_shares(const pairingheap_node *x, const pairingheap_node *y, void *arg)
{
	const Share *a = pairingheap_const_container(Share, node, x);
	const Share *b = pairingheap_const_container(Share, node, y);

	if (a->key.priority != b->key.priority)
		return a->key.priority > b->key.priority ? 1 : -1;
	if (a->time != b->time)
		return a->time < b->time ? 1 : -1;
	return compare_age(pairingheap_first(a->waiting), pairingheap_first(b->waiting), arg);
}

static HTAB *
make_table(const char *name, Size key, Size entry)
{
	HASHCTL ctl = { .keysize = key, .entrysize = entry, .hcxt = context };

	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Forgets everything; what the context held before is gone. */
void
turn_reset(MemoryContext due_context)
{
	context = due_context;
	tenants = make_table("hotswap due tenants", sizeof(pg_uuid_t), sizeof(DueTenant));
	shares = make_table("hotswap shares", sizeof(ShareKey), sizeof(Share));
	times = make_table("hotswap priorities", sizeof(int32), sizeof(PriorityTime));
	competing = pairingheap_allocate(compare_shares, NULL);
}

/* The tenant's entry; a new one starts nothing before its fields have been set. */
DueTenant *
turn_tenant(const pg_uuid_t *id)
{
	bool found;
	DueTenant *tenant = hash_search(tenants, id, HASH_ENTER, &found);

	if (!found)
		*tenant = (DueTenant){ .id = *id, .weight = 1 };
	return tenant;
}

/* The same, NULL where it has nothing in the due set. */
DueTenant *
turn_find_tenant(const pg_uuid_t *id)
{
	return hash_search(tenants, id, HASH_FIND, NULL);
}

static bool
may_start_more(const DueTenant *tenant)
{
	return tenant->active && !tenant->full && tenant->started < tenant->limit;
}

/* Puts a share where it belongs, after something has changed that matters for its place. */
static void
settle(Share *share)
{
	bool competes = may_start_more(share->tenant) && !pairingheap_is_empty(share->waiting);

	if (share->competes)
		pairingheap_remove(competing, &share->node);
	else if (competes)
		share->time = Max(share->time, *share->now);
	share->competes = competes;
	if (competes)
		pairingheap_add(competing, &share->node);
}

/* To be called when fields of the tenant have changed. */
void
turn_set_tenant(DueTenant *tenant)
{
	for (Share *share = tenant->share; share; share = share->next)
		if (share->competes != may_start_more(tenant))
			settle(share);
}

/* It has as many tasks in hand as it may, or (not full) fewer again. */
void
turn_set_full(DueTenant *tenant, bool full)
{
	tenant->full = full;
	turn_set_tenant(tenant);
}

/* So many more of its items have started. */
void
turn_count(DueTenant *tenant, int started)
{
	tenant->started += started;
	Assert(tenant->started >= 0 && tenant->started <= tenant->items);
	turn_set_tenant(tenant);
}

static Share *
find_share(DueTenant *tenant, int priority)
{
	bool found;
	MemoryContext old;
	Share *share;
	PriorityTime *time;
	ShareKey key = { tenant->id, priority };

	share = hash_search(shares, &key, HASH_ENTER, &found);
	if (found)
		return share;
	time = hash_search(times, &priority, HASH_ENTER, &found);
	if (!found)
		time->now = 0;
	old = MemoryContextSwitchTo(context);
	share->waiting = pairingheap_allocate(compare_age, NULL);
	MemoryContextSwitchTo(old);
	share->now = &time->now;
	share->time = 0;
	share->competes = false;
	share->tenant = tenant;
	share->next = tenant->share;
	tenant->share = share;
	return share;
}

/* A new item of a tenant. */
void
turn_add(TurnItem *item, const pg_uuid_t *id, DueTenant *tenant, int priority)
{
	item->id = id;
	tenant->items++;
	item->share = find_share(tenant, priority);
	item->waiting = false;
}

/* The item is gone; with the last one, its tenant. */
void
turn_remove(TurnItem *item)
{
	DueTenant *tenant = item->share->tenant;

	turn_leave(item);
	if (--tenant->items > 0)
		return;
	while (tenant->share)
	{
		Share *share = tenant->share;

		tenant->share = share->next;
		pairingheap_free(share->waiting);
		(void) hash_search(shares, &share->key, HASH_REMOVE, NULL);
	}
	(void) hash_search(tenants, &tenant->id, HASH_REMOVE, NULL);
}

/* The item may be able to start. */
void
turn_wait(TurnItem *item)
{
	Share *share = item->share;

	if (item->waiting)
		return;
	item->waiting = true;
	pairingheap_add(share->waiting, &item->node);
	if (pairingheap_first(share->waiting) == &item->node)
		settle(share);
}

/* The item does not wait any more. */
void
turn_leave(TurnItem *item)
{
	Share *share = item->share;
	bool was_first;

	if (!item->waiting)
		return;
	was_first = pairingheap_first(share->waiting) == &item->node;
	item->waiting = false;
	pairingheap_remove(share->waiting, &item->node);
	if (was_first)
		settle(share);
}

/* The item gets its turn. */
void
turn_charge(TurnItem *item)
{
	Share *share = item->share;

	Assert(item->waiting && pairingheap_first(share->waiting) == &item->node);
	*share->now = share->time;
	share->time += TURN_COST / share->tenant->weight;
	turn_leave(item);
}

/* The item whose turn it is, or NULL. */
TurnItem *
turn_next(void)
{
	Share *share;

	if (pairingheap_is_empty(competing))
		return NULL;
	share = pairingheap_container(Share, node, pairingheap_first(competing));
	return pairingheap_container(TurnItem, node, pairingheap_first(share->waiting));
}
