/*
 * body_check.h
 *		Looks for errors in the bodies of functions, procedures and DO blocks, which are strings to
 *		the server until they are made or run.
 */
#ifndef HOTSWAP_BODY_CHECK_H
#define HOTSWAP_BODY_CHECK_H

#include "module/finding.h"

/* A CreateFunctionStmt or a DoStmt, at which the walk is; anything else is passed over. */
extern void body_check(RuleWalk *walk, Node *stmt);

#endif /* HOTSWAP_BODY_CHECK_H */
