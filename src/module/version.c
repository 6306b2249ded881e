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
#include "core/missing.h"
#include "module/rule_table.h"
#include "module/version.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* Parents are looked up one by one: a join could be planned as a walk through all versions of the module. */
static DbStatement version_query = DB_STATEMENT(
	"SELECT CASE WHEN s.fits THEN v.deploy_sql END, CASE WHEN s.fits THEN v.verify_sql END,"
	" CASE WHEN s.fits THEN v.revert_sql END, CASE WHEN s.fits THEN v.install_sql END, v.digest, s.fits,"
	" v.verify_sql IS NOT NULL, v.findings::text, v.findings_digest, v.parents IS NOT NULL, v.transactional,"
	" v.requires, v.install_digest, v.install_published_at IS NOT NULL,"
	" v.artifact_digest, v.artifact_uri, v.revert_sql IS NOT NULL,"
	" (SELECT array_agg(q.digest ORDER BY q.digest) FROM (SELECT (SELECT p.digest"
	" FROM hotswap.module_version p WHERE p.tenant_id = $1 AND p.module = $2 AND p.version = n.version)"
	" FROM unnest(v.parents) n (version)) q (digest) WHERE q.digest IS NOT NULL),"
	" (SELECT m.routed FROM hotswap.module m WHERE m.tenant_id = $1 AND m.name = $2)"
	" FROM hotswap.module_version v CROSS JOIN LATERAL (SELECT coalesce(octet_length(v.deploy_sql), 0)::bigint"
	" + coalesce(octet_length(v.verify_sql), 0) + coalesce(octet_length(v.revert_sql), 0)"
	" + coalesce(octet_length(v.install_sql), 0) <= $4) s (fits)"
	" WHERE v.tenant_id = $1 AND v.module = $2 AND v.version = $3",
	UUIDOID, TEXTOID, TEXTOID, INT8OID);

/* Those that are not there first. */
static DbStatement find_parents = DB_STATEMENT(
	"SELECT n.version, (SELECT v.digest FROM hotswap.module_version v"
	" WHERE v.tenant_id = $1 AND v.module = $2 AND v.version = n.version) AS digest"
	" FROM unnest($3) n (version) ORDER BY digest NULLS FIRST, n.version COLLATE \"C\"",
	UUIDOID, TEXTOID, TEXTARRAYOID);

enum
{
	VERSION_SCRIPTS = 1,
	VERSION_DIGEST = VERSION_SCRIPTS + SCRIPT_COUNT,
	VERSION_FITS,
	VERSION_HAS_VERIFY,
	VERSION_FINDINGS,
	VERSION_FINDINGS_DIGEST,
	VERSION_IS_GRAPH,
	VERSION_TRANSACTIONAL,
	VERSION_REQUIRES,
	VERSION_INSTALL_DIGEST,
	VERSION_INSTALLER_IS_LATER,
	VERSION_ARTIFACT_DIGEST,
	VERSION_ARTIFACT_URI,
	VERSION_HAS_REVERT,
	VERSION_PARENT_DIGESTS,
	VERSION_IS_ROUTED
};

static DbStatement checks_query = DB_STATEMENT(
	"SELECT verify_sql IS NOT NULL, artifact_digest IS NOT NULL"
	" FROM hotswap.module_version WHERE tenant_id = $1 AND module = $2 AND version = $3",
	UUIDOID, TEXTOID, TEXTOID);

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

/* The digests of a bytea[], as they stand in it. */
static List *
read_digests(Datum array)
{
	Datum *values;
	int count;
	List *digests = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), BYTEAOID, -1, false, TYPALIGN_INT, &values, NULL,
					  &count);
	for (int i = 0; i < count; i++)
	{
		uint8 *digest = palloc(DIGEST_LENGTH);

		(void) digest_read(values[i], digest);
		digests = lappend(digests, digest);
	}
	return digests;
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
	Datum array;
	bool isnull;
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
	v->has_revert = db_bool(0, VERSION_HAS_REVERT);
	v->is_routed = db_bool(0, VERSION_IS_ROUTED);
	v->findings = read_findings(v);
	v->has_installer = db_digest(0, VERSION_INSTALL_DIGEST, v->install_digest);
	v->installer_is_later = db_bool(0, VERSION_INSTALLER_IS_LATER);
	v->has_artifact = db_digest(0, VERSION_ARTIFACT_DIGEST, v->artifact_digest);
	v->artifact_uri = db_text(0, VERSION_ARTIFACT_URI);
	v->is_graph = db_bool(0, VERSION_IS_GRAPH);
	v->transactional = db_bool(0, VERSION_TRANSACTIONAL);
	array = db_datum(0, VERSION_REQUIRES, &isnull);
	if (!isnull)
		v->requirements = db_text_list(array);
	array = db_datum(0, VERSION_PARENT_DIGESTS, &isnull);
	if (!isnull)
		v->parent_digests = read_digests(array);
	return v;
}

static void
refuse_disappeared(const char *module, const char *version)
{
	elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", version, module);
}

/* The same of a version that something refers to. */
Version *
version_read_existing(const pg_uuid_t *tenant, const char *module, const char *version, int64 limit)
{
	Version *v = version_read(tenant, module, version, limit);

	if (v == NULL)
		refuse_disappeared(module, version);
	return v;
}

/* Of a version that something refers to: has it a verify script, and an artifact?  That costs less than reading it. */
VersionChecks
version_checks(const pg_uuid_t *tenant, const char *module, const char *version)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module),
					 CStringGetTextDatum(version) };

	if (db_run(&checks_query, args, NULL) == 0)
		refuse_disappeared(module, version);
	return (VersionChecks){ .verify = db_bool(0, 1), .artifact = db_bool(0, 2) };
}

/* Reads the scripts, if they were too large to be read with the rest. */
void
version_read_scripts(const pg_uuid_t *tenant, Version *v)
{
	if (!v->is_whole)
		*v = *version_read_existing(tenant, v->module, v->name, VERSION_WHOLE);
}

/* Inside a scope: the digests of versions that a version builds on, ascending; P0002 if one is not there. */
List *
version_parent_digests(const pg_uuid_t *tenant, const char *module, List *parents)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module), db_text_array(parents) };
	List *digests = NIL;
	uint64 n;

	if (parents == NIL)
		return NIL;
	n = db_run(&find_parents, args, NULL);
	if (db_isnull(0, 2))
		version_refuse_missing(module, db_text(0, 1));
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		uint8 *digest = palloc(DIGEST_LENGTH);

		(void) db_digest(i, 2, digest);
		digests = lappend(digests, digest);
	}
	return digests;
}

/*
 * The digest of what a version consists of.  One that is complete in itself and has nothing but its scripts has
 * that of these alone; else what else says what is done is in it, as a commit names its parents.
 */
void
version_digest(const Version *v, uint8 *result)
{
	pg_cryptohash_ctx *ctx = digest_begin();
	const char *installer = v->installer_is_later ? NULL : v->scripts[SCRIPT_INSTALL];
	bool is_plain = !v->is_graph && installer == NULL && v->transactional &&
					v->requirements == NIL && !v->has_artifact;
	ListCell *cell;

	if (!is_plain)
		digest_field(ctx, "hotswap-version-v2");
	digest_field(ctx, v->scripts[SCRIPT_DEPLOY]);
	digest_field(ctx, v->scripts[SCRIPT_VERIFY]);
	digest_field(ctx, v->scripts[SCRIPT_REVERT]);
	if (!is_plain)
	{
		digest_field(ctx, installer);
		digest_int64(ctx, v->transactional);
		digest_int64(ctx, list_length(v->requirements));
		foreach (cell, v->requirements)
			digest_field(ctx, lfirst(cell));
		digest_int64(ctx, v->is_graph ? list_length(v->parent_digests) : -1);
		foreach (cell, v->parent_digests)
			digest_bytes(ctx, lfirst(cell), DIGEST_LENGTH);
	}
	if (v->has_artifact)
	{
		digest_bytes(ctx, v->artifact_digest, DIGEST_LENGTH);
		digest_field(ctx, v->artifact_uri);
	}
	digest_end(ctx, result);
}

/* Raises XX001 if the scripts are not those that were published.  Needs no scope. */
void
version_require_intact(const Version *v)
{
	uint8 digest[DIGEST_LENGTH];

	Assert(v->is_whole);
	version_digest(v, digest);
	if (memcmp(v->digest, digest, DIGEST_LENGTH) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("scripts of version \"%s\" of module \"%s\" are not those that were published",
					v->name, v->module),
			 errdetail("Their SHA-256 is %s.", digest_hex(digest))));
	if (v->scripts[SCRIPT_INSTALL] == NULL)
		return;
	digest_installer(v->digest, v->scripts[SCRIPT_INSTALL], digest);
	if (memcmp(v->install_digest, digest, DIGEST_LENGTH) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("installer of version \"%s\" of module \"%s\" is not the one that"
							   " was published",
							   v->name, v->module),
						errdetail("Its SHA-256 is %s.", digest_hex(digest))));
}
