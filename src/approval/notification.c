/*
 * notification.c
 *		Systems outside take the notices of the outbox: take_notifications().
 *
 * Locks: the rows that a consumer takes; those that another one is taking are passed over.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"

#define TAKE_LIMIT 10000

PG_FUNCTION_INFO_V1(hotswap_take_notifications);

static DbStatement take = DB_STATEMENT(
	"WITH due AS MATERIALIZED (SELECT deployment_id, id FROM hotswap.notification"
	" WHERE tenant_id = $1 AND delivered_at IS NULL ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED),"
	" taken AS (UPDATE hotswap.notification n SET delivered_at = pg_catalog.clock_timestamp() FROM due"
	" WHERE n.tenant_id = $1 AND n.deployment_id = due.deployment_id AND n.id = due.id"
	" RETURNING n.id, n.event, n.at, n.deployment_id, n.environment, n.concerns, n.reason)"
	" SELECT * FROM taken ORDER BY id",
	UUIDOID, INT4OID);

/*
 * take_notifications(max integer, tenant uuid) returns (id, event, at, deployment_id, environment,
 *		concerns, reason)
 *
 * In: max 1 to 10,000; tenant may be NULL.  Errors: 22023.  Locks and marks the rows it returns.
 */
Datum
hotswap_take_notifications(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	pg_uuid_t tenant = tenant_argument(fcinfo, 1);
	Datum args[2];
	DbScope scope;
	uint64 count;

	args[0] = UUIDPGetDatum(&tenant);
	args[1] = Int32GetDatum(arg_int32(fcinfo, 0, "max", 1, TAKE_LIMIT));
	InitMaterializedSRF(fcinfo, 0);
	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_AGENT, "take notifications");
	count = db_run(&take, args, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		Datum values[7];
		bool nulls[7];

		for (int column = 0; column < 7; column++)
			values[column] = db_datum(i, column + 1, &nulls[column]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	db_leave(&scope);
	return (Datum) 0;
}
