/*
 * bypass.c
 *		Breaking the glass: bypass_approval().
 *
 * Locks: the environment's row, so that the limit of open reviews is exact, then the deployment's.
 */
#include "postgres.h"

#include "approval/release.h"
#include "approval/review.h"
#include "approval/vote.h"
#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/deployment_save.h"
#include "core/environment_row.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_bypass_approval);

static DbStatement note_bypasser =
	DB_STATEMENT("UPDATE hotswap.approval SET decided_by_role = $5::regrole"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND environment = $3 AND round = $4",
				 UUIDOID, UUIDOID, TEXTOID, INT4OID, OIDOID);

/*
 * bypass_approval(deployment uuid, environment text, reason text, ticket text, on_behalf_of text)
 *		returns the approval's status
 *
 * In: reason of 1 to 10,000 characters, ticket of 1 to 200. Errors: 22023; P0002 no such
 * deployment or approval; 42501 without break_glass; 53400 as many bypasses await their review as
 * the policy allows; 55000 not pending or overdue. Locks the environment and the deployment;
 * writes the approval, the outbox and the audit log.
 */
Datum
hotswap_bypass_approval(PG_FUNCTION_ARGS)
{
	char *reason = arg_text(fcinfo, 2, "reason", REASON_LIMIT);
	char *ticket = arg_text(fcinfo, 3, "ticket", TICKET_LIMIT);
	char *on_behalf_of = arg_person(fcinfo, 4);
	pg_uuid_t tenant = tenant_current();
	Ballot b;
	DbArgs args = db_args(&note_bypasser);

	memset(&b, 0, sizeof(b));
	b.id = arg_uuid(fcinfo, 0, "deployment");
	b.environment = arg_text(fcinfo, 1, "environment", NAME_LIMIT);
	person_current(&b.person, on_behalf_of);
	ballot_begin(&b, CAPABILITY_BREAK_GLASS, "bypass an approval");
	/* keeps others from adding a review to those of the environment */
	environment_lock(&tenant, b.environment);
	ballot_open(&b);
	ballot_require(&b, APPROVAL_BYPASS);
	review_limit(&b.d.tenant, b.environment, &b.policy);
	approval_apply(&b.d, b.approval, APPROVAL_BYPASS, b.person.name, reason, ticket);
	db_arg_uuid(&args, &b.d.tenant);
	db_arg_uuid(&args, &b.d.id);
	db_arg_text(&args, b.approval->environment);
	db_arg_int32(&args, b.approval->round);
	db_arg_oid(&args, b.person.known);
	(void) db_run_args(&args);
	approval_release(&b.d, b.approval);
	deployment_save(&b.d);
	return ballot_close(&b, fcinfo);
}
