/*
 * rule_do.c
 *		The body of a DO block in PL/pgSQL: does it run text as SQL, and which statements does it
 *		hold?
 *
 * PL/pgSQL's own parser is not within reach, but its tokens are those of the server's scanner, so
 * that comments, strings and quoted names cannot be mistaken for words.  A statement begins after a
 * semicolon and after the words that open a list of statements.  One that begins with a word of
 * interest is parsed by itself; what cannot be parsed is left to the server, which refuses it when
 * the block runs.
 *
 * No SPI, no catalog, no lock.
 */
#include "postgres.h"

#include <ctype.h>

#include "common/keywords.h"
#include "module/rule_do.h"
#include "parser/parser.h"
#include "parser/scanner.h"

static const char *const openers[] = { "begin", "then", "else", "loop", NULL };
/* before EXECUTE: RETURN QUERY EXECUTE, FOR r IN EXECUTE, OPEN c FOR EXECUTE */
static const char *const before_execute[] = { "query", "in", "for", NULL };
static const char *const of_interest[] = { "alter", "copy",  "create",   "do",
										   "drop",  "grant", "truncate", NULL };

/* Does a text begin with one of these words? */
static bool
is_word(const char *p, const char *const *words)
{
	for (; *words; words++)
	{
		size_t length = strlen(*words);
		unsigned char next;

		if (pg_strncasecmp(p, *words, length) != 0)
			continue;
		next = p[length];
		if (!isalnum(next) && next != '_' && next != '$' && !IS_HIGHBIT_SET(next))
			return true;
	}
	return false;
}

/* ---- reading ---- */

/* The offsets of the tokens. */
static List *
read_tokens(const char *sql)
{
	core_yy_extra_type extra;
	core_YYSTYPE value;
	int offset;
	core_yyscan_t scanner = scanner_init(sql, &extra, &ScanKeywords, ScanKeywordTokens);
	List *offsets = NIL;

	while (core_yylex(&value, &offset, scanner) != 0)
		offsets = lappend_int(offsets, offset);
	scanner_finish(scanner);
	return offsets;
}

static List *
read_statements(const char *sql)
{
	return raw_parser(sql, RAW_PARSE_DEFAULT);
}

/* Is it about the text, as opposed to memory, the stack or the server? */
static bool
is_about_text(int sqlerrcode)
{
	int category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR) ||
		   category == ERRCODE_DATA_EXCEPTION || category == ERRCODE_FEATURE_NOT_SUPPORTED;
}

/*
 * Reads a text that may make no sense; NIL then.  Scanner and grammar take nothing but memory, so
 * their errors need no subtransaction.
 */
static List *
read_quietly(List *(*read)(const char *), const char *sql)
{
	MemoryContext context = CurrentMemoryContext;
	List *volatile result = NIL;

	PG_TRY();
	{
		result = read(sql);
	}
	PG_CATCH();
	{
		if (!is_about_text(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return result;
}

/* ---- looking ---- */

/* Looks at the statement that stands between two offsets. */
static void
walk_piece(RuleWalk *walk, int start, int end)
{
	char *sql = pnstrdup(walk->sql + start, end - start);
	RuleWalk part = finding_part(walk, sql, start);

	walk->statements(&part, read_quietly(read_statements, sql));
}

/* Notes what the body, which is the walk's text, does when the block runs. */
void
rule_do_walk(RuleWalk *walk)
{
	List *tokens = read_quietly(read_tokens, walk->sql);
	const char *previous = ";";
	int piece = -1; /* where the statement of interest began */
	ListCell *cell;

	foreach (cell, tokens)
	{
		int offset = lfirst_int(cell);
		const char *token = walk->sql + offset;
		bool starts =
			*previous == ';' || strncmp(previous, ">>", 2) == 0 || is_word(previous, openers);

		if (*token == ';' && piece >= 0)
		{
			walk_piece(walk, piece, offset);
			piece = -1;
		}
		if (starts && is_word(token, of_interest))
			piece = offset;
		if (is_word(token, (const char *[]){ "execute", NULL }) &&
			(starts || is_word(previous, before_execute)))
		{
			walk->statement = offset;
			finding_add(walk, RULE_DYNAMIC_DO, "DO block that executes text");
		}
		previous = token;
	}
}
