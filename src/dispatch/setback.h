/*
 * setback.h
 *		Deployments that cannot be visited now.
 */
#ifndef HOTSWAP_SETBACK_H
#define HOTSWAP_SETBACK_H

#include "dispatch/dispatch.h"
#include "dispatch/due_set.h"

extern void setback_report(Dispatch *d, ErrorData *error);
extern bool setback_is_final(const ErrorData *error);
extern void setback_set_aside(Dispatch *d, DueItem *item, ErrorData *error);
extern void setback_over(DueItem *item);
extern void setback_locked(DueItem *item);
extern void setback_unlocked(DueItem *item);
extern void setback_forget(DueItem *item);

#endif /* HOTSWAP_SETBACK_H */
