/*
 * window.c
 *		When a window is open, and when windows together let something start.
 *
 * A weekly window goes by the clock on the wall of its time zone.  An hour that a clock shows twice
 * belongs to it twice, one that is left out does not: of a window from 02:30 to 06:00 the night in which
 * 02:00 becomes 03:00 has what is left, from 03:00 on.  So time is looked at in spans in which the clock
 * runs evenly, between two changes of the zone's offset.
 */
#include "postgres.h"

#include "core/window.h"

const char *const weekday_names[WEEKDAY_COUNT] = {
	"mon", "tue", "wed", "thu", "fri", "sat", "sun"
};

#define FIRST_WEEKDAY 5      /* the day 0 of a timestamp is a Saturday */
#define DAYS_AHEAD 8         /* within so many days whatever is weekly comes once */
#define ROUNDS_LIMIT 1000    /* of windows that follow one another without a gap */
#define HORIZON_DAYS (2 * 8) /* what has not changed by then, never does */

/* Of the zone: how far ahead of UTC its clock is, and until when. */
static int64
offset_at(pg_tz *zone, TimestampTz at, TimestampTz *until)
{
	pg_time_t now = timestamptz_to_time_t(at);
	pg_time_t boundary;
	long before;
	long after;
	int before_isdst;
	int after_isdst;

	*until = DT_NOEND;
	if (pg_next_dst_boundary(&now, &before, &before_isdst, &boundary, &after, &after_isdst, zone) >
		0)
		*until = time_t_to_timestamptz(boundary);
	return before * USECS_PER_SEC;
}

static int64
day_of(int64 local)
{
	return local / USECS_PER_DAY - (local % USECS_PER_DAY < 0);
}

static bool
is_its_day(const TimeWindow *w, int64 day)
{
	/* of a day before the first one the remainder is negative */
	int weekday = (day % WEEKDAY_COUNT + WEEKDAY_COUNT + FIRST_WEEKDAY) % WEEKDAY_COUNT;

	return (w->days & (1 << weekday)) != 0;
}

static bool
is_overnight(const TimeWindow *w)
{
	return w->ends <= w->starts;
}

bool
window_is_open(const TimeWindow *w, TimestampTz at)
{
	TimestampTz until;
	int64 local;
	int64 day;
	int64 time;

	if (w->zone == NULL)
		return at >= w->from && at < w->until;
	local = at + offset_at(w->zone, at, &until);
	day = day_of(local);
	time = local - day * USECS_PER_DAY;
	if (!is_overnight(w))
		return is_its_day(w, day) && time >= w->starts && time < w->ends;
	return (is_its_day(w, day) && time >= w->starts) || (is_its_day(w, day - 1) && time < w->ends);
}

/* The next time at which a weekly window may open or close. */
static TimestampTz
next_edge(const TimeWindow *w, TimestampTz at)
{
	TimestampTz next;
	int64 offset = offset_at(w->zone, at, &next);
	int64 first = day_of(at + offset) - 1;

	for (int64 day = first; day < first + DAYS_AHEAD + 2; day++)
	{
		TimestampTz starts = day * USECS_PER_DAY + w->starts - offset;
		TimestampTz ends = (is_overnight(w) ? day + 1 : day) * USECS_PER_DAY + w->ends - offset;

		if (!is_its_day(w, day))
			continue;
		if (starts > at)
			next = Min(next, starts);
		if (ends > at)
			next = Min(next, ends);
	}
	return next;
}

/* When a window closes that is open, or opens that is closed; DT_NOEND: never. */
static TimestampTz
next_change(const TimeWindow *w, TimestampTz at)
{
	bool is_open = window_is_open(w, at);
	TimestampTz horizon = at + HORIZON_DAYS * USECS_PER_DAY;
	TimestampTz next = at;

	if (w->zone == NULL)
		return is_open ? w->until : at < w->from ? w->from : DT_NOEND;
	while ((next = next_edge(w, next)) < horizon)
		if (window_is_open(w, next) != is_open)
			return next;
	return DT_NOEND;
}

/*
 * Which windows do not let anything start at a time: those that deny it or, where there are some that
 * allow it and none of them is open, all of these.
 */
List *
windows_closing(List *windows, TimestampTz at)
{
	List *denying = NIL;
	List *allowing = NIL;
	bool is_allowed = false;
	ListCell *cell;

	foreach (cell, windows)
	{
		TimeWindow *w = lfirst(cell);
		bool is_open = window_is_open(w, at);

		if (w->is_deny && is_open)
			denying = lappend(denying, w);
		else if (!w->is_deny)
		{
			allowing = lappend(allowing, w);
			is_allowed = is_allowed || is_open;
		}
	}
	return is_allowed ? denying : list_concat(denying, allowing);
}

/* The next time at which that may be otherwise: the last end of those that deny, the first of the others. */
static TimestampTz
end_of_closing(List *closing, TimestampTz at)
{
	TimestampTz denied = at;
	TimestampTz allowed = DT_NOEND;
	bool has_allowing = false;
	ListCell *cell;

	foreach (cell, closing)
	{
		const TimeWindow *w = lfirst(cell);
		TimestampTz change = next_change(w, at);

		if (w->is_deny)
			denied = Max(denied, change);
		else
		{
			has_allowing = true;
			allowed = Min(allowed, change);
		}
	}
	return has_allowing ? Max(denied, allowed) : denied;
}

/*
 * The first time from one on at which something may start; DT_NOEND: never.  Where that is farther away
 * than it is worth to be looked for, a time before it.
 */
TimestampTz
windows_opening(List *windows, TimestampTz at)
{
	for (int round = 0; round < ROUNDS_LIMIT && at != DT_NOEND; round++)
	{
		List *closing = windows_closing(windows, at);

		if (closing == NIL)
			break;
		at = end_of_closing(closing, at);
	}
	return at;
}
