/*
 * names.c
 *		Lists of names, of char *.
 */
#include "postgres.h"

#include "base/names.h"

int
names_find(List *names, const char *name)
{
	ListCell *cell;

	foreach (cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return foreach_current_index(cell);
	return -1;
}

bool
names_have(List *names, const char *name)
{
	return names_find(names, name) >= 0;
}
