/*
 * errors.h
 *		SQLSTATEs of hotswap's own; everything else uses the server's.
 */
#ifndef HOTSWAP_ERRORS_H
#define HOTSWAP_ERRORS_H

#include "utils/elog.h"

/* an idempotency key was used with another request */
#define ERRCODE_HOTSWAP_KEY_REUSED MAKE_SQLSTATE('Y', 'H', '0', '0', '1')
/* a token of a lock or lease: a newer one was given out */
#define ERRCODE_HOTSWAP_STALE_TOKEN MAKE_SQLSTATE('Y', 'H', '0', '0', '2')
/* the tenant is not active */
#define ERRCODE_HOTSWAP_TENANT_NOT_ACTIVE MAKE_SQLSTATE('Y', 'H', '0', '0', '3')
/* a signature does not verify, or one that is required is missing */
#define ERRCODE_HOTSWAP_SIGNATURE MAKE_SQLSTATE('Y', 'H', '0', '1', '0')
/* a static rule denies what a script does */
#define ERRCODE_HOTSWAP_RULE MAKE_SQLSTATE('Y', 'H', '0', '1', '1')
/* a rehearsal had an AccessExclusive lock for longer than its environment allows */
#define ERRCODE_HOTSWAP_LOCK_BUDGET MAKE_SQLSTATE('Y', 'H', '0', '1', '2')

#endif /* HOTSWAP_ERRORS_H */
