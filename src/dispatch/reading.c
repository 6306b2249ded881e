/*
 * reading.c
 *		When what is read: in bounded chunks beside the work, and again before it is acted on.
 *
 * load.c reads; this file decides how much at a time, and what becomes of a deployment that cannot
 * be read: the others are read without it, and it is set aside.  Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/subxact.h"
#include "dispatch/due_set.h"
#include "dispatch/load.h"
#include "dispatch/reading.h"
#include "dispatch/setback.h"
#include "dispatch/starvation.h"
#include "shm/trouble.h"
#include "utils/memutils.h"

#define LOAD_PAUSE 3 /* times as long as a chunk took to be read, until the next */

typedef struct Chunk
{
	Datum *tenants;
	Datum *ids;
	int count;
} Chunk;

static void
load_chunk(void *arg)
{
	Chunk *c = arg;

	load_some(c->tenants, c->ids, c->count);
}

/* Reads some; if that fails, the halves by themselves, down to the one that cannot be read. */
static void
load_apart(Dispatch *d, Datum *tenants, Datum *ids, int count)
{
	Chunk chunk = { tenants, ids, count };
	ErrorData *error = subxact_run(load_chunk, &chunk);
	const pg_uuid_t *id = DatumGetUUIDP(ids[0]);
	DueItem *item;
	int half = count / 2;

	if (error == NULL)
		return;
	if (setback_is_final(error))
		ReThrowError(error);
	if (half > 0)
	{
		load_apart(d, tenants, ids, half);
		load_apart(d, tenants + half, ids + half, count - half);
		return;
	}
	item = dueset_find(id);
	setback_set_aside(d, item ? item : dueset_add(DatumGetUUIDP(tenants[0]), id, 0, false, 0),
					  error);
}

/* Reads one, in a transaction. */
void
reading_one(Dispatch *d, const pg_uuid_t *tenant, const pg_uuid_t *id)
{
	Datum tenants[] = { UUIDPGetDatum(tenant) };
	Datum ids[] = { UUIDPGetDatum(id) };

	load_apart(d, tenants, ids, 1);
}

/* Reads what was announced and is not known, and what a batch that failed had taken; in a transaction. */
void
reading_unread(Dispatch *d)
{
	List *list = d->unread;
	Datum tenants[LOAD_CHUNK];
	Datum ids[LOAD_CHUNK];
	int count = 0;
	ListCell *cell;

	d->unread = NIL;
	foreach (cell, list)
	{
		RingEntry *entry = lfirst(cell);

		tenants[count] = UUIDPGetDatum(&entry->tenant);
		ids[count++] = UUIDPGetDatum(&entry->deployment);
		if (count < LOAD_CHUNK && lnext(list, cell))
			continue;
		load_apart(d, tenants, ids, count);
		count = 0;
	}
	list_free_deep(list);
}

DispatchState
reading_state(void)
{
	DbScope scope;
	DispatchState state;

	db_enter(&scope);
	state = installation_dispatch_state();
	db_leave(&scope);
	return state;
}

/* Nothing that is known is there. */
void
dispatch_forget(Dispatch *d)
{
	starvation_forget(d);
	load_nothing();
	trouble_all_over();
	d->loaded = false;
	d->shortages = 0; /* nor does anything wait for an executor */
}

/*
 * Everything is to be read again, beside the work; if the configuration was changed, nothing stays as it
 * is known.
 */
DispatchState
dispatch_load(Dispatch *d, bool changed)
{
	DispatchState state;

	dispatch_begin_transaction(d);
	MemoryContextReset(d->batch_context);
	d->no_worker_until = DT_NOBEGIN;
	state = reading_state();
	d->may_start = state == DISPATCH_ALLOWED;
	if (d->may_start || state == DISPATCH_STOPPED)
		load_anew(changed);
	else
		dispatch_forget(d);
	d->mode->commit();
	return state;
}

/* When something is to be read, DT_NOEND: never. */
TimestampTz
reading_next(const Dispatch *d)
{
	if (d->unread != NIL)
		return DT_NOBEGIN;
	return d->loaded ? Max(load_next(), d->next_chunk) : load_next();
}

/* Reads the next of what is to be read; false when there is nothing. */
bool
reading_more(Dispatch *d)
{
	Datum tenants[LOAD_CHUNK];
	Datum ids[LOAD_CHUNK];
	TimestampTz start = GetCurrentTimestamp();
	int count;

	if ((d->loaded ? Max(load_next(), d->next_chunk) : reading_next(d)) > start)
		return false;
	dispatch_begin_transaction(d);
	MemoryContextReset(d->batch_context);
	reading_unread(d);
	count = load_take(tenants, ids);
	if (count > 0)
		load_apart(d, tenants, ids, count);
	d->mode->commit();
	/* once there is work to be done beside, that has the greater part of the time */
	d->next_chunk = GetCurrentTimestamp() + LOAD_PAUSE * Max(0, GetCurrentTimestamp() - start);
	d->loaded = d->loaded || load_next() != DT_NOBEGIN;
	return true;
}

/* Deployments that a committed transaction changed, RING_BATCH at most: the next batch reads what is not known. */
void
dispatch_announced(Dispatch *d, const RingEntry *entries, int count)
{
	for (int i = 0; i < count; i++)
	{
		DueItem *item = dueset_find(&entries[i].deployment);

		/* one that stood in no lane may have come to need some */
		if (item && item->nlinks > 0)
		{
			dueset_touch(item);
			continue;
		}
		if (item)
			setback_forget(item);
		dispatch_remember(d, &d->unread, &entries[i], sizeof(entries[i]));
	}
}

static void
load_tenant(void *arg)
{
	Datum id = UUIDPGetDatum(&((DueTenant *) arg)->id);

	load_tenants(&id, 1);
}

/*
 * Makes sure that what is known of a deployment and its tenant is what was committed before the batch began:
 * a suspension lets nothing through.  False when it has to be looked at again.
 */
bool
reading_refresh(Dispatch *d, DueItem *item)
{
	ErrorData *error;

	if (load_is_stale(item))
	{
		pg_uuid_t tenant = item->tenant->id;
		pg_uuid_t id = item->id;

		reading_one(d, &tenant, &id);
		return false;
	}
	if (item->tenant->seen == d->batch)
		return true;
	error = subxact_run(load_tenant, item->tenant);
	if (error == NULL)
	{
		item->tenant->seen = d->batch;
		return true;
	}
	if (setback_is_final(error))
		ReThrowError(error);
	setback_set_aside(d, item, error);
	return false;
}
