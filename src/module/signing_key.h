/*
 * signing_key.h
 *		Signing keys of a tenant, and the signatures of its versions.
 */
#ifndef HOTSWAP_SIGNING_KEY_H
#define HOTSWAP_SIGNING_KEY_H

#include "core/audit.h"
#include "fmgr.h"

/* A version, as far as it is signed. */
typedef struct SignedVersion
{
	const pg_uuid_t *tenant;
	const char *module;
	const char *version;
	const uint8 *digest; /* of its scripts */
} SignedVersion;

/* A signature as it was given; key is NULL where there is none. */
typedef struct GivenSignature
{
	char *key;
	bytea *value;
} GivenSignature;

extern GivenSignature signature_arguments(FunctionCallInfo fcinfo, int n);

/* Inside a scope. */
extern void version_sign(const SignedVersion *v, const GivenSignature *given,
						 const AuditActor *actor);
extern char *version_require_signature(const SignedVersion *v, const char *environment);

#endif /* HOTSWAP_SIGNING_KEY_H */
