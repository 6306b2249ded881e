/*
 * deployment_save.h
 *		Writes what has become of a deployment.
 */
#ifndef HOTSWAP_DEPLOYMENT_SAVE_H
#define HOTSWAP_DEPLOYMENT_SAVE_H

#include "core/deployment.h"

/* All inside a scope. */
extern void deployment_save(Deployment *d);
extern void deployment_save_due(Deployment *d, TimestampTz due);
extern void deployment_enqueue(const Deployment *d, TimestampTz due);
extern void deployment_due(Deployment *d, TimestampTz due);

#endif /* HOTSWAP_DEPLOYMENT_SAVE_H */
