/*
 * rule_inline.h
 *		Functions that the planner would write into the query.
 */
#ifndef HOTSWAP_RULE_INLINE_H
#define HOTSWAP_RULE_INLINE_H

#include "module/finding.h"
#include "nodes/parsenodes.h"

extern void rule_inline_function(RuleWalk *walk, const CreateFunctionStmt *stmt);

#endif /* HOTSWAP_RULE_INLINE_H */
