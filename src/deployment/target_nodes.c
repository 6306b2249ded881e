/*
 * target_nodes.c
 *		The nodes of an environment that somebody names: by their names or ids.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "deployment/target_nodes.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define NODES_LIMIT 10000

static DbStatement find_nodes = DB_STATEMENT(
	"SELECT (SELECT g.name FROM unnest($3) g (name) WHERE NOT EXISTS (SELECT FROM hotswap.node n"
	" WHERE n.tenant_id = $1 AND n.environment = $2 AND n.removed_at IS NULL"
	" AND (n.name = g.name OR n.id::text = lower(g.name))) LIMIT 1),"
	" ARRAY(SELECT n.id FROM hotswap.node n WHERE n.tenant_id = $1 AND n.environment = $2"
	" AND n.removed_at IS NULL AND (n.name = ANY ($3)"
	" OR n.id::text = ANY (SELECT lower(g.name) FROM unnest($3) g (name))) ORDER BY n.id)",
	UUIDOID, TEXTOID, TEXTARRAYOID);

bool
target_nodes_argument(FunctionCallInfo fcinfo, int n, Datum *names)
{
	ArrayType *array;
	int count;

	if (PG_ARGISNULL(n))
		return false;
	array = PG_GETARG_ARRAYTYPE_P(n);
	count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"nodes\" must not be empty"),
				 errhint("Use NULL for all nodes of the environment.")));
	if (count > NODES_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"nodes\" has too many elements: %d", count),
						errdetail("At most %d are allowed.", NODES_LIMIT)));
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("element of \"nodes\" must not be null")));
	*names = PointerGetDatum(array);
	return true;
}

/* P0002 if one of them is not there. */
Datum
target_nodes_find(const pg_uuid_t *tenant, const char *environment, Datum names)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment), names };
	char *missing;
	bool isnull;

	(void) db_run_newest(&find_nodes, args, NULL);
	missing = db_text(0, 1);
	if (missing)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("environment \"%s\" has no node \"%s\"", environment, missing)));
	MemoryContextSwitchTo(context);
	return PointerGetDatum(DatumGetArrayTypePCopy(db_datum(0, 2, &isnull)));
}
