/*
 * requirement.h
 *		What a version asks of the other modules of a node.
 */
#ifndef HOTSWAP_REQUIREMENT_H
#define HOTSWAP_REQUIREMENT_H

#include "fmgr.h"
#include "nodes/pg_list.h"

typedef struct Requirement
{
	char *module;
	char *version;    /* this one, or one that builds on it; NULL: any */
	bool is_conflict; /* the node must not run it */
} Requirement;

extern Requirement *requirement_parse(const char *text, const char **problem);
extern List *requirement_arguments(FunctionCallInfo fcinfo, int n, const char *module);

#endif /* HOTSWAP_REQUIREMENT_H */
