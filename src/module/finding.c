/*
 * finding.c
 *		Notes what a script does, with the line where it does it.
 *
 * No SPI, no catalog, no lock.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "module/finding.h"
#include "utils/memutils.h"

/* What is said of a finding is cut off after this many bytes: names in a script have no limit. */
#define WHAT_LIMIT 200

/*
 * The line, in the script, of an offset; counted from the last one, forwards or back, so that a walk that
 * looks a little behind itself does not begin anew each time.
 */
static int
line_at(RuleWalk *walk, int offset)
{
	for (; walk->counted > offset; walk->counted--)
		if (walk->sql[walk->counted - 1] == '\n')
			walk->counted_line--;
	for (; walk->counted < offset; walk->counted++)
		if (walk->sql[walk->counted] == '\n')
			walk->counted_line++;
	return walk->counted_line;
}

static Finding *
add(RuleWalk *walk, Rule rule, const char *what)
{
	MemoryContext old = MemoryContextSwitchTo(walk->results);
	Finding *finding = palloc(sizeof(Finding));

	CHECK_FOR_INTERRUPTS();
	finding->rule = rule;
	finding->script = walk->script;
	finding->language = NULL;
	finding->line = line_at(walk, walk->statement);
	finding->what = pnstrdup(what, pg_mbcliplen(what, strlen(what), WHAT_LIMIT));
	*walk->findings = lappend(*walk->findings, finding);
	MemoryContextSwitchTo(old);
	return finding;
}

/* Notes what the current statement does. */
void
finding_add(RuleWalk *walk, Rule rule, const char *what)
{
	(void) add(walk, rule, what);
}

/* Notes that it uses a language, unless the name is too long for one. */
void
finding_add_language(RuleWalk *walk, const char *language, const char *what)
{
	Finding *finding = add(walk, RULE_UNTRUSTED_LANGUAGE, what);

	if (strlen(language) < NAMEDATALEN)
		finding->language = MemoryContextStrdup(walk->results, language);
}

/* A walk over a text that stands in the one of another walk, at an offset. */
RuleWalk
finding_part(RuleWalk *walk, const char *sql, int offset)
{
	RuleWalk part = *walk;

	part.sql = sql;
	part.counted_line = line_at(walk, offset);
	part.counted = part.statement = 0;
	return part;
}
