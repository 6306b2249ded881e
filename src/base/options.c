/*
 * options.c
 *		Options of statements, as the parser leaves them.
 */
#include "postgres.h"

#include "base/options.h"
#include "nodes/parsenodes.h"

/* Is an option given, with whatever value? */
bool
options_have(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
		if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0)
			return true;
	return false;
}
