/*
 * gate_function.c
 *		The functions that are asked after the waves of an environment, as they are now.
 *
 * An approval is about them, and a rollout keeps them as it began: who replaces one does not decide about what is on
 * its way.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/gate_function.h"
#include "utils/builtins.h"

static DbStatement functions_query = DB_STATEMENT(
	"SELECT function, pg_catalog.min(owner::oid), " GATE_DIGEST(
		"function") " FROM hotswap.gate WHERE tenant_id = $1 AND environment = $2"
					" AND (module = '' OR module = ANY ($3)) GROUP BY function ORDER BY function",
	UUIDOID, TEXTOID, TEXTARRAYOID);

List *
gate_functions(const pg_uuid_t *tenant, const char *environment, List *modules)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment),
					 db_text_array(modules) };
	uint64 n = db_run(&functions_query, args, NULL);
	List *functions = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		GateFunction *f = palloc0(sizeof(GateFunction));

		f->name = db_text(i, 1);
		f->owner = db_oid(i, 2);
		f->is_there = db_digest(i, 3, f->digest);
		functions = lappend(functions, f);
	}
	return functions;
}
