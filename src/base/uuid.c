/*
 * uuid.c
 *		UUIDs of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds since 1970, 12 bits of
 *		fraction of the millisecond (section 6.2, method 3), 62 random bits.
 */
#include "postgres.h"

#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static void
put_time(TimestampTz at, pg_uuid_t *uuid)
{
	int64 us = at + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	uint64 ms;
	uint32 fraction;

	/* before 1970 there is nothing smaller than zero */
	if (us < 0)
		us = 0;
	ms = us / 1000;
	fraction = (us % 1000) * 4096 / 1000;
	for (int i = 0; i < 6; i++)
		uuid->data[i] = (ms >> (40 - 8 * i)) & 0xff;
	uuid->data[6] = 0x70 | (fraction >> 8);
	uuid->data[7] = fraction & 0xff;
}

/* A new UUID of the present time. */
void
uuid7_generate(pg_uuid_t *result)
{
	if (!pg_strong_random(result->data + 8, UUID_LEN - 8))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	put_time(GetCurrentTimestamp(), result);
	result->data[8] = (result->data[8] & 0x3f) | 0x80;
}

/* The smallest UUID of a time: every one made earlier is less. */
void
uuid7_floor(TimestampTz at, pg_uuid_t *result)
{
	memset(result, 0, sizeof(*result));
	put_time(at, result);
	result->data[8] = 0x80;
}

/* As users write it. */
char *
uuid_text(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

/* A uuid[] of these. */
Datum
uuid_array(Datum *ids, int count)
{
	return PointerGetDatum(construct_array(ids, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* The first element of a uuid[] without NULLs, inside of it. */
const pg_uuid_t *
uuid_array_first(Datum array)
{
	return (const pg_uuid_t *) ARR_DATA_PTR(DatumGetArrayTypeP(array));
}
