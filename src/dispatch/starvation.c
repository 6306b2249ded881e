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
starvation_note(Dispatch *d, const pg_uuid_t *deployment)
{
	dispatch_remember(d, &d->starved, deployment, sizeof(*deployment));
}

/* Has as many of the deployments visited as there is room for. */
void
starvation_wake(Dispatch *d)
{
	int room = placement_capacity(d);

	while (d->starved != NIL && room-- > 0)
	{
		pg_uuid_t *id = linitial(d->starved);

		dueset_touch_id(id);
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
}

/* Everything is loaded anew. */
void
starvation_forget(Dispatch *d)
{
	list_free_deep(d->starved);
	d->starved = NIL;
	d->next_look = DT_NOEND;
	d->relieve_after = DT_NOBEGIN;
}
