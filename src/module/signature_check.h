/*
 * signature_check.h
 *		Is a signature good now, and is a version signed well enough?
 */
#ifndef HOTSWAP_SIGNATURE_CHECK_H
#define HOTSWAP_SIGNATURE_CHECK_H

#include "fmgr.h"
#include "utils/uuid.h"

/* A version, as far as it is signed. */
typedef struct SignedVersion
{
	const pg_uuid_t *tenant;
	const char *module;
	const char *version;
	const uint8 *digest; /* of its scripts */
	bool is_installer;   /* it is about an installer that came later */
} SignedVersion;

/* A signature as it was given; key is NULL where there is none. */
typedef struct GivenSignature
{
	char *key;
	bytea *value;
} GivenSignature;

extern void signing_key_refuse_missing(const char *name);

/* Inside a scope. */
extern void signature_require_good(const SignedVersion *v, const GivenSignature *given);
extern char *version_require_signature(const SignedVersion *v, const char *environment);

#endif /* HOTSWAP_SIGNATURE_CHECK_H */
