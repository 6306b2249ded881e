/*
 * backoff.c
 *		Exponential backoff with jitter, and the errors that are worth another attempt.
 *
 * Pure, but for the settings.
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

/* Errors that may be gone at the next attempt, by what the server means by their codes. */
bool
backoff_is_transient(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		   sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		   sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED || sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
		   ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_CONNECTION_EXCEPTION;
}

/* Errors that hotswap.retry_sqlstates names, by their code or class. */
bool
backoff_is_listed(int sqlerrcode)
{
	const char *state = unpack_sql_state(sqlerrcode);
	const char *word = hotswap_retry_sqlstates;

	while (*(word += strspn(word, SQLSTATE_SEPARATORS)))
	{
		size_t length = strcspn(word, SQLSTATE_SEPARATORS);

		if (pg_strncasecmp(word, state, length) == 0)
			return true;
		word += length;
	}
	return false;
}

/*
 * Has somebody else changed the same object of the catalog at the same time?  The server has no code for
 * that: the row is gone from under the command (its message is never translated), or two have made the
 * same name.
 */
bool
backoff_is_collision(const ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_INTERNAL_ERROR)
		return strcmp(error->message, "tuple concurrently updated") == 0 ||
			   strcmp(error->message, "tuple concurrently deleted") == 0;
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && error->schema_name &&
		   strcmp(error->schema_name, "pg_catalog") == 0;
}

/* Errors that say that the server has not got what it needs: a full disk, no memory, a failing device. */
bool
backoff_is_shortage(int sqlerrcode)
{
	int category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_INSUFFICIENT_RESOURCES || category == ERRCODE_SYSTEM_ERROR;
}

/*
 * Errors that say nothing about whose work met them: it was broken off, or the server has not got
 * what it needs.  Whoever makes decisions tries again, without counting.
 */
bool
backoff_is_outside(int sqlerrcode)
{
	return backoff_is_transient(sqlerrcode) || backoff_is_shortage(sqlerrcode) ||
		   ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION;
}
