/*
 * tenant_limit.c
 *		How many tasks of one tenant may be in hand: hotswap.max_tenant_executors.
 *
 * A tenant that has as many does not compete for turns until one of them ends: its share stands
 * aside, so that what it has queued keeps its order and holds no lanes.  Of a deployment that has
 * started, as many tasks start as there is room for; the others stay ready.  The session of CALL
 * work() runs what it finds, and has no such limit.  Locks what pool.c does, briefly.
 */
#include "postgres.h"

#include "base/guc.h"
#include "dispatch/placement.h"
#include "dispatch/tenant_limit.h"

/* How many tasks a tenant may have in hand. */
int
tenant_limit(const Dispatch *d)
{
	bool limited = d->mode->background && hotswap_max_tenant_executors > 0;

	return limited ? hotswap_max_tenant_executors : INT_MAX;
}

/* How many more tasks of the tenant may start. */
int
tenant_limit_room(Dispatch *d, const DueTenant *tenant)
{
	int limit = tenant_limit(d);

	/* without one, nothing is counted */
	return limit == INT_MAX ? limit : Max(0, limit - placement_tasks_of(d, &tenant->id));
}

/* The item that may start now and whose turn it is, or NULL; tenants without room stand aside. */
DueItem *
tenant_limit_next(Dispatch *d)
{
	DueItem *item;

	while ((item = dueset_next()) != NULL && tenant_limit_room(d, item->tenant) == 0)
	{
		dispatch_remember(d, &d->full, &item->tenant->id, sizeof(item->tenant->id));
		turn_set_full(item->tenant, true);
	}
	return item;
}

/* Those that stood aside and have room compete again. */
void
tenant_limit_return(Dispatch *d)
{
	ListCell *cell;

	foreach (cell, d->full)
	{
		DueTenant *tenant = turn_find_tenant(lfirst(cell));

		if (tenant && tenant_limit_room(d, tenant) == 0)
			continue;
		if (tenant)
			turn_set_full(tenant, false);
		pfree(lfirst(cell));
		d->full = foreach_delete_current(d->full, cell);
	}
}
