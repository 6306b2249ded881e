/*
 * cancel.c
 *		Ending a deployment early: cancel().
 *
 * Locks: the deployment's row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "core/call.h"
#include "core/deployment_save.h"
#include "core/steps.h"
#include "core/tenant.h"
#include "deployment/cancel.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(hotswap_cancel);

/* Cancels a locked deployment, or asks the dispatcher to, and writes it. */
void
deployment_cancel(Deployment *d, char *reason)
{
	deployment_apply(d, DEPLOYMENT_CANCEL, reason);
	d->cancel_requested_at = GetCurrentTimestamp();
	d->cancel_reason = reason;
	if (deployment_is_final(d->status))
		steps_cancel_stages(d, NULL);
	deployment_save_due(d, d->cancel_requested_at);
}

/*
 * cancel(deployment uuid, reason text) returns the status
 *
 * What has not started ends here and now; what runs is left to the dispatcher, which cannot miss
 * it: it locks the row that is locked here, and takes back what an executor has swapped meanwhile.
 *
 * In: reason of 1 to 10,000 characters. Errors: 22023, P0002 no such deployment, 55000 it has
 * ended, is being cancelled or is rolling back, 42501. Locks the deployment.
 */
Datum
hotswap_cancel(PG_FUNCTION_ARGS)
{
	pg_uuid_t id = arg_uuid(fcinfo, 0, "deployment");
	char *reason = arg_text(fcinfo, 1, "reason", REASON_LIMIT);
	Deployment d;
	pg_uuid_t tenant = tenant_current();
	Call c;

	call_begin(&c, &tenant, CAPABILITY_DEPLOYER, "cancel a deployment");
	deployment_lock_existing(&d, &id, &c.actor);
	if (d.status == DEPLOYMENT_RUNNING && d.cancel_requested_at != TIME_NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("deployment \"%s\" is already being cancelled", uuid_text(&id))));
	deployment_cancel(&d, reason);
	call_end(&c);
	return deployment_status_datum(fcinfo, d.status);
}
