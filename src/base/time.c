/*
 * time.c
 *		Times and intervals.
 */
#include "postgres.h"

#include "base/time.h"
#include "utils/fmgrprotos.h"

/* When an interval that begins at a time ends, by the rules of the session's time zone. */
TimestampTz
time_after(TimestampTz from, const Interval *interval)
{
	return DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(from),
							IntervalPGetDatum(unconstify(Interval *, interval))));
}
