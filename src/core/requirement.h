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

/* An expression of SQL: the modules of a tenant $1 of which a version asks for this one. */
#define DEPENDENTS(module)                                                                        \
	"ARRAY(SELECT q.name FROM hotswap.module q WHERE q.tenant_id = $1 AND q.requires IS NOT NULL" \
	" AND " module " = ANY (q.requires) ORDER BY q.name)"

extern Requirement *requirement_parse(const char *text, const char **problem);
extern List *requirement_list(Datum array);
extern List *requirement_modules(List *requirements);
extern List *requirement_arguments(FunctionCallInfo fcinfo, int n, const char *module);

#endif /* HOTSWAP_REQUIREMENT_H */
