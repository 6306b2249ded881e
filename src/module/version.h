/*
 * version.h
 *		A version as it is stored.
 */
#ifndef HOTSWAP_VERSION_H
#define HOTSWAP_VERSION_H

#include "base/digest.h"
#include "module/script.h"
#include "utils/uuid.h"

typedef struct Version
{
	char *module;
	char *name;
	char *scripts[SCRIPT_COUNT]; /* NULL: there is none */
	uint8 digest[DIGEST_LENGTH]; /* of what was published */
} Version;

/* Inside a scope. */
extern Version *version_read(const pg_uuid_t *tenant, const char *module, const char *version);
extern Version *version_read_existing(const pg_uuid_t *tenant, const char *module,
									  const char *version);

extern void version_require_intact(const Version *v);

#endif /* HOTSWAP_VERSION_H */
