/*
 * batch.h
 *		The dispatcher's work, in the background or in the session of CALL work().
 */
#ifndef HOTSWAP_BATCH_H
#define HOTSWAP_BATCH_H

#include "core/installation.h"
#include "dispatch/dispatch.h"
#include "shm/shmem.h"

extern Dispatch *dispatch_begin(const DispatchMode *mode);
extern bool dispatch_lock(bool wait);
extern void dispatch_unlock(void);
extern DispatchState dispatch_load(Dispatch *d, bool changed);
extern bool dispatch_step(Dispatch *d);
extern TimestampTz dispatch_next(const Dispatch *d);
extern void dispatch_announced(Dispatch *d, const RingEntry *entries, int count);
extern bool dispatch_failed(Dispatch *d, ErrorData *error);
extern void dispatch_give_back(Dispatch *d);

#endif /* HOTSWAP_BATCH_H */
