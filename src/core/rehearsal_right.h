/*
 * rehearsal_right.h
 *		What may be rehearsed, and what must have been.
 */
#ifndef HOTSWAP_REHEARSAL_RIGHT_H
#define HOTSWAP_REHEARSAL_RIGHT_H

#include "core/deployment.h"
#include "nodes/pg_list.h"

/* All inside a scope, in the caller's memory context. */

/* Raises 0A000 if a step of these plans cannot be taken back by its transaction. */
extern void rehearsal_require_possible(List *plans);

/* Does a rehearsal in the environment go without an approval? */
extern bool rehearsal_is_free(const pg_uuid_t *tenant, const char *environment);

/*
 * The name of a node that would run steps which have not been rehearsed on it as the environment asks for; NULL:
 * there is none.
 */
extern char *rehearsal_missing(const Deployment *d, const char *environment, List *plans);

#endif /* HOTSWAP_REHEARSAL_RIGHT_H */
