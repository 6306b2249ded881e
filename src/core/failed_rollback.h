/*
 * failed_rollback.h
 *		Deployments whose rollback failed, and whether that has been dealt with.
 */
#ifndef HOTSWAP_FAILED_ROLLBACK_H
#define HOTSWAP_FAILED_ROLLBACK_H

#include "core/deployment.h"

/* All inside a scope, with the deployment's row locked. */
extern void failed_rollback_add(const Deployment *d, const char *environment);
extern void failed_rollback_remove(const Deployment *d);
extern bool failed_rollback_acknowledge(const Deployment *d);
extern bool failed_rollback_put_right_by(const Deployment *d, pg_uuid_t *other);
extern void failed_rollback_put_right(const Deployment *d);

#endif /* HOTSWAP_FAILED_ROLLBACK_H */
