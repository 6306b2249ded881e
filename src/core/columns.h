/*
 * columns.h
 *		Rows that one statement writes: an array for each column, for unnest().
 *
 * A pointer that is NULL, and TIME_NULL, is SQL's NULL.
 */
#ifndef HOTSWAP_COLUMNS_H
#define HOTSWAP_COLUMNS_H

#include "base/db.h"

typedef struct Columns
{
	const Oid *types; /* of the columns */
	int ncolumns;
	int nrows;
	int space; /* rows that there is memory for */
	Datum **values;
	bool **nulls;
} Columns;

extern Columns *columns_make(const Oid *types, int ncolumns);
extern void columns_add_row(Columns *c);
extern void columns_put(Columns *c, int column, Datum value, bool isnull);
extern void columns_put_int32(Columns *c, int column, int32 value);
extern void columns_put_text(Columns *c, int column, const char *value);
extern void columns_put_time(Columns *c, int column, TimestampTz value);
extern void columns_put_uuid(Columns *c, int column, const pg_uuid_t *value);
extern Datum columns_array(const Columns *c, int column);

#endif /* HOTSWAP_COLUMNS_H */
