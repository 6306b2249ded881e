/*
 * scan.h
 *		The stage scan: are the scripts those that were published, signed where that is asked for,
 *		and do they keep to the static rules?
 */
#ifndef HOTSWAP_SCAN_H
#define HOTSWAP_SCAN_H

#include "module/finding.h"
#include "module/version.h"

/* What the environments on a path ask of the scripts. */
typedef struct ScanPolicy
{
	char *requires_signature;       /* the first environment that does, or NULL */
	RuleAction actions[RULE_COUNT]; /* the strictest */
	char *strictest[RULE_COUNT];    /* the first environment that is so strict */
} ScanPolicy;

/* All inside a scope. */
extern void scan_policy_load(const pg_uuid_t *tenant, List *path, ScanPolicy *policy);
extern List *scan_findings(List *findings, const ScanPolicy *policy, bool is_routed);
extern char *scan_version(const pg_uuid_t *tenant, Version *v, List *path);
extern void scan_steps(const pg_uuid_t *tenant, const char *module, List *versions,
					   char *environment);
extern char *scan_script(const pg_uuid_t *tenant, Version *v, int script, const ScanPolicy *policy);
extern void scan_verify(const pg_uuid_t *tenant, Version *v, char *environment);
extern void scan_installer(const pg_uuid_t *tenant, const char *module, const char *version,
						   const char *environment);
extern void scan_signature(const pg_uuid_t *tenant, const Version *v, const char *environment);

#endif /* HOTSWAP_SCAN_H */
