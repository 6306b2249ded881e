/*
 * copy_data.h
 *		The data of COPY ... FROM STDIN that stand in a script.
 */
#ifndef HOTSWAP_COPY_DATA_H
#define HOTSWAP_COPY_DATA_H

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

/* Bytes of a script: the lines of the data, without the one that ends them. */
typedef struct CopyData
{
	int statement; /* where the statement ends, at its semicolon */
	int at;
	int length; /* -1: the line that ends them is missing */
} CopyData;

/* A script's data, in its order. */
extern List *copy_data_find(const char *sql);

/* The script with blanks in place of the data: everything else stands where it was. */
extern const char *copy_data_blank(const char *sql, List *data);

/* The data of a statement; NULL: it has none. */
extern const CopyData *copy_data_of(List *data, const RawStmt *raw);

#endif /* HOTSWAP_COPY_DATA_H */
