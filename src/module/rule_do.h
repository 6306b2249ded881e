/*
 * rule_do.h
 *		Looks in the body of a DO block for what the static rules are about.
 */
#ifndef HOTSWAP_RULE_DO_H
#define HOTSWAP_RULE_DO_H

#include "module/finding.h"

extern void rule_do_walk(RuleWalk *walk);

#endif /* HOTSWAP_RULE_DO_H */
