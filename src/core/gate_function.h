/*
 * gate_function.h
 *		The functions that are asked after the waves of an environment.
 */
#ifndef HOTSWAP_GATE_FUNCTION_H
#define HOTSWAP_GATE_FUNCTION_H

#include "base/digest.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

typedef struct GateFunction
{
	char *name; /* qualified */
	Oid owner;  /* when it was registered */
	bool is_there;
	uint8 digest[DIGEST_LENGTH]; /* of its definition */
} GateFunction;

/* In statements: the digest of the definition of a function that is a gate; NULL: there is none. */
#define GATE_DIGEST(name)                                                                         \
	"pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.pg_get_functiondef(to_regprocedure(" name \
	" || '(uuid,integer,integer)')), 'UTF8'))"

/* Inside a scope: those of these modules (char *), of GateFunction in the order of their names. */
extern List *gate_functions(const pg_uuid_t *tenant, const char *environment, List *modules);

#endif /* HOTSWAP_GATE_FUNCTION_H */
