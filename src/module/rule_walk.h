/*
 * rule_walk.h
 *		Looks in a script for what the static rules are about.
 */
#ifndef HOTSWAP_RULE_WALK_H
#define HOTSWAP_RULE_WALK_H

#include "module/finding.h"

extern void rule_walk_script(int script, const char *sql, List *statements, BodyCheck *body,
							 MemoryContext results, List **findings);

#endif /* HOTSWAP_RULE_WALK_H */
