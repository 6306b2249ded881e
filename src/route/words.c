/*
 * words.c
 *		Things in words, as details of errors list them.
 */
#include "postgres.h"

#include "base/names.h"
#include "lib/stringinfo.h"
#include "route/words.h"

#define WORDS_LIMIT 10

char *
words_join(List *words)
{
	StringInfoData text;
	List *listed = NIL;
	ListCell *cell;

	foreach (cell, words)
		if (!names_have(listed, lfirst(cell)))
			listed = lappend(listed, lfirst(cell));
	initStringInfo(&text);
	foreach (cell, listed)
	{
		int i = foreach_current_index(cell);

		if (i == WORDS_LIMIT)
		{
			appendStringInfo(&text, " and %d more", list_length(listed) - i);
			break;
		}
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "", (char *) lfirst(cell));
	}
	return text.data;
}
