/*
 * options.c
 *		Options of statements, as the parser leaves them.
 */
#include "postgres.h"

#include "base/options.h"
#include "nodes/parsenodes.h"

/* The option of a name; NULL if it is not given. */
DefElem *
options_find(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *element = lfirst_node(DefElem, cell);

		if (strcmp(element->defname, name) == 0)
			return element;
	}
	return NULL;
}

/* Is an option given, with whatever value? */
bool
options_have(List *options, const char *name)
{
	return options_find(options, name) != NULL;
}
