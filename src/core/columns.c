/*
 * columns.c
 *		Rows that one statement writes: an array for each column, for unnest().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/columns.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define FIRST_ROWS 8

Columns *
columns_make(const Oid *types, int ncolumns)
{
	Columns *c = palloc0(sizeof(Columns));

	c->types = types;
	c->ncolumns = ncolumns;
	c->space = FIRST_ROWS;
	c->values = palloc(ncolumns * sizeof(Datum *));
	c->nulls = palloc(ncolumns * sizeof(bool *));
	for (int i = 0; i < ncolumns; i++)
	{
		c->values[i] = palloc(c->space * sizeof(Datum));
		c->nulls[i] = palloc(c->space * sizeof(bool));
	}
	return c;
}

/* Begins a row; each of its columns is put next. */
void
columns_add_row(Columns *c)
{
	if (c->nrows == c->space)
	{
		c->space *= 2;
		for (int i = 0; i < c->ncolumns; i++)
		{
			c->values[i] = repalloc(c->values[i], c->space * sizeof(Datum));
			c->nulls[i] = repalloc(c->nulls[i], c->space * sizeof(bool));
		}
	}
	c->nrows++;
}

void
columns_put(Columns *c, int column, Datum value, bool isnull)
{
	Assert(c->nrows > 0 && column < c->ncolumns);
	c->values[column][c->nrows - 1] = value;
	c->nulls[column][c->nrows - 1] = isnull;
}

void
columns_put_int32(Columns *c, int column, int32 value)
{
	columns_put(c, column, Int32GetDatum(value), false);
}

void
columns_put_text(Columns *c, int column, const char *value)
{
	columns_put(c, column, value ? CStringGetTextDatum(value) : (Datum) 0, value == NULL);
}

void
columns_put_time(Columns *c, int column, TimestampTz value)
{
	columns_put(c, column, TimestampTzGetDatum(value), value == TIME_NULL);
}

/* A copy of a UUID, or NULL. */
void
columns_put_uuid(Columns *c, int column, const pg_uuid_t *value)
{
	pg_uuid_t *copy = palloc(sizeof(pg_uuid_t));

	if (value)
		*copy = *value;
	columns_put(c, column, UUIDPGetDatum(copy), value == NULL);
}

Datum
columns_array(const Columns *c, int column)
{
	int dims[1] = { c->nrows };
	int lower[1] = { 1 };
	int16 length;
	bool byval;
	char align;

	get_typlenbyvalalign(c->types[column], &length, &byval, &align);
	return PointerGetDatum(construct_md_array(c->values[column], c->nulls[column], 1, dims, lower,
											  c->types[column], length, byval, align));
}
