/*
 * parse.c
 *		Reads SQL text with the server's own scanner and grammar, in one way only.
 *
 * What a text means depends on settings that anybody may change.  Here they have one value, whoever
 * asks: strings are standard-conforming, and \' is taken in escape strings, so that whatever the server
 * reads under another backslash_quote is read here as well.  While a script runs, its session has the
 * same standard_conforming_strings, so that the server executes the statements that were looked at.
 *
 * No SPI, no catalog, no lock.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/error_text.h"
#include "base/guc.h"
#include "common/keywords.h"
#include "miscadmin.h"
#include "module/parse.h"
#include "parser/parser.h"
#include "parser/scanner.h"
#include "utils/builtins.h"
#include "utils/guc.h"

/* What the scanner takes from the session when it begins. */
typedef struct LexerSettings
{
	bool conforming;
	bool warning;
	int quote;
	int to_client;
	int to_log;
} LexerSettings;

/*
 * Notices and warnings are kept back as well: the position of each would have to be found in the text,
 * and who runs the script sees them then.
 */
static LexerSettings
enter(void)
{
	LexerSettings before = { standard_conforming_strings, escape_string_warning, backslash_quote,
							 client_min_messages, log_min_messages };

	standard_conforming_strings = true;
	escape_string_warning = false;
	backslash_quote = BACKSLASH_QUOTE_ON;
	client_min_messages = ERROR;
	if (log_min_messages < ERROR && log_min_messages != LOG)
		log_min_messages = ERROR;
	return before;
}

static void
leave(const LexerSettings *before)
{
	standard_conforming_strings = before->conforming;
	escape_string_warning = before->warning;
	backslash_quote = before->quote;
	client_min_messages = before->to_client;
	log_min_messages = before->to_log;
}

/* Reads a text by the server's scanner or grammar. */
List *
parse_in_one_way(List *(*read)(const char *), const char *sql)
{
	LexerSettings before = enter();
	List *volatile result = NIL;

	PG_TRY();
	{
		result = read(sql);
	}
	PG_FINALLY();
	{
		leave(&before);
	}
	PG_END_TRY();
	return result;
}

static List *
read_statements(const char *sql)
{
	return raw_parser(sql, RAW_PARSE_DEFAULT);
}

static List *
read_tokens(const char *sql)
{
	core_yy_extra_type extra;
	core_YYSTYPE value;
	int offset;
	core_yyscan_t scanner = scanner_init(sql, &extra, &ScanKeywords, ScanKeywordTokens);
	List *offsets = NIL;

	while (core_yylex(&value, &offset, scanner) != 0)
	{
		CHECK_FOR_INTERRUPTS();
		offsets = lappend_int(offsets, offset);
	}
	scanner_finish(scanner);
	return offsets;
}

/* The RawStmts of a text, in the current context; raises what the grammar raises. */
List *
parse_statements(const char *sql)
{
	return parse_in_one_way(read_statements, sql);
}

/* The offsets of a text's tokens. */
List *
parse_tokens(const char *sql)
{
	return parse_in_one_way(read_tokens, sql);
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
 * Reads a text that may make no sense; NIL then, and its error if
 * that is asked for.  Scanner and grammar take nothing but memory, so
 * their errors need no subtransaction; nobody is told of them, so nobody adds a context, which may be
 * as long as the script.
 */
List *
parse_quietly(List *(*read)(const char *), const char *sql, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback *outer = error_context_stack;
	List *volatile result = NIL;

	PG_TRY();
	{
		error_context_stack = NULL;
		result = read(sql);
		error_context_stack = outer;
	}
	PG_CATCH();
	{
		if (!is_about_text(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		if (error)
			*error = error_copy();
		FlushErrorState();
	}
	PG_END_TRY();
	return result;
}

/* ---- tokens ---- */

/* Does a text begin with one of these words? */
bool
parse_is_word(const char *p, const char *const *words)
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

/* Is the token this word, or this punctuation? */
bool
parse_is_token(const char *token, const char *expected)
{
	if (isalpha((unsigned char) *expected))
		return parse_is_word(token, PARSE_WORDS(expected));
	return strncmp(token, expected, strlen(expected)) == 0;
}

/* ---- the session that runs a script ---- */

/* Until the nest level ends. */
void
parse_fix_setting(void)
{
	if (!standard_conforming_strings)
		guc_push("standard_conforming_strings", "on");
}

/* Raises 0A000 where what has run has changed it. */
void
parse_require_setting(const char *label)
{
	if (!standard_conforming_strings)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("changing standard_conforming_strings is not allowed in the %s", label),
				 errdetail("Its statements were read with the setting on."),
				 errhint("Write strings with backslash escapes as E'...'.")));
}

bool
parse_is_setting(const char *name)
{
	return pg_strcasecmp(name, "standard_conforming_strings") == 0;
}

/* What cannot be told from the statement is found when it has run. */
bool
parse_is_unfixed(const VariableSetStmt *set)
{
	A_Const *value;
	bool on;

	if (set->kind != VAR_SET_VALUE || !parse_is_setting(set->name) || list_length(set->args) != 1)
		return false;
	value = linitial(set->args);
	return IsA(value, A_Const) && IsA(&value->val, String) &&
		   parse_bool(strVal(&value->val), &on) && !on;
}
