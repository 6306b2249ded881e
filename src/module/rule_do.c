/*
 * rule_do.c
 *		The body of a DO block in PL/pgSQL: does it run text as SQL, and which statements does it
 *		hold?
 *
 * PL/pgSQL's own parser is not within reach, but its tokens are those of the server's scanner, so
 * that comments, strings and quoted names cannot be mistaken for words, and where a statement begins
 * and ends is told here by the same words as there.  A statement that begins with a word of interest is
 * parsed by itself.  One that cannot be parsed is noted: PL/pgSQL may take something out of it (INTO)
 * before it is run.
 *
 * Each byte is read once as a token and at most once as part of a statement.  No SPI, no catalog, no
 * lock.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "module/parse.h"
#include "module/rule_do.h"

static const char *const of_interest[] = { "alter", "copy",  "create", "do",       "drop",
										   "grant", "reset", "set",    "truncate", NULL };

/* How far the body is read. */
typedef struct DoScan
{
	RuleWalk *walk;
	List *tokens;     /* offsets */
	int at;           /* the current one */
	bool declaring;   /* between DECLARE and BEGIN */
	const char *ends; /* the token that ends what is passed over; NULL: a statement begins */
	int parens;       /* open in it */
	int piece;        /* where a statement of interest began, or -1 */
	bool is_routine;  /* which is CREATE FUNCTION or PROCEDURE */
	int blocks;       /* BEGIN or CASE without END in it */
} DoScan;

/* ---- tokens ---- */

/* The token that is so many behind the current one; empty where there is none. */
static const char *
token_at(const DoScan *s, int ahead)
{
	int n = s->at + ahead;

	return n >= 0 && n < list_length(s->tokens) ? s->walk->sql + list_nth_int(s->tokens, n) : "";
}

/* ---- statements ---- */

/* Looks at the statement of interest, which ends before the current token. */
static void
end_piece(DoScan *s)
{
	RuleWalk *walk = s->walk;
	int end = list_nth_int(s->tokens, s->at);
	char *sql = pnstrdup(walk->sql + s->piece, end - s->piece);
	List *statements = parse_quietly(parse_statements, sql, NULL);
	RuleWalk part = finding_part(walk, sql, s->piece);

	if (statements != NIL)
		walk->statements(&part, statements);
	else
		finding_add(&part, RULE_DYNAMIC_DO, "DO block with a statement that cannot be read");
	s->piece = -1;
}

/* Does CREATE [OR REPLACE] FUNCTION or PROCEDURE begin here?  Its body may hold semicolons. */
static bool
begins_routine(const DoScan *s)
{
	int object = parse_is_token(token_at(s, 1), "or") ? 3 : 1;

	return parse_is_token(token_at(s, 0), "create") &&
		   parse_is_word(token_at(s, object), PARSE_WORDS("function", "procedure"));
}

/* Is a variable assigned to that is named like the current word? */
static bool
begins_assignment(const DoScan *s)
{
	const char *next = token_at(s, 1);

	return parse_is_token(next, ":=") || *next == '=' || *next == '[' || *next == '.';
}

/* What ends the part of a statement that begins with a token, and holds no statement itself. */
static const char *
end_of(const char *token)
{
	if (parse_is_token(token, "<<"))
		return ">>";
	if (parse_is_word(token, PARSE_WORDS("if", "elsif", "elseif", "case", "when", "exception")))
		return "then";
	if (parse_is_word(token, PARSE_WORDS("for", "foreach", "while")))
		return "loop";
	return ";";
}

/* A statement begins with the current token, or another one after it. */
static void
begin_statement(DoScan *s)
{
	const char *token = token_at(s, 0);

	if (*token == '#') /* an option of the compiler: # name value */
		s->at += 2;
	else if (parse_is_token(token, "declare"))
		s->declaring = true;
	else if (parse_is_token(token, "begin"))
		s->declaring = false;
	else if (*token != ';' && !parse_is_word(token, PARSE_WORDS("else", "loop")))
	{
		s->ends = s->declaring ? ";" : end_of(token);
		s->parens = s->blocks = 0;
		s->is_routine = begins_routine(s);
		if (!s->declaring && parse_is_word(token, of_interest) && !begins_assignment(s))
			s->piece = list_nth_int(s->tokens, s->at);
	}
}

static void
count_brackets(DoScan *s, const char *token)
{
	bool is_open = *token == '(' || (*token == '[' && s->piece < 0);
	bool is_close = *token == ')' || (*token == ']' && s->piece < 0);

	if (is_open)
		s->parens++;
	else if (is_close && s->parens > 0)
		s->parens--;
	else if (s->is_routine && s->parens == 0 && parse_is_word(token, PARSE_WORDS("begin", "case")))
		s->blocks++;
	else if (s->is_routine && s->parens == 0 && s->blocks > 0 && parse_is_token(token, "end"))
		s->blocks--;
}

/* Passes over the current token; a semicolon always ends a statement that is not of interest. */
static void
pass_over(DoScan *s)
{
	const char *token = token_at(s, 0);
	bool is_open = s->parens > 0 || s->blocks > 0;

	count_brackets(s, token);
	if (*token == ';' ? s->piece < 0 || !is_open : !is_open && parse_is_token(token, s->ends))
	{
		if (s->piece >= 0)
			end_piece(s);
		s->ends = NULL;
	}
}

/* EXECUTE as a statement, RETURN QUERY EXECUTE, FOR r IN EXECUTE, OPEN c FOR EXECUTE */
static bool
executes_text(const DoScan *s)
{
	return parse_is_token(token_at(s, 0), "execute") &&
		   (s->ends == NULL || parse_is_word(token_at(s, -1), PARSE_WORDS("query", "in", "for")));
}

/* Notes what the body, which is the walk's text, does when the block runs. */
void
rule_do_walk(RuleWalk *walk)
{
	DoScan s = { .walk = walk,
				 .tokens = parse_quietly(parse_tokens, walk->sql, NULL),
				 .piece = -1 };

	for (; s.at < list_length(s.tokens); s.at++)
	{
		CHECK_FOR_INTERRUPTS();
		if (executes_text(&s))
		{
			walk->statement = list_nth_int(s.tokens, s.at);
			finding_add(walk, RULE_DYNAMIC_DO, "DO block that executes text");
		}
		if (s.ends == NULL)
			begin_statement(&s);
		else
			pass_over(&s);
	}
}
