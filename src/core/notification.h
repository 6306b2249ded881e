/*
 * notification.h
 *		The outbox.
 */
#ifndef HOTSWAP_NOTIFICATION_H
#define HOTSWAP_NOTIFICATION_H

#include "core/deployment.h"

/* Inside a scope; concerns: names (char *). */
extern void notification_add(const Deployment *d, const char *environment, const char *event,
							 List *concerns, const char *reason);

#endif /* HOTSWAP_NOTIFICATION_H */
