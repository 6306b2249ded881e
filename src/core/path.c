/*
 * path.c
 *		The environments that a deployment passes through.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/path.h"
#include "utils/builtins.h"

static DbStatement path_query = DB_STATEMENT(
	"SELECT e.name FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.rank <="
	" (SELECT t.rank FROM hotswap.environment t WHERE t.tenant_id = $1 AND t.name = $2)"
	" ORDER BY e.rank",
	UUIDOID, TEXTOID);

/* The environments that a deployment passes through, up to its target, in rank order. */
List *
path_of(const pg_uuid_t *tenant, const char *target)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(target) };
	uint64 n = db_run_newest(&path_query, args, NULL);
	List *path = NIL;

	for (uint64 i = 0; i < n; i++)
		path = lappend(path, db_text(i, 1));
	return path;
}

/* The same of one that may be for its target alone. */
List *
path_of_deployment(const Deployment *d)
{
	return d->only_target ? list_make1(d->environment) : path_of(&d->tenant, d->environment);
}
