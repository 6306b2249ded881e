/*
 * clock.h
 *		A clock that nobody can set: for how long, not for when.
 */
#ifndef HOTSWAP_CLOCK_H
#define HOTSWAP_CLOCK_H

#include "portability/instr_time.h"

/* Microseconds since some time. */
static inline int64
clock_steady(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

#endif /* HOTSWAP_CLOCK_H */
