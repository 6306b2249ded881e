/*
 * release.c
 *		A deployment that waits for an approval goes on when it is there.
 *
 * Locks: none of its own; the caller holds the deployment's row.
 */
#include "postgres.h"

#include "approval/release.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/deployment_save.h"

static DbStatement waiting_query =
	DB_STATEMENT("SELECT environment FROM hotswap.stage WHERE tenant_id = $1 AND deployment_id = $2"
				 " AND status = 'waiting_approval'",
				 UUIDOID, UUIDOID);

/* The approval is there: if the deployment waits for this one, it goes on. */
void
approval_release(Deployment *d, const Approval *a)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };

	if (d->status != DEPLOYMENT_PENDING_APPROVAL || db_run(&waiting_query, args, NULL) == 0 ||
		strcmp(db_text(0, 1), a->environment) != 0)
		return;
	deployment_apply(d, DEPLOYMENT_APPROVE, NULL);
	deployment_due(d, GetCurrentTimestamp());
}
