/*
 * scan.h
 *		The stage scan: are the scripts those that were published, signed where that is asked for, and
 * do they keep to the static rules?
 */
#ifndef HOTSWAP_SCAN_H
#define HOTSWAP_SCAN_H

#include "core/deployment.h"
#include "module/finding.h"
#include "module/script.h"

/* What the environments on a path ask of the scripts. */
typedef struct ScanPolicy
{
	char *requires_signature;       /* the first environment that does, or NULL */
	RuleAction actions[RULE_COUNT]; /* the strictest */
	char *strictest[RULE_COUNT];    /* the first environment that is so strict */
} ScanPolicy;

/* The scripts of a version as they are stored. */
typedef struct VersionScripts
{
	char *sql[SCRIPT_COUNT]; /* NULL: there is none */
	uint8 published[DIGEST_LENGTH];
} VersionScripts;

/* All inside a scope. */
extern VersionScripts *scan_read(const pg_uuid_t *tenant, const char *module, const char *version);
extern void scan_digest(const VersionScripts *scripts, const char *module, const char *version,
						uint8 *digest);
extern void scan_policy_load(const pg_uuid_t *tenant, List *path, ScanPolicy *policy);
extern List *scan_findings(const VersionScripts *scripts, const ScanPolicy *policy);
extern char *scan_version(const Deployment *d, const VersionScripts *scripts, List *path);
extern void scan_signature(const Deployment *d, const VersionScripts *scripts,
						   const char *environment);

#endif /* HOTSWAP_SCAN_H */
