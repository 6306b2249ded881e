/*
 * body_types.c
 *		A function in PL/pgSQL with types that are always there in place of those that may not be.
 *
 * PL/pgSQL looks up the types of what is declared when it compiles a body.  Before a script runs they may
 * not be there: the script makes them itself, one before it does, or they stand in the schema of a node.  What
 * the compiler has to say of the rest depends only on whether they are scalars or records; so each type that
 * is not the server's own is replaced by one of the two, as the caller guesses.  What says it is a row, and
 * an array, need no guess.
 *
 * No SPI, no lock; of the catalog only the server's own types.
 */
#include "postgres.h"

#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "module/body_types.h"
#include "module/parse.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "utils/syscache.h"

/* How far the body is read, and what is made of it. */
typedef struct Rewriter
{
	const char *sql;
	List *tokens; /* offsets */
	int at;       /* the current one */
	const char *guess;
	bool *guessed;
	int copied; /* offset up to which it is in the result */
	StringInfoData result;
} Rewriter;

/* ---- types ---- */

static List *
read_type(const char *sql)
{
	return raw_parser(sql, RAW_PARSE_TYPE_NAME);
}

static bool
is_builtin(const TypeName *type)
{
	const char *name;

	if (type->pct_type || type->names == NIL || list_length(type->names) > 2)
		return false;
	if (list_length(type->names) == 2 && strcmp(strVal(linitial(type->names)), "pg_catalog") != 0)
		return false;
	name = strVal(llast(type->names));
	return strlen(name) < NAMEDATALEN &&
		   SearchSysCacheExists2(TYPENAMENSP, CStringGetDatum(name),
								 ObjectIdGetDatum(PG_CATALOG_NAMESPACE));
}

/* What to write for a type of a declaration; NULL: it stays. */
static const char *
replacement_of(const Rewriter *r, const char *type)
{
	const char *percent = strchr(type, '%');
	List *names;

	if (percent && strchr(percent, '['))
		return "text[]";
	if (percent && parse_is_token(percent + 1, "rowtype"))
		return GUESS_RECORD;
	/* of a variable, if it is no column */
	if (percent)
		return strchr(type, '.') ? r->guess : NULL;
	names = parse_quietly(read_type, type, NULL);
	if (names == NIL || is_builtin(linitial_node(TypeName, names)))
		return NULL;
	return linitial_node(TypeName, names)->arrayBounds ? "text[]" : r->guess;
}

/* ---- the body ---- */

/* The token that is so many behind the current one; empty where there is none. */
static const char *
token_at(const Rewriter *r, int ahead)
{
	int n = r->at + ahead;

	return n >= 0 && n < list_length(r->tokens) ? r->sql + list_nth_int(r->tokens, n) : "";
}

/* Writes something in place of what stands from an offset to the current token. */
static void
replace(Rewriter *r, int begin, const char *with)
{
	int end = (int) (token_at(r, 0) - r->sql);

	appendBinaryStringInfo(&r->result, r->sql + r->copied, begin - r->copied);
	appendStringInfo(&r->result, "%s ", with);
	for (int i = begin; i < end; i++)
		if (r->sql[i] == '\n')
			appendStringInfoChar(&r->result, '\n');
	r->copied = end;
}

/* Goes on to the next of these tokens, not counting what stands in brackets; false at the end of the body. */
static bool
find_end(Rewriter *r, const char *const *words, const char *punctuation)
{
	int open = 0;

	for (; r->at < list_length(r->tokens); r->at++)
	{
		const char *token = token_at(r, 0);

		CHECK_FOR_INTERRUPTS();
		if (open <= 0 && (strchr(punctuation, *token) || parse_is_word(token, words)))
			return true;
		if (*token == '(' || *token == '[')
			open++;
		else if (*token == ')' || *token == ']')
			open--;
	}
	return false;
}

/* The type that begins with the current token, and a collation, which may not be there either. */
static bool
rewrite_type(Rewriter *r)
{
	int begin = (int) (token_at(r, 0) - r->sql);
	const char *with;

	if (!find_end(r, PARSE_WORDS("collate", "not", "default"), ";:=,)"))
		return false;
	with = replacement_of(r, pnstrdup(r->sql + begin, token_at(r, 0) - r->sql - begin));
	if (with)
		replace(r, begin, with);
	if (with == r->guess)
		*r->guessed = true;
	begin = (int) (token_at(r, 0) - r->sql);
	if (parse_is_token(token_at(r, 0), "collate"))
	{
		if (!find_end(r, PARSE_WORDS("not", "default"), ";:=,)"))
			return false;
		replace(r, begin, "");
	}
	return true;
}

/* CURSOR, with the types of its arguments. */
static bool
rewrite_cursor(Rewriter *r)
{
	r->at++;
	if (*token_at(r, 0) != '(')
		return true;
	do
	{
		r->at += 2;
		if (!rewrite_type(r))
			return false;
	} while (*token_at(r, 0) == ',');
	return true;
}

/* The declarations up to BEGIN. */
static bool
rewrite_declarations(Rewriter *r)
{
	while (r->at < list_length(r->tokens) && !parse_is_token(token_at(r, 0), "begin"))
	{
		if (parse_is_token(token_at(r, 0), "declare"))
		{
			r->at++;
			continue;
		}
		/* its name */
		r->at++;
		if (parse_is_word(token_at(r, 0), PARSE_WORDS("constant", "scroll")))
			r->at++;
		else if (parse_is_token(token_at(r, 0), "no"))
			r->at += 2;
		if (parse_is_token(token_at(r, 0), "cursor"))
		{
			if (!rewrite_cursor(r))
				return false;
		}
		else if (!parse_is_token(token_at(r, 0), "alias") && !rewrite_type(r))
			return false;
		if (!find_end(r, PARSE_WORDS(NULL), ";"))
			return false;
		r->at++;
	}
	return true;
}

/* Do declarations begin with the current token, as opposed to something that is called like the word? */
static bool
begins_declarations(const Rewriter *r)
{
	const char *before = token_at(r, -1);

	return parse_is_token(token_at(r, 0), "declare") &&
		   (r->at == 0 || *before == ';' || parse_is_token(before, ">>") ||
			parse_is_word(before, PARSE_WORDS("begin", "then", "else", "loop")) ||
			parse_is_token(token_at(r, -3), "#"));
}

char *
body_guess_types(const char *sql, const char *guess, bool *guessed)
{
	Rewriter r = { .sql = sql,
				   .tokens = parse_quietly(parse_tokens, sql, NULL),
				   .guess = guess,
				   .guessed = guessed };

	initStringInfo(&r.result);
	for (; r.at < list_length(r.tokens); r.at++)
		if (begins_declarations(&r) && !rewrite_declarations(&r))
			break;
	appendStringInfoString(&r.result, sql + r.copied);
	return r.result.data;
}

/* ---- the signature ---- */

static TypeName *
guess_type(TypeName *type, const char *guess, bool *guessed)
{
	bool is_array = type && type->arrayBounds;
	TypeName *result;

	if (type == NULL || is_builtin(type))
		return type;
	*guessed |= !is_array;
	result = SystemTypeName(
		pnstrdup(is_array ? GUESS_SCALAR : guess, strcspn(is_array ? GUESS_SCALAR : guess, " ")));
	result->setof = type->setof;
	if (is_array)
		result->arrayBounds = list_make1(makeInteger(-1));
	return result;
}

void
body_guess_signature(CreateFunctionStmt *stmt, const char *guess, bool *guessed)
{
	ListCell *cell;

	stmt->returnType = guess_type(stmt->returnType, guess, guessed);
	foreach (cell, stmt->parameters)
	{
		FunctionParameter *parameter = lfirst_node(FunctionParameter, cell);

		parameter->argType = guess_type(parameter->argType, guess, guessed);
		parameter->defexpr = NULL;
	}
}
