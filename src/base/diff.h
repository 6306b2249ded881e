/*
 * diff.h
 *		The difference of two texts, line by line, in the unified form.
 */
#ifndef HOTSWAP_DIFF_H
#define HOTSWAP_DIFF_H

#include "lib/stringinfo.h"

/* Adds nothing if they are equal; a text that is NULL is not there. */
extern void diff_append(StringInfo out, const char *old_name, const char *old_text,
						const char *new_name, const char *new_text);

#endif /* HOTSWAP_DIFF_H */
