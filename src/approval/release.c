/*
 * release.c
 *		A deployment that waits for an approval goes on when it is there.
 *
 * Locks: none of its own; the caller holds the deployment's row.
 */
#include "postgres.h"

#include "approval/release.h"
#include "core/deployment_save.h"
#include "core/steps.h"

/* The approval is there: if the deployment waits for this one, it goes on. */
void
approval_release(Deployment *d, const Approval *a)
{
	char *gate = d->status == DEPLOYMENT_PENDING_APPROVAL ? steps_gate(d) : NULL;

	if (gate == NULL || strcmp(gate, a->environment) != 0)
		return;
	deployment_apply(d, DEPLOYMENT_APPROVE, NULL);
	deployment_due(d, GetCurrentTimestamp());
}
