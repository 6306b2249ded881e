/*
 * body.c
 *		The text of an entry, a function of language hotswap:
 *
 *		tenant UUID node UUID module "NAME" function "NAME" slot "SCHEMA"
 *
 * in this order, apart by white space.  Names are quoted like identifiers.  pg_dump keeps the text,
 * so it is the fallback for as long as a restore has not brought the rows of the route.
 */
#include "postgres.h"

#include "base/uuid.h"
#include "fmgr.h"
#include "route/body.h"
#include "route/route.h"
#include "utils/builtins.h"

pg_noreturn static void
refuse(const char *expected, const char *at)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("syntax error in an entry at or near \"%.40s\"", at),
			 errdetail("Expected is %s.", expected),
			 errhint("Entries are made by hotswap: tenant UUID node UUID module \"NAME\" function "
					 "\"NAME\" slot \"SCHEMA\".")));
}

static const char *
skip_space(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

static const char *
read_word(const char *at, const char *word)
{
	size_t length = strlen(word);

	at = skip_space(at);
	if (strncmp(at, word, length) != 0 || skip_space(at + length) == at + length)
		refuse(word, at);
	return at + length;
}

static const char *
read_uuid(const char *at, const char *word, pg_uuid_t *uuid)
{
	size_t length;
	Datum value;

	at = skip_space(read_word(at, word));
	length = strcspn(at, " \t\r\n");
	value = DirectFunctionCall1(uuid_in, CStringGetDatum(pnstrdup(at, length)));
	*uuid = *DatumGetUUIDP(value);
	return at + length;
}

static const char *
read_name(const char *at, const char *word, char *name, size_t size)
{
	const char *start = skip_space(read_word(at, word));
	size_t length = 0;

	at = start;
	if (*at != '"')
		refuse("a quoted name", start);
	while (*++at)
	{
		if (*at == '"' && *++at != '"')
			break;
		if (length + 1 >= size)
			refuse("a shorter name", start);
		name[length++] = *at;
	}
	if (length == 0 || at[-1] != '"')
		refuse("a quoted name", start);
	name[length] = '\0';
	return at;
}

/* Raises 42601, and 22P02 for what is no UUID. */
void
body_parse(const char *text, EntryBody *body)
{
	const char *at = text;

	at = read_uuid(at, "tenant", &body->tenant);
	at = read_uuid(at, "node", &body->node);
	at = read_name(at, "module", body->module, sizeof(body->module));
	at = read_name(at, "function", body->function, sizeof(body->function));
	at = skip_space(read_name(at, "slot", body->slot, sizeof(body->slot)));
	if (*at)
		refuse("the end", at);
}

static char *
quoted(const char *name)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '"');
	for (; *name; name++)
	{
		if (*name == '"')
			appendStringInfoChar(&text, '"');
		appendStringInfoChar(&text, *name);
	}
	appendStringInfoChar(&text, '"');
	return text.data;
}

/* The text of an entry to a function of a module on a node. */
char *
entry_body(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module, const char *function,
		   const char *slot)
{
	return psprintf("tenant %s node %s module %s function %s slot %s", uuid_text(tenant),
					uuid_text(node), quoted(module), quoted(function), quoted(slot));
}
