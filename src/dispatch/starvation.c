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

/* Has as many of the deployments visited as there is room for. */
void
starvation_wake(Dispatch *d)
{
	int room = placement_capacity(d);

	while (d->starved != NIL && room-- > 0)
	{
		pg_uuid_t *id = linitial(d->starved);
		DueItem *item = dueset_find(id);

		if (item)
		{
			item->starved = false;
			dueset_touch(item);
		}
		pfree(id);
		d->starved = list_delete_first(d->starved);
	}
}

/* Another executor for a task that waits behind a long one. */
void
starvation_relieve(Dispatch *d)
{
	StartedTask task;
	List *tasks;

	if (!pool_take_stuck(&task.key, &task.role, &d->next_look))
		return;
	tasks = list_make1(&task);
	placement_put(d, tasks);
	list_free(tasks);
}

/* Nothing is known any more. */
void
starvation_forget(Dispatch *d)
{
	list_free_deep(d->starved);
	d->starved = NIL;
	d->next_look = DT_NOEND;
}
