/*
 * acknowledge.c
 *		Saying that a rollback that failed has been dealt with: acknowledge().
 *
 * Locks: the deployment's row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "core/call.h"
#include "core/deployment_save.h"
#include "core/failed_rollback.h"
#include "core/tenant.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(hotswap_acknowledge);

/*
 * acknowledge(deployment uuid, reason text)
 *
 * The status stays: rollback_failed is what happened.  In: reason of 1 to 10,000 characters. Errors:
 * 22023, P0002 no such deployment, 55000 its rollback has not failed or has been dealt with, 42501.
 * Locks the deployment. Writes failed_rollback and audit_event.
 */
Datum
hotswap_acknowledge(PG_FUNCTION_ARGS)
{
	pg_uuid_t id = arg_uuid(fcinfo, 0, "deployment");
	char *reason = arg_text(fcinfo, 1, "reason", REASON_LIMIT);
	pg_uuid_t tenant = tenant_current();
	const char *status;
	Deployment d;
	Call c;

	call_begin(&c, &tenant, CAPABILITY_OPERATOR, "acknowledge a failed rollback");
	deployment_lock_existing(&d, &id, &c.actor);
	status = deployment_machine.statuses[d.status];
	if (!failed_rollback_acknowledge(&d))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("deployment \"%s\" has no failed rollback that is to be dealt with",
							   uuid_text(&id)),
						errdetail("It is %s.", status)));
	audit_add(d.batch, &d.chain, "acknowledge", status, status, reason, NULL);
	deployment_save(&d);
	call_end(&c);
	PG_RETURN_VOID();
}
