/*
 * finding.c
 *		Notes what a script does, with the line where it does it.
 *
 * No SPI, no catalog, no lock.
 */
#include "postgres.h"

#include "module/finding.h"
#include "utils/memutils.h"

/* The line, in the script, of an offset; counts on from the last one. */
static int
line_at(RuleWalk *walk, int offset)
{
	if (offset < walk->counted)
	{
		walk->counted = 0;
		walk->counted_line = walk->first_line;
	}
	for (; walk->counted < offset; walk->counted++)
		if (walk->sql[walk->counted] == '\n')
			walk->counted_line++;
	return walk->counted_line;
}

/* Notes what the current statement does. */
void
finding_add(RuleWalk *walk, Rule rule, const char *what)
{
	MemoryContext old = MemoryContextSwitchTo(walk->results);
	Finding *finding = palloc(sizeof(Finding));

	finding->rule = rule;
	finding->script = walk->label;
	finding->line = line_at(walk, walk->statement);
	finding->what = pstrdup(what);
	*walk->findings = lappend(*walk->findings, finding);
	MemoryContextSwitchTo(old);
}

/* A walk over a text that stands in the one of another walk, at an offset. */
RuleWalk
finding_part(RuleWalk *walk, const char *sql, int offset)
{
	RuleWalk part = *walk;

	part.sql = sql;
	part.first_line = part.counted_line = line_at(walk, offset);
	part.counted = part.statement = 0;
	return part;
}
