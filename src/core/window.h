/*
 * window.h
 *		Windows of time in which deployments to an environment may or may not start.
 *
 * Nothing here reads a table or the clock.
 */
#ifndef HOTSWAP_WINDOW_H
#define HOTSWAP_WINDOW_H

#include "nodes/pg_list.h"
#include "pgtime.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define WEEKDAY_COUNT 7

extern const char *const weekday_names[WEEKDAY_COUNT];

typedef struct TimeWindow
{
	pg_uuid_t id;
	char *name;
	char *reason;
	bool is_deny;
	bool everywhere; /* it is of all tenants */
	/* once */
	TimestampTz from;  /* DT_NOBEGIN: since ever */
	TimestampTz until; /* not any more then; DT_NOEND: for ever */
	/* or, if there is a zone, every week: by the clock on the wall there */
	pg_tz *zone;
	int days;     /* a bit for each, Monday is the first */
	int64 starts; /* in microseconds of the day */
	int64 ends;   /* if not later than starts, on the day after */
} TimeWindow;

extern bool window_is_open(const TimeWindow *w, TimestampTz at);
extern List *windows_closing(List *windows, TimestampTz at);
extern TimestampTz windows_opening(List *windows, TimestampTz at);

#endif /* HOTSWAP_WINDOW_H */
