/*
 * finding.h
 *		What a script does that the static rules are about, noted while the script is walked
 *		through.
 */
#ifndef HOTSWAP_FINDING_H
#define HOTSWAP_FINDING_H

#include "module/rule_table.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"

/* Something in a script that a rule is about. */
typedef struct Finding
{
	Rule rule;
	int script;           /* SCRIPT_DEPLOY and so on */
	const char *language; /* it counts unless this language is trusted; NULL: it always does */
	int line;
	const char *what;
} Finding;

struct RuleWalk;

/* Looks at the body of a function, procedure or DO block, which the walk is at. */
typedef void BodyCheck(struct RuleWalk *walk, Node *stmt);

/* A walk over a script, or over a piece of one. */
typedef struct RuleWalk
{
	int script; /* SCRIPT_DEPLOY and so on */
	const char *sql;
	int depth;        /* DO blocks around it */
	int statement;    /* offset of the statement that is being looked at */
	int counted;      /* offset up to which lines are counted */
	int counted_line; /* line there */
	void (*statements)(struct RuleWalk *walk, List *statements); /* looks at RawStmts */
	BodyCheck *body;                                             /* or NULL */
	int *bodies_left;                                            /* that it looks at */
	MemoryContext results;
	List **findings; /* of Finding */
} RuleWalk;

extern RuleWalk finding_part(RuleWalk *walk, const char *sql, int offset);
extern void finding_add(RuleWalk *walk, Rule rule, const char *what);
extern void finding_add_language(RuleWalk *walk, const char *language, const char *what);

#endif /* HOTSWAP_FINDING_H */
