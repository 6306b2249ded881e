/*
 * rule_table.c
 *		The static rules: what each is called, what it is about, and what is done about it where
 *		nothing was set.
 */
#include "postgres.h"

#include "module/rule_table.h"

/* In the order of the enum. */
const char *const rule_names[RULE_COUNT] = { "security_definer_search_path",
											 "grant_to_public",
											 "alter_system",
											 "copy_program",
											 "create_extension",
											 "untrusted_language",
											 "drop_table",
											 "truncate",
											 "dynamic_do",
											 "secret_in_script",
											 "inlined_function",
											 "broken_body" };

const RuleInfo rule_info[RULE_COUNT] = {
	[RULE_SECURITY_DEFINER_SEARCH_PATH] = { RULE_WARN,
											"CREATE or ALTER FUNCTION that leaves a SECURITY DEFINER function without a pinned search_path",
											"Write SET search_path = its schemas, pg_temp in the statement that says SECURITY DEFINER." },
	[RULE_GRANT_TO_PUBLIC] = { RULE_WARN, "GRANT to PUBLIC, also as default privileges",
							   "Grant to a role." },
	[RULE_ALTER_SYSTEM] = { RULE_DENY, "ALTER SYSTEM",
							"Settings of the server are no part of a module." },
	[RULE_COPY_PROGRAM] = { RULE_DENY,
							"COPY from or to a program of the server, foreign tables that are read from one",
							"Load the data from outside, or with COPY and a file." },
	[RULE_CREATE_EXTENSION] = { RULE_WARN, "CREATE EXTENSION, and ALTER EXTENSION UPDATE",
								"Let an administrator of the database install it." },
	[RULE_UNTRUSTED_LANGUAGE] = { RULE_WARN,
								  "functions and DO blocks in a language that is not known as trusted",
								  "Use SQL, PL/pgSQL or another trusted language." },
	[RULE_DROP_TABLE] = { RULE_WARN,
						  "DROP TABLE, SCHEMA CASCADE, TYPE CASCADE, EXTENSION, OWNED and COLUMN, but in a revert script",
						  "Rename it, and drop it by hand when nothing needs it any more." },
	[RULE_TRUNCATE] = { RULE_WARN, "TRUNCATE", "Delete what has to go by a condition." },
	[RULE_DYNAMIC_DO] = { RULE_WARN,
						  "DO blocks that execute text, cannot be read, or are not in PL/pgSQL",
						  "Write the statements themselves." },
	[RULE_SECRET_IN_SCRIPT] = { RULE_DENY,
								"passwords of roles, and in the options and connections of servers, user mappings, foreign tables and subscriptions",
								"Who may see the version can read it: set it outside of hotswap, and choose another one." },
	[RULE_INLINED_FUNCTION] = { RULE_WARN,
								"SQL functions of routed modules that the planner would make a part of the query",
								"Make it in a module that is not routed, where its calls are many or conditions of the query narrow it." },
	[RULE_BROKEN_BODY] = { RULE_WARN,
						   "bodies of functions, procedures and DO blocks in PL/pgSQL and SQL that cannot be compiled",
						   "Mend the body; deploy(rehearse => true) shows errors that depend on tables." },
};

const char *const rule_actions[RULE_ACTION_COUNT] = { "off", "warn", "deny" };
