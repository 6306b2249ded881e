/*
 * label.c
 *		Finds the number of a word.  arg_word() (args.c) is for what a user has given.
 */
#include "postgres.h"

#include "base/label.h"

/* The number of one of the words, or -1. */
int
word_find(const char *word, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return -1;
}

/* The same for a word read from a table, which must be one of them. */
int
word_parse(const char *word, const char *const *words, int count)
{
	int number = word_find(word, words, count);

	if (number < 0)
		elog(ERROR, "unknown word \"%s\"", word);
	return number;
}
