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
#include "module/version.h"
#include "utils/builtins.h"

static DbStatement version_query =
	DB_STATEMENT("SELECT deploy_sql, verify_sql, revert_sql, digest FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

/* Reads a version into the current context; NULL if it does not exist. */
Version *
version_read(const pg_uuid_t *tenant, const char *module, const char *version)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module),
					 CStringGetTextDatum(version) };
	MemoryContext context = CurrentMemoryContext;
	Version *v;

	if (db_run(&version_query, args, NULL) == 0)
		return NULL;
	/* a query leaves its caller in the memory context of SPI */
	MemoryContextSwitchTo(context);
	v = palloc(sizeof(Version));
	v->module = pstrdup(module);
	v->name = pstrdup(version);
	for (int i = 0; i < SCRIPT_COUNT; i++)
		v->scripts[i] = db_text(0, i + 1);
	(void) db_digest(0, SCRIPT_COUNT + 1, v->digest);
	return v;
}

/* The same of a version that something refers to. */
Version *
version_read_existing(const pg_uuid_t *tenant, const char *module, const char *version)
{
	Version *v = version_read(tenant, module, version);

	if (v == NULL)
		elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", version, module);
	return v;
}

/* Raises XX001 if the scripts are not those that were published.  Needs no scope. */
void
version_require_intact(const Version *v)
{
	uint8 digest[DIGEST_LENGTH];

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
