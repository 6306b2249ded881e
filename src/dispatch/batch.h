/*
 * batch.h
 *		The dispatcher's work, in the background or in the session of CALL work().
 */
#ifndef HOTSWAP_BATCH_H
#define HOTSWAP_BATCH_H

#include "dispatch/dispatch.h"

extern Dispatch *dispatch_begin(const DispatchMode *mode);
extern bool dispatch_lock(bool wait);
extern void dispatch_unlock(void);
extern bool dispatch_step(Dispatch *d);
extern TimestampTz dispatch_next(const Dispatch *d);
extern bool dispatch_failed(Dispatch *d, ErrorData *error);
extern void dispatch_give_back(Dispatch *d);

#endif /* HOTSWAP_BATCH_H */
