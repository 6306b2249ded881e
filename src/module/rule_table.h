/*
 * rule_table.h
 *		The static rules.
 */
#ifndef HOTSWAP_RULE_TABLE_H
#define HOTSWAP_RULE_TABLE_H

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
	RULE_DYNAMIC_DO,
	RULE_SECRET_IN_SCRIPT,
	RULE_INLINED_FUNCTION, /* counts in routed modules */
	RULE_BROKEN_BODY
} Rule;

/* Raised with each change of what the rules find, or of what a script may not contain. */
#define RULE_SET "rules 3, PostgreSQL " PG_MAJORVERSION

#define RULE_COUNT (RULE_BROKEN_BODY + 1)

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

extern const char *const rule_names[RULE_COUNT];
extern const RuleInfo rule_info[RULE_COUNT];
extern const char *const rule_actions[RULE_ACTION_COUNT];

#endif /* HOTSWAP_RULE_TABLE_H */
