/*
 * copy_data.c
 *		Tells the data of COPY ... FROM STDIN in a script from its SQL, as psql does.
 *
 * The data are the lines after the one with the semicolon of the statement, up to a line "\.".  For the parser
 * they are blanked, so that the offsets of all that follows are those in the script.
 *
 * The server's scanner finds the statements.  It reads a copy of the script in place, from which the data
 * are taken as soon as their statement has been read.
 *
 * No SPI, no catalog, no lock.
 */
#include "postgres.h"

#include "common/keywords.h"
#include "miscadmin.h"
#include "module/copy_data.h"
#include "module/parse.h"
#include "parser/scanner.h"

/* Tokens of interest, beside the characters that stand for themselves: beyond those of the grammar. */
enum
{
	TOKEN_OTHER = 10000,
	TOKEN_COPY,
	TOKEN_FROM,
	TOKEN_CLIENT /* STDIN or STDOUT, which say the same */
};

/* How far a statement has been read. */
typedef enum Progress
{
	AT_BEGIN,
	IN_COPY,
	AFTER_FROM,
	FROM_CLIENT,
	IN_OTHER
} Progress;

static void
set_token(uint16 *tokens, const char *word, uint16 token)
{
	tokens[ScanKeywordLookup(word, &ScanKeywords)] = token;
}

/* The words that the scanner is to tell apart. */
static uint16 *
make_tokens(void)
{
	uint16 *tokens = palloc(ScanKeywords.num_keywords * sizeof(uint16));

	for (int i = 0; i < ScanKeywords.num_keywords; i++)
		tokens[i] = TOKEN_OTHER;
	set_token(tokens, "copy", TOKEN_COPY);
	set_token(tokens, "from", TOKEN_FROM);
	set_token(tokens, "stdin", TOKEN_CLIENT);
	set_token(tokens, "stdout", TOKEN_CLIENT);
	return tokens;
}

static Progress
progress_of(Progress before, int token)
{
	switch (before)
	{
		case AT_BEGIN:
			return token == TOKEN_COPY ? IN_COPY : IN_OTHER;
		case IN_COPY:
			return token == TOKEN_FROM ? AFTER_FROM : IN_COPY;
		case AFTER_FROM:
			return token == TOKEN_CLIENT ? FROM_CLIENT : IN_OTHER;
		default:
			return before;
	}
}

/* Is it the line that ends the data? */
static bool
is_end(const char *line, size_t length)
{
	return (length == 2 || (length == 3 && line[2] == '\r')) && line[0] == '\\' && line[1] == '.';
}

/* The data that begin at a line; behind is what follows their end. */
static CopyData *
find_data(const char *sql, int statement, int at, int *behind)
{
	CopyData *data = palloc(sizeof(CopyData));
	const char *line = sql + at;

	data->statement = statement;
	data->at = at;
	data->length = -1;
	while (*line && data->length < 0)
	{
		size_t length = strcspn(line, "\n");

		if (is_end(line, length))
			data->length = (int) (line - sql) - at;
		line += length + (line[length] == '\n');
	}
	*behind = (int) (line - sql);
	return data;
}

static void
blank(char *text, int from, int to)
{
	for (char *p = text + from; p < text + to; p++)
		if (*p != '\n')
			*p = ' ';
}

/* Where the line after this place begins. */
static int
next_line(const char *sql, int offset)
{
	offset += (int) strcspn(sql + offset, "\n");
	return sql[offset] == '\n' ? offset + 1 : offset;
}

static List *
read_data(const char *sql)
{
	core_yy_extra_type extra;
	core_YYSTYPE value;
	core_yyscan_t scanner = scanner_init(sql, &extra, &ScanKeywords, make_tokens());
	Progress progress = AT_BEGIN;
	int parens = 0;
	int behind = 0; /* the data that were found last */
	List *found = NIL;
	int offset;
	int token;

	while ((token = core_yylex(&value, &offset, scanner)) != 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == ';')
		{
			if (progress == FROM_CLIENT)
			{
				int at = Max(next_line(sql, offset), behind);
				CopyData *data = find_data(sql, offset, at, &behind);

				found = lappend(found, data);
				if (data->length < 0)
					break;
				blank(extra.scanbuf, at, behind);
			}
			progress = AT_BEGIN;
			parens = 0;
		}
		else
		{
			if (parens == 0)
				progress = progress_of(progress, token);
			parens += (token == '(') - (token == ')');
		}
	}
	scanner_finish(scanner);
	return found;
}

/* Does a text have the word at all?  Nearly none has, and is not read once more then. */
static bool
has_client(const char *sql)
{
	for (const char *p = sql; (p = strpbrk(p, "sS")) != NULL; p++)
		if (pg_strncasecmp(p, "stdin", 5) == 0 || pg_strncasecmp(p, "stdout", 6) == 0)
			return true;
	return false;
}

/* In the current context; raises what the scanner raises. */
List *
copy_data_find(const char *sql)
{
	return has_client(sql) ? parse_in_one_way(read_data, sql) : NIL;
}

const char *
copy_data_blank(const char *sql, List *data)
{
	char *text;
	ListCell *cell;

	if (data == NIL)
		return sql;
	text = pstrdup(sql);
	foreach (cell, data)
	{
		const CopyData *d = lfirst(cell);

		/* and the line that ends them; without it all that follows are data */
		blank(text, d->at, d->length < 0 ? (int) strlen(text) : next_line(text, d->at + d->length));
	}
	return text;
}

const CopyData *
copy_data_of(List *data, const RawStmt *raw)
{
	ListCell *cell;

	foreach (cell, data)
	{
		const CopyData *d = lfirst(cell);

		if (d->statement == raw->stmt_location + raw->stmt_len)
			return d;
	}
	return NULL;
}
