/*
 * rollback.h
 *		Taking back what was swapped.
 */
#ifndef HOTSWAP_ROLLBACK_H
#define HOTSWAP_ROLLBACK_H

#include "pipeline/visit.h"

extern Stage *rollback_stage(Visit *v);
extern void rollback_or_end(Visit *v, DeploymentEvent event, const char *reason);
extern void rollback_advance(Visit *v);
extern void rollback_fail(Visit *v, const char *sqlstate, const char *message);

#endif /* HOTSWAP_ROLLBACK_H */
