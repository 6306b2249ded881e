/*
 * signature.h
 *		Signatures of versions: what is signed, and keys and signatures as libcrypto sees them.
 */
#ifndef HOTSWAP_SIGNATURE_H
#define HOTSWAP_SIGNATURE_H

#include "base/digest.h"
#include "utils/uuid.h"

typedef enum SignatureAlgorithm
{
	SIGNATURE_ED25519,
	SIGNATURE_RSA_PSS_SHA256
} SignatureAlgorithm;

#define SIGNATURE_ALGORITHM_COUNT (SIGNATURE_RSA_PSS_SHA256 + 1)
#define SIGNATURE_PEM_LIMIT 8192  /* bytes of a public key */
#define SIGNATURE_SIZE_LIMIT 2048 /* bytes of a signature: RSA of 16384 bits */
#define SIGNATURE_PROBLEM_SIZE 200

/* A public key that can be used. */
typedef struct SignatureKey
{
	char pem[SIGNATURE_PEM_LIMIT];        /* as libcrypto writes it */
	uint8 fingerprint[DIGEST_LENGTH];     /* SHA-256 of its DER form */
	char problem[SIGNATURE_PROBLEM_SIZE]; /* why it cannot be used, when reading it failed */
} SignatureKey;

extern const char *const signature_algorithms[];

extern char *signature_payload(const pg_uuid_t *tenant, const char *module, const char *version,
							   const uint8 *digest, bool is_installer);
extern bool signature_read_key(SignatureAlgorithm algorithm, const char *pem, SignatureKey *key);
extern bool signature_verify(SignatureAlgorithm algorithm, const char *pem, const char *payload,
							 const uint8 *signature, size_t length);

#endif /* HOTSWAP_SIGNATURE_H */
