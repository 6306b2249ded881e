/*
 * retention.h
 *		What is kept, and for how long.  The caller has begun a transaction for each call.
 */
#ifndef HOTSWAP_RETENTION_H
#define HOTSWAP_RETENTION_H

extern bool retention_step(void);

#endif /* HOTSWAP_RETENTION_H */
