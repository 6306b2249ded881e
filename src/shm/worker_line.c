/*
 * worker_line.c
 *		Who waits for one of the server's worker slots, and whose turn it is.
 *
 * The server gives its slots to whoever asks first.  Where executors leave in order that others can be
 * started (executors.c), whoever has most of them would ask first again.  So who did not get a slot stands
 * in a line, and nobody starts a process before those who are ahead: who has fewer executors, then who has
 * waited longer.  Whoever waits asks again every few seconds; one that does not is forgotten.
 *
 * All of it is protected by shared->lock.  None of the functions can fail while they hold it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "shm/executors.h"
#include "shm/shmem.h"
#include "shm/worker_line.h"
#include "storage/shmem.h"

#define STALE_MS 10000 /* who has not asked for so long does not wait any more */

typedef struct Place
{
	Oid who;
	TimestampTz since;
	TimestampTz asked; /* last; 0: nobody waits here */
} Place;

static Place *line = NULL; /* a database for each worker, and the launcher; in no order */

static int
places(void)
{
	return max_worker_processes + 1;
}

Size
worker_line_size(void)
{
	return mul_size(places(), sizeof(Place));
}

/* Makes the line or attaches to it. */
void
worker_line_startup(void)
{
	bool found;

	line = ShmemInitStruct("hotswap worker line", worker_line_size(), &found);
	if (!found)
		memset(line, 0, worker_line_size());
}

static bool
waits(const Place *place, TimestampTz now)
{
	return place->asked != 0 && !TimestampDifferenceExceeds(place->asked, now, STALE_MS);
}

static Place *
find(Oid who, TimestampTz now)
{
	for (int i = 0; i < places(); i++)
		if (waits(&line[i], now) && line[i].who == who)
			return &line[i];
	return NULL;
}

/* The launcher has none; where nobody has, its dispatcher would have nobody to give way to it. */
static int
executors_of(Oid who)
{
	return who == LINE_LAUNCHER ? 0 : executors_living(who);
}

/* May the launcher, or the dispatcher of this database, start a process now? */
bool
worker_line_turn(Oid who)
{
	TimestampTz now = GetCurrentTimestamp();
	Place *mine = find(who, now);
	TimestampTz since = mine ? mine->since : now;
	int have = executors_of(who);

	Assert(LWLockHeldByMeInMode(shared->lock, LW_EXCLUSIVE));
	for (int i = 0; i < places(); i++)
	{
		int theirs;

		if (!waits(&line[i], now) || line[i].who == who)
			continue;
		/* a dispatcher is of no use while nobody has an executor */
		if (line[i].who == LINE_LAUNCHER && executors_living(InvalidOid) == 0)
			continue;
		theirs = executors_of(line[i].who);
		if (theirs < have || (theirs == have && line[i].since < since))
			return false;
	}
	return true;
}

/* It did not get a slot, or it was not its turn. */
void
worker_line_enter(Oid who)
{
	TimestampTz now = GetCurrentTimestamp();
	Place *place = find(who, now);

	Assert(LWLockHeldByMeInMode(shared->lock, LW_EXCLUSIVE));
	for (int i = 0; i < places() && place == NULL; i++)
		if (!waits(&line[i], now))
		{
			place = &line[i];
			place->who = who;
			place->since = now;
		}
	if (place)
		place->asked = now;
}

/* It got one, or does not want any more. */
void
worker_line_leave(Oid who)
{
	Place *place = find(who, GetCurrentTimestamp());

	Assert(LWLockHeldByMeInMode(shared->lock, LW_EXCLUSIVE));
	if (place)
		place->asked = 0;
}

/* For how many milliseconds it has been waiting, -1: it does not. */
long
worker_line_waits(Oid who)
{
	TimestampTz now = GetCurrentTimestamp();
	Place *place;
	long result;

	if (shared == NULL)
		return -1;
	LWLockAcquire(shared->lock, LW_SHARED);
	place = find(who, now);
	result = place ? TimestampDifferenceMilliseconds(place->since, now) : -1;
	LWLockRelease(shared->lock);
	return result;
}
