/*
 * held.h
 *		Versions that a rollback has taken back in an environment.
 */
#ifndef HOTSWAP_HELD_H
#define HOTSWAP_HELD_H

#include "core/plan.h"

/* Inside a scope. */
extern void held_add(const Deployment *d, List *plans);
extern void held_remove(const Deployment *d, const char *environment);

#endif /* HOTSWAP_HELD_H */
