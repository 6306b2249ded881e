/*
 * options.c
 *		Options of statements, as the parser leaves them.
 */
#include "postgres.h"

#include "base/options.h"
#include "commands/defrem.h"
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

/* Is the option on?  Written without a value it is. */
bool
options_on(List *options, const char *name, bool when_missing)
{
	DefElem *element = NULL;
	ListCell *cell;

	/* the last one counts */
	foreach (cell, options)
		if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0)
			element = lfirst(cell);
	return element ? defGetBoolean(element) : when_missing;
}
