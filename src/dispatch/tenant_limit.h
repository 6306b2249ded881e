/*
 * tenant_limit.h
 *		How many tasks of one tenant may be in hand.
 */
#ifndef HOTSWAP_TENANT_LIMIT_H
#define HOTSWAP_TENANT_LIMIT_H

#include "dispatch/dispatch.h"
#include "dispatch/due_set.h"

extern int tenant_limit(const Dispatch *d);
extern int tenant_limit_room(Dispatch *d, const DueTenant *tenant);
extern DueItem *tenant_limit_next(Dispatch *d);
extern void tenant_limit_return(Dispatch *d);

#endif /* HOTSWAP_TENANT_LIMIT_H */
