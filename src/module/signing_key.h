/*
 * signing_key.h
 *		Signing keys of a tenant, and the signatures of its versions.
 */
#ifndef HOTSWAP_SIGNING_KEY_H
#define HOTSWAP_SIGNING_KEY_H

#include "core/audit.h"
#include "module/signature_check.h"

extern GivenSignature signature_arguments(FunctionCallInfo fcinfo, int n);

/* Inside a scope. */
extern void version_sign(const SignedVersion *v, const GivenSignature *given,
						 const AuditActor *actor);

#endif /* HOTSWAP_SIGNING_KEY_H */
