/*
 * time.h
 *		Times and intervals.
 */
#ifndef HOTSWAP_TIME_H
#define HOTSWAP_TIME_H

#include "utils/timestamp.h"

#define TIME_NULL DT_NOBEGIN /* a time that is NULL in the table */

extern TimestampTz time_after(TimestampTz from, const Interval *interval);

#endif /* HOTSWAP_TIME_H */
