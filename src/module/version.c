/*
 * version.c
 *		A version as it is stored: read, and compared with what was published.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "module/rule_table.h"
#include "module/version.h"
#include "utils/builtins.h"

static DbStatement version_query = DB_STATEMENT(
	"SELECT CASE WHEN s.fits THEN v.deploy_sql END, CASE WHEN s.fits THEN v.verify_sql END,"
	" CASE WHEN s.fits THEN v.revert_sql END, v.digest, s.fits, v.verify_sql IS NOT NULL,"
	" v.findings::text, v.findings_digest"
	" FROM hotswap.module_version v CROSS JOIN LATERAL (SELECT octet_length(v.deploy_sql)::bigint"
	" + coalesce(octet_length(v.verify_sql), 0) + coalesce(octet_length(v.revert_sql), 0) <= $4) s (fits)"
	" WHERE v.tenant_id = $1 AND v.module = $2 AND v.version = $3",
	UUIDOID, TEXTOID, TEXTOID, INT8OID);

static DbStatement installer_query = DB_STATEMENT(
	"SELECT install_sql, install_digest FROM hotswap.module_version"
	" WHERE tenant_id = $1 AND module = $2 AND version = $3 AND install_sql IS NOT NULL",
	UUIDOID, TEXTOID, TEXTOID);

enum
{
	VERSION_SCRIPTS = 1,
	VERSION_DIGEST = VERSION_SCRIPTS + SCRIPT_COUNT,
	VERSION_FITS,
	VERSION_HAS_VERIFY,
	VERSION_FINDINGS,
	VERSION_FINDINGS_DIGEST
};

/* Over the version's digest, what it was examined with, and what was found. */
void
version_digest_findings(const uint8 *digest_of_scripts, const char *text, uint8 *result)
{
	pg_cryptohash_ctx *ctx = digest_begin();

	digest_bytes(ctx, digest_of_scripts, DIGEST_LENGTH);
	digest_field(ctx, RULE_SET);
	digest_field(ctx, text);
	digest_end(ctx, result);
}

/* Is it what this library would find in that version on this server? */
bool
version_findings_fit(const uint8 *digest_of_scripts, const char *text, const uint8 *digest)
{
	uint8 expected[DIGEST_LENGTH];

	if (text == NULL)
		return false;
	version_digest_findings(digest_of_scripts, text, expected);
	return memcmp(expected, digest, DIGEST_LENGTH) == 0;
}

/* What was found in the scripts, if it counts. */
static char *
read_findings(const Version *v)
{
	char *findings = db_text(0, VERSION_FINDINGS);
	uint8 digest[DIGEST_LENGTH];

	if (findings == NULL || !db_digest(0, VERSION_FINDINGS_DIGEST, digest))
		return NULL;
	return version_findings_fit(v->digest, findings, digest) ? findings : NULL;
}

/*
 * Reads a version into the current context; NULL if it does not exist.  Without the scripts if they are
 * larger than the limit.
 */
Version *
version_read(const pg_uuid_t *tenant, const char *module, const char *version, int64 limit)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module),
					 CStringGetTextDatum(version), Int64GetDatum(limit) };
	MemoryContext context = CurrentMemoryContext;
	Version *v;

	if (db_run(&version_query, args, NULL) == 0)
		return NULL;
	/* a query leaves its caller in the memory context of SPI */
	MemoryContextSwitchTo(context);
	v = palloc0(sizeof(Version));
	v->module = pstrdup(module);
	v->name = pstrdup(version);
	for (int i = 0; i < SCRIPT_COUNT; i++)
		v->scripts[i] = db_text(0, VERSION_SCRIPTS + i);
	(void) db_digest(0, VERSION_DIGEST, v->digest);
	v->is_whole = db_bool(0, VERSION_FITS);
	v->has_verify = db_bool(0, VERSION_HAS_VERIFY);
	v->findings = read_findings(v);
	return v;
}

/* The same of a version that something refers to. */
Version *
version_read_existing(const pg_uuid_t *tenant, const char *module, const char *version, int64 limit)
{
	Version *v = version_read(tenant, module, version, limit);

	if (v == NULL)
		elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", version, module);
	return v;
}

/* Reads the scripts, if they were too large to be read with the rest. */
void
version_read_scripts(const pg_uuid_t *tenant, Version *v)
{
	if (!v->is_whole)
		*v = *version_read_existing(tenant, v->module, v->name, VERSION_WHOLE);
}

/* Reads the installer into the current context; XX001 if it is not the one that was published. */
void
version_read_installer(const pg_uuid_t *tenant, Version *v)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(v->module),
					 CStringGetTextDatum(v->name) };
	uint8 digest[DIGEST_LENGTH];

	if (db_run(&installer_query, args, NULL) == 0)
		elog(ERROR, "the installer of version \"%s\" of module \"%s\" has disappeared", v->name,
			 v->module);
	MemoryContextSwitchTo(context);
	v->installer = db_text(0, 1);
	(void) db_digest(0, 2, v->install_digest);
	digest_installer(v->digest, v->installer, digest);
	if (memcmp(v->install_digest, digest, DIGEST_LENGTH) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("installer of version \"%s\" of module \"%s\" is not the one that"
							   " was published",
							   v->name, v->module)));
}

/* Raises XX001 if the scripts are not those that were published.  Needs no scope. */
void
version_require_intact(const Version *v)
{
	uint8 digest[DIGEST_LENGTH];

	Assert(v->is_whole);
	digest_scripts(v->scripts[SCRIPT_DEPLOY], v->scripts[SCRIPT_VERIFY], v->scripts[SCRIPT_REVERT],
				   digest);
	if (memcmp(v->digest, digest, DIGEST_LENGTH) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("scripts of version \"%s\" of module \"%s\" are not those that were published",
					v->name, v->module),
			 errdetail("Their SHA-256 is %s.", digest_hex(digest))));
}
