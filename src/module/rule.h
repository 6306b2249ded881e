/*
 * rule.h
 *		Static rules: what they are called, and what a script does that they are about.
 */
#ifndef HOTSWAP_RULE_H
#define HOTSWAP_RULE_H

#include "nodes/pg_list.h"

typedef enum Rule
{
	RULE_SECURITY_DEFINER_SEARCH_PATH,
	RULE_GRANT_TO_PUBLIC,
	RULE_ALTER_SYSTEM,
	RULE_COPY_PROGRAM,
	RULE_CREATE_EXTENSION,
	RULE_UNTRUSTED_LANGUAGE,
	RULE_DROP_TABLE,
	RULE_TRUNCATE,
	RULE_DYNAMIC_DO
} Rule;

#define RULE_COUNT (RULE_DYNAMIC_DO + 1)

/* From the mildest to the strictest. */
typedef enum RuleAction
{
	RULE_OFF,
	RULE_WARN,
	RULE_DENY
} RuleAction;

#define RULE_ACTION_COUNT (RULE_DENY + 1)

typedef struct RuleInfo
{
	RuleAction action; /* where nothing was set */
	const char *about;
	const char *hint;
} RuleInfo;

/* Something in a script that a rule is about. */
typedef struct Finding
{
	Rule rule;
	const char *script; /* its label */
	int line;
	const char *what;
} Finding;

/* A walk over a script, or over a piece of one. */
typedef struct RuleWalk
{
	const char *label;
	const char *sql;
	bool is_revert;
	bool (*is_trusted)(const char *language);
	int depth;        /* DO blocks around it */
	int first_line;   /* of sql in the script */
	int statement;    /* offset of the statement that is being looked at */
	int counted;      /* offset up to which lines are counted */
	int counted_line; /* line there */
	MemoryContext results;
	List **findings; /* of Finding */
} RuleWalk;

extern const char *const rule_names[RULE_COUNT];
extern const RuleInfo rule_info[RULE_COUNT];
extern const char *const rule_actions[RULE_ACTION_COUNT];

/* rule_walk.c */
extern List *rule_walk_script(const char *label, const char *sql, bool is_revert,
							  bool (*is_trusted)(const char *language));
extern RuleWalk rule_walk_part(RuleWalk *walk, const char *sql, int offset);
extern void rule_walk_statements(RuleWalk *walk, List *statements);
extern void rule_add(RuleWalk *walk, Rule rule, const char *what);

/* rule_do.c */
extern void rule_walk_do_body(RuleWalk *walk);

#endif /* HOTSWAP_RULE_H */
