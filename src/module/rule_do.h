/*
 * rule_do.h
 *		Looks in the body of a DO block for what the static rules are about.
 */
#ifndef HOTSWAP_RULE_DO_H
#define HOTSWAP_RULE_DO_H

#include "module/finding.h"

/* What a text is read as; NIL: it cannot be read. */
extern List *rule_read_quietly(List *(*read)(const char *), const char *sql);

extern void rule_do_walk(RuleWalk *walk);

#endif /* HOTSWAP_RULE_DO_H */
