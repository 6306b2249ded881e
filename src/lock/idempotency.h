/*
 * idempotency.h
 *		Idempotency keys.
 */
#ifndef HOTSWAP_IDEMPOTENCY_H
#define HOTSWAP_IDEMPOTENCY_H

#include "utils/uuid.h"

/* Both inside a scope; fingerprint has DIGEST_LENGTH bytes; YH001 when it is another one. */
extern bool idempotency_find(const pg_uuid_t *tenant, const char *scope, const char *key,
							 const uint8 *fingerprint, pg_uuid_t *deployment);
extern bool idempotency_claim(const pg_uuid_t *tenant, const char *scope, const char *key,
							  const uint8 *fingerprint, pg_uuid_t *deployment);

#endif /* HOTSWAP_IDEMPOTENCY_H */
