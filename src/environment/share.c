/*
 * share.c
 *		How many nodes: a number, or percent of them.
 */
#include "postgres.h"

#include "environment/share.h"

char *
share_parse(const char *text, int least)
{
	size_t digits = strspn(text, "0123456789");
	bool is_percent = strcmp(text + digits, "%") == 0;
	int number;

	if (digits == 0 || digits > 5 || (text[digits] != '\0' && !is_percent))
		return NULL;
	number = atoi(text);
	if (number < least || number > (is_percent ? 100 : NODES_LIMIT))
		return NULL;
	return psprintf(is_percent ? "%d%%" : "%d", number);
}
