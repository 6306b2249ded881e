/*
 * rule_walk.h
 *		Looks in a script for what the static rules are about.
 */
#ifndef HOTSWAP_RULE_WALK_H
#define HOTSWAP_RULE_WALK_H

#include "module/finding.h"

extern List *rule_walk_script(const char *label, const char *sql, bool is_revert,
							  bool (*is_trusted)(const char *language));

#endif /* HOTSWAP_RULE_WALK_H */
