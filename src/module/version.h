/*
 * version.h
 *		A version as it is stored.
 */
#ifndef HOTSWAP_VERSION_H
#define HOTSWAP_VERSION_H

#include "base/digest.h"
#include "module/script.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

typedef struct Version
{
	char *module;
	char *name;
	char *scripts[SCRIPT_COUNT]; /* NULL: there is none */
	uint8 digest[DIGEST_LENGTH]; /* of what was published */
	bool is_whole;               /* the scripts were read */
	bool has_verify;             /* even if they were not */
	bool has_revert;
	bool is_graph;        /* it has parents, or is the first of a chain */
	List *parent_digests; /* of uint8 *, ascending */
	bool is_routed;       /* the module is called through entries */
	bool transactional;   /* else each statement is a transaction of its own */
	List *requirements;   /* of char *: what it asks of a node's other modules, sorted */
	bool has_artifact;    /* for agents; it is never read here */
	uint8 artifact_digest[DIGEST_LENGTH];
	char *artifact_uri;      /* where it is; NULL: here */
	bool has_installer;      /* even if it was not read */
	bool installer_is_later; /* it came after the version, whose digest does not cover it */
	uint8 install_digest[DIGEST_LENGTH];
	char *findings; /* what was found in them, as it is kept; NULL: nothing that counts */
} Version;

/* How it is looked at on a node. */
typedef struct VersionChecks
{
	bool verify;   /* by a script */
	bool artifact; /* by an agent */
} VersionChecks;

#define URI_LIMIT 2000 /* characters */

/* Scripts that together are larger than a limit in bytes are not read. */
#define VERSION_WHOLE PG_INT64_MAX

/* Inside a scope. */
extern Version *version_read(const pg_uuid_t *tenant, const char *module, const char *version,
							 int64 limit);
extern Version *version_read_existing(const pg_uuid_t *tenant, const char *module,
									  const char *version, int64 limit);
extern VersionChecks version_checks(const pg_uuid_t *tenant, const char *module,
									const char *version);
extern void version_read_scripts(const pg_uuid_t *tenant, Version *v);

extern List *version_parent_digests(const pg_uuid_t *tenant, const char *module, List *parents);

extern void version_digest(const Version *v, uint8 *result);
extern void version_require_intact(const Version *v);

/* Do findings that were kept fit the version, the rules of this library and the grammar of this server? */
extern void version_digest_findings(const uint8 *digest_of_scripts, const char *text,
									uint8 *result);
extern bool version_findings_fit(const uint8 *digest_of_scripts, const char *text,
								 const uint8 *digest);

#endif /* HOTSWAP_VERSION_H */
