/*
 * missing.c
 *		Refuses what names something that is not there: P0002, with the same sentence wherever it is
 *		asked for.
 *
 * What one file alone looks up is refused there, in the same words: kind "name" does not exist.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/missing.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

/* as many as a hint names */
static DbStatement environments_query =
	DB_STATEMENT("SELECT name FROM hotswap.environment WHERE tenant_id = $1 ORDER BY rank LIMIT 10",
				 UUIDOID);

void
role_refuse_missing(Oid role)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND), errmsg("role with OID %u does not exist", role)));
}

void
role_require(Oid role)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		role_refuse_missing(role);
}

void
role_require_all(List *roles)
{
	ListCell *cell;

	foreach (cell, roles)
		role_require(lfirst_oid(cell));
}

void
version_refuse_missing(const char *module, const char *version)
{
	ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
					errmsg("version \"%s\" of module \"%s\" does not exist", version, module),
					errhint("Publish it with hotswap.publish_version().")));
}

void
release_refuse_missing(const char *release)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND), errmsg("release \"%s\" does not exist", release),
			 errhint("Publish it with hotswap.publish_release().")));
}

/* The hint names those that there are. */
void
environment_refuse_missing(const pg_uuid_t *tenant, const char *name)
{
	Datum args[] = { UUIDPGetDatum(tenant) };
	uint64 count = db_run(&environments_query, args, NULL);
	StringInfoData names;

	initStringInfo(&names);
	for (uint64 i = 0; i < count; i++)
		appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "", db_text(i, 1));
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND), errmsg("environment \"%s\" does not exist", name),
			 count > 0 ? errhint_plural("Environment %s exists.", "Environments %s exist.", count,
										names.data) :
						 errhint("Make one with hotswap.configure_environment().")));
}
