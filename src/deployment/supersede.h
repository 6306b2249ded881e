/*
 * supersede.h
 *		Ending what runs where a request wants to go.
 */
#ifndef HOTSWAP_SUPERSEDE_H
#define HOTSWAP_SUPERSEDE_H

#include "deployment/request.h"

/* Inside a scope, before the request is created. */
extern void supersede_running(const Request *r, const AuditActor *actor);

#endif /* HOTSWAP_SUPERSEDE_H */
