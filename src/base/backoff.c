/*
 * backoff.c
 *		Exponential backoff with jitter.
 */
#include "postgres.h"

#include "base/backoff.h"
#include "base/guc.h"
#include "common/pg_prng.h"

/*
 * Milliseconds to wait after the given number of failed attempts (from 1): base * 2^(attempt-1),
 * spread by up to 20 % to either side (random: 0 to 1), at most max.  Pure.
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

/* The same for the attempts of a task, by the settings. */
int64
backoff_retry_delay(int attempt)
{
	return backoff_delay(attempt, hotswap_retry_base, hotswap_retry_max_delay,
						 pg_prng_double(&pg_global_prng_state));
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
 * Errors that say nothing about whose work met them: it was broken off, or the server has not got
 * what it needs.  Whoever makes decisions tries again, without counting.
 */
bool
backoff_is_outside(int sqlerrcode)
{
	int category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return backoff_is_transient(sqlerrcode) || category == ERRCODE_OPERATOR_INTERVENTION ||
		   category == ERRCODE_INSUFFICIENT_RESOURCES || category == ERRCODE_SYSTEM_ERROR;
}
