/*
 * place.c
 *		Where in a script an error is: the character, the line, and the lines around it.
 *
 * The server says where an error is in the text that it was reading: the statement, the body of a function, or
 * a query in one.  That text is looked for in the statement that runs, and then in all of the script.  What
 * stands there more than once is not guessed: the place is then the beginning of the statement.
 *
 * Called after an error, with texts that others have written: what it does takes no longer than to read them a
 * few times, whatever they are.  No SPI, no catalog, no lock.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "module/script.h"
#include "run/place.h"

#define SOUGHT (1024 * 1024) /* bytes of a text that is looked for */
#define TRIES 100            /* places that are looked at closely */

/* Columns of the screen that an excerpt has of each line, and of these before the error. */
#define SHOWN 60
#define SHOWN_BEFORE 40

/* What PL/pgSQL leaves of INTO and its target, at least. */
#define GAP "      "

/* ---- where a text stands ---- */

static bool
is_word(char c)
{
	return isalnum((unsigned char) c) || c == '_' || IS_HIGHBIT_SET(c);
}

/* Is what stands at p only a part of a longer word, at its beginning or end? */
static bool
cuts_word(const char *in, const char *p, size_t length)
{
	return (p > in && is_word(p[-1]) && is_word(p[0])) ||
		   (is_word(p[length - 1]) && is_word(p[length]));
}

/*
 * Where a text stands in another one, if it does so exactly once; else -1.  Of the text so many bytes are
 * compared, then as many as the gap has may be anything, and the rest is compared.
 */
static int
find_once(const char *in, const char *text, size_t head, size_t gap)
{
	const char *rest = text + head + gap;
	char *sought = pnstrdup(text, head);
	size_t length = head + gap + strlen(rest);
	int tries = 0;
	int found = -1;

	for (const char *p = in; (p = strstr(p, sought)) != NULL; p++)
	{
		if (++tries > TRIES)
			return -1;
		if (strnlen(p + head, gap) < gap || strncmp(p + head + gap, rest, strlen(rest)) != 0 ||
			cuts_word(in, p, length))
			continue;
		if (found >= 0)
			return -1;
		found = (int) (p - in);
	}
	return found;
}

/* The text as it stands in a literal, and where the at-th byte of it is then. */
static char *
in_literal(const char *text, int *at)
{
	StringInfoData literal;
	int offset = *at;

	initStringInfo(&literal);
	for (int i = 0; text[i]; i++)
	{
		if (text[i] == '\'')
			appendStringInfoChar(&literal, '\'');
		appendStringInfoChar(&literal, text[i]);
		if (i < offset)
			*at = literal.len;
	}
	return literal.data;
}

/* The same of a query, which PL/pgSQL may have made from PERFORM, or taken INTO and its target out of. */
static int
find_query(const char *in, const char *text)
{
	const char *gap = strstr(text, GAP);
	int found = find_once(in, text, strlen(text), 0);

	if (found < 0 && gap && gap > text)
		found = find_once(in, text, gap - text, strspn(gap, " "));
	if (found < 0 && strncmp(text, "SELECT ", 7) == 0)
	{
		found = find_once(in, text + 6, strlen(text + 6), 0) - 6;
		if (found < 1 || pg_strncasecmp(in + found - 1, "perform", 7) != 0)
			found = -1;
	}
	return found;
}

/* Where the at-th byte of a text is in another one; -1 if the text does not stand there, or more than once. */
static int
find_text(const char *in, const char *text, int at)
{
	int found = find_query(in, text);

	if (found < 0)
		found = find_query(in, in_literal(text, &at));
	return found < 0 ? -1 : found + at;
}

/* The byte of the script that the error is at; -1 if that is not known. */
static int
find_offset(const TaskRun *run, const ErrorData *error)
{
	const char *text = error->internalquery;

	if (text && error->internalpos > 0 && *text && strlen(text) <= SOUGHT)
	{
		int at = script_offset(text, error->internalpos);
		int found = run->statement ? find_text(run->statement, text, at) : -1;

		if (found >= 0)
			return run->statement_at + found;
		found = find_text(run->sql, text, at);
		if (found >= 0)
			return found;
	}
	if (run->statement == NULL)
		return -1;
	/* what runs without SPI leaves the position where the server's own loop would look for it */
	if (error->cursorpos > 0)
		return run->statement_at + script_offset(run->statement, error->cursorpos);
	return run->at;
}

/* ---- the excerpt ---- */

/* The columns that a character takes; one that is not printed is shown as a blank. */
static int
width_of(const char *p)
{
	return Max(pg_dsplen(p), (unsigned char) *p < 0x20 ? 1 : 0);
}

static bool
in_line(const char *p)
{
	return *p != '\0' && *p != '\n';
}

/*
 * Appends a line, or what there is room for, and returns the column at which a place in it is shown, from 0.
 * The beginning of a long line is left out if the place would not be seen.
 */
static int
append_line(StringInfo text, int number, const char *line, const char *place)
{
	const char *start = line;
	const char *p;
	int width = 0;
	int begin = text->len;
	int column;

	for (p = line; p < place; p += pg_mblen(p))
		for (width += width_of(p); width > SHOWN_BEFORE; start += pg_mblen(start))
			width -= width_of(start);
	appendStringInfo(text, "LINE %d: %s", number, start > line ? "..." : "");
	column = text->len - begin + width;
	for (width = 0, p = start; in_line(p) && width + width_of(p) <= SHOWN; p += pg_mblen(p))
	{
		width += width_of(p);
		if ((unsigned char) *p < 0x20)
			appendStringInfoChar(text, ' ');
		else
			appendBinaryStringInfo(text, p, pg_mblen(p));
	}
	if (in_line(p))
		appendStringInfoString(text, "...");
	while (text->data[text->len - 1] == ' ')
		text->data[--text->len] = '\0';
	return column;
}

/* The line before a place, its own with a mark below, and the one after it, as psql shows them. */
static char *
excerpt_of(const char *sql, int number, int line, int offset)
{
	const char *next = strchr(sql + offset, '\n');
	StringInfoData text;
	int column;

	initStringInfo(&text);
	if (number > 1)
	{
		const char *before = sql + line - 1;

		while (before > sql && before[-1] != '\n')
			before--;
		(void) append_line(&text, number - 1, before, before);
		appendStringInfoChar(&text, '\n');
	}
	column = append_line(&text, number, sql + line, sql + offset);
	appendStringInfo(&text, "\n%*s^", column, "");
	if (next && next[1] != '\0')
	{
		appendStringInfoChar(&text, '\n');
		(void) append_line(&text, number + 1, next + 1, next + 1);
	}
	return text.data;
}

/* Where in the present script of a task an error is; false if that is not known. */
bool
place_find(const TaskRun *run, const ErrorData *error, ScriptPlace *place)
{
	int offset = run->sql ? find_offset(run, error) : -1;
	int line;

	if (offset < 0)
		return false;
	place->line = script_line(run->sql, offset, &line);
	place->column = pg_mbstrlen_with_len(run->sql + line, offset - line) + 1;
	place->position = pg_mbstrlen_with_len(run->sql, offset) + 1;
	place->excerpt = excerpt_of(run->sql, place->line, line, offset);
	return true;
}
