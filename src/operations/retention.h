/*
 * retention.h
 *		What is kept, and for how long.
 */
#ifndef HOTSWAP_RETENTION_H
#define HOTSWAP_RETENTION_H

#include "dispatch/dispatch.h"

extern void retention_run(const DispatchMode *mode);

#endif /* HOTSWAP_RETENTION_H */
