/*
 * retention.h
 *		What is kept, and for how long.
 */
#ifndef HOTSWAP_RETENTION_H
#define HOTSWAP_RETENTION_H

#include "dispatch/dispatch.h"

typedef enum RetentionState
{
	RETENTION_MORE,
	RETENTION_DONE,
	RETENTION_FAILED /* done, apart from what failed */
} RetentionState;

extern void retention_begin(void);
extern RetentionState retention_step(const DispatchMode *mode);

#endif /* HOTSWAP_RETENTION_H */
