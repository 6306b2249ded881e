/*
 * error_text.c
 *		Errors as they are kept: with texts of a limited length.
 *
 * The text of an error is what a script, a hook or the server has made it, up to a gigabyte.  It is written
 * to the task, its stage, its deployment and their audit events, and read again at each visit; so it is
 * cut once, where it enters.
 */
#include "postgres.h"

#include "base/error_text.h"
#include "mb/pg_wchar.h"

#define ERROR_TEXT_LIMIT 8192 /* bytes of each of the texts */

/* A text, or what there is room for with a note of it; frees the one that was too long. */
char *
error_text_cut(char *text)
{
	size_t length = text ? strlen(text) : 0;
	char *result;

	if (length <= ERROR_TEXT_LIMIT)
		return text;
	result = psprintf("%.*s... (cut from %zu bytes)",
					  pg_mbcliplen(text, (int) length, ERROR_TEXT_LIMIT), text, length);
	pfree(text);
	return result;
}

/* CopyErrorData() with each text cut; what is not kept (the query of an internal error) is whole. */
ErrorData *
error_copy(void)
{
	ErrorData *error = CopyErrorData();

	error->message = error_text_cut(error->message);
	error->detail = error_text_cut(error->detail);
	error->hint = error_text_cut(error->hint);
	error->context = error_text_cut(error->context);
	return error;
}
