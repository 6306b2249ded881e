/*
 * starvation.c
 *		Deployments whose tasks found no capacity, and tasks that are stuck behind a long one.
 *
 * Locks what pool.c does, briefly.
 */
#include "postgres.h"

#include "dispatch/placement.h"
#include "dispatch/pool.h"
#include "dispatch/starvation.h"
#include "dispatch/tenant_limit.h"
#include "pipeline/visit.h"

/* A task of the deployment was ready and there was no capacity for it. */
void
starvation_note(Dispatch *d, DueItem *item)
{
	if (item->starved)
		return;
	item->starved = true;
	dispatch_remember(d, &d->starved, &item->id, sizeof(item->id));
}

/* Forgets those that are gone, and counts what the tenants of the others have in hand. */
static void
count_tasks(Dispatch *d, DueItem *next)
{
	ListCell *cell;

	foreach (cell, d->starved)
	{
		DueItem *item = dueset_find(lfirst(cell));

		if (item)
			item->tenant->tasks = 0;
		else
		{
			pfree(lfirst(cell));
			d->starved = foreach_delete_current(d->starved, cell);
		}
	}
	if (next)
		next->tenant->tasks = 0;
	if (d->mode->background)
		placement_count_tasks(d);
}

/* Has one tenant less in hand than another, by their weights, if each had one task more? */
static bool
has_less(const DueTenant *a, const DueTenant *b)
{
	return (int64) (a->tasks + 1) * b->weight < (int64) (b->tasks + 1) * a->weight;
}

/*
 * The place in the list of the first whose tenant has the least in hand, and may have more; -1 if there is
 * none.
 */
static int
find_neediest(Dispatch *d)
{
	DueTenant *least = NULL;
	int best = -1;

	for (int i = 0; i < list_length(d->starved); i++)
	{
		DueTenant *tenant = dueset_find(list_nth(d->starved, i))->tenant;

		if (tenant->tasks >= tenant_limit(d) || (least && !has_less(tenant, least)))
			continue;
		least = tenant;
		best = i;
	}
	return best;
}

/*
 * Has as many of the deployments visited as there is room for.  What becomes free goes to the tenant that has
 * the least in hand by its weight: so a tenant with many tasks that are ready does not keep out the others,
 * not even those that have nothing running yet, to whom some room is left.
 */
void
starvation_wake(Dispatch *d)
{
	int room = d->starved == NIL ? 0 : placement_capacity(d);
	DueItem *next = room > 0 && d->may_start ? tenant_limit_next(d) : NULL;

	d->reserved = 0;
	if (room > 0)
		count_tasks(d, next);
	for (; d->starved != NIL && room > 0; room--)
	{
		int place = find_neediest(d);
		DueItem *item;

		if (place < 0)
			break;
		item = dueset_find(list_nth(d->starved, place));
		if (next && d->reserved == 0 && has_less(next->tenant, item->tenant))
		{
			next->tenant->tasks++;
			d->reserved++;
			continue;
		}
		item->starved = false;
		item->tenant->tasks++;
		dueset_touch(item);
		pfree(list_nth(d->starved, place));
		d->starved = list_delete_nth_cell(d->starved, place);
	}
}

/* Another executor for a task that waits behind a long one. */
void
starvation_relieve(Dispatch *d)
{
	StartedTask task;
	List *tasks;

	if (d->relieve_after > GetCurrentTimestamp())
	{
		d->next_look = d->relieve_after;
		return;
	}
	if (!pool_take_stuck(&task.key, &task.role, &d->next_look))
		return;
	tasks = list_make1(&task);
	placement_put(d, tasks);
	list_free(tasks);
	placement_hand_over(d);
}

/* Nothing is known any more. */
void
starvation_forget(Dispatch *d)
{
	list_free_deep(d->starved);
	d->starved = NIL;
	d->next_look = DT_NOEND;
	d->relieve_after = DT_NOBEGIN;
}
