/*
 * label.c
 *		Finds the number of a label.  arg_label() (args.c) is for what a user has given.
 */
#include "postgres.h"

#include "base/label.h"

/* The number of one of the labels, or -1. */
int
label_find(const char *label, const char *const *labels, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(label, labels[i]) == 0)
			return i;
	return -1;
}

/* The same for a label read from a table, which must be one of them. */
int
label_parse(const char *label, const char *const *labels, int count)
{
	int number = label_find(label, labels, count);

	if (number < 0)
		elog(ERROR, "unknown label \"%s\"", label);
	return number;
}
