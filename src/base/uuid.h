/*
 * uuid.h
 *		Time-ordered UUIDs.
 */
#ifndef HOTSWAP_UUID_H
#define HOTSWAP_UUID_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

extern void uuid7_generate(pg_uuid_t *result);
extern void uuid7_floor(TimestampTz at, pg_uuid_t *result);
extern char *uuid_text(const pg_uuid_t *uuid);
extern Datum uuid_array(Datum *ids, int count);
extern const pg_uuid_t *uuid_array_first(Datum array);

static inline bool
uuid_equal(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t)) == 0;
}

#endif /* HOTSWAP_UUID_H */
