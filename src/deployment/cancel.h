/*
 * cancel.h
 *		Ending a deployment early.
 */
#ifndef HOTSWAP_CANCEL_H
#define HOTSWAP_CANCEL_H

#include "core/deployment.h"

/* Inside a scope. */
extern void deployment_cancel(Deployment *d, char *reason);

#endif /* HOTSWAP_CANCEL_H */
