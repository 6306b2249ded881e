/*
 * reading.h
 *		When what is read.
 */
#ifndef HOTSWAP_READING_H
#define HOTSWAP_READING_H

#include "core/installation.h"
#include "dispatch/dispatch.h"
#include "dispatch/due_set.h"

extern DispatchState reading_state(void);
extern void dispatch_forget(Dispatch *d);
extern DispatchState dispatch_load(Dispatch *d, bool changed);
extern void dispatch_announced(Dispatch *d, const RingEntry *entries, int count);
extern TimestampTz reading_next(const Dispatch *d);
extern void reading_unread(Dispatch *d);
extern bool reading_more(Dispatch *d);
extern void reading_one(Dispatch *d, const pg_uuid_t *tenant, const pg_uuid_t *id);
extern bool reading_refresh(Dispatch *d, DueItem *item);

#endif /* HOTSWAP_READING_H */
