/*
 * backoff.c
 *		Exponential backoff with jitter.  Pure: no settings, no clock, no random source of its own.
 */
#include "postgres.h"

#include "base/backoff.h"

/*
 * Milliseconds to wait after the given number of failed attempts (from 1): base * 2^(attempt-1),
 * spread by up to 20 % to either side (random: 0 to 1), at most max.
 */
int64
backoff_delay(int attempt, int base_ms, int max_ms, double random)
{
	double delay = base_ms;

	for (int i = 1; i < attempt && delay < max_ms; i++)
		delay *= 2;
	delay *= 0.8 + 0.4 * random;
	return Min((int64) delay, (int64) max_ms);
}

/* Errors that may be gone at the next attempt. */
bool
backoff_is_transient(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		   sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		   sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED || sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
		   ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_CONNECTION_EXCEPTION;
}

/*
 * Errors that say nothing about whose work met them: it was broken off, or the server has not got what
 * it needs.  Whoever makes decisions tries again, without counting.
 */
bool
backoff_is_outside(int sqlerrcode)
{
	int category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return backoff_is_transient(sqlerrcode) || category == ERRCODE_OPERATOR_INTERVENTION ||
		   category == ERRCODE_INSUFFICIENT_RESOURCES || category == ERRCODE_SYSTEM_ERROR;
}
