/*
 * installation.h
 *		What hotswap knows of the database that it is installed in.
 */
#ifndef HOTSWAP_INSTALLATION_H
#define HOTSWAP_INSTALLATION_H

#include "core/audit.h"

typedef enum DispatchState
{
	DISPATCH_ALLOWED,
	DISPATCH_STOPPED, /* stop_dispatching() */
	DISPATCH_FOREIGN, /* restored from elsewhere: adopt() first */
	DISPATCH_NOTHING  /* nothing has ever been published here */
} DispatchState;

/* All inside a scope. */
extern void installation_ensure(void);
extern void installation_lock(void);
extern void installation_audit(const AuditActor *actor, const char *event, const char *before,
							   const char *after, const char *reason, Jsonb *detail);
extern DispatchState installation_dispatch_state(void);

#endif /* HOTSWAP_INSTALLATION_H */
