/*
 * freeze.c
 *		Windows are overridden for one deployment: override_freeze().
 *
 * Its review is closed by close_bypass_review().
 *
 * Locks: the environment's row, so that the limit of open reviews is exact, then the deployment's.
 */
#include "postgres.h"

#include "approval/review.h"
#include "base/args.h"
#include "base/db.h"
#include "base/names.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/call.h"
#include "core/deployment_save.h"
#include "core/environment_row.h"
#include "core/freeze.h"
#include "core/path.h"
#include "core/person.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_override_freeze);

static DbStatement insert_override = DB_STATEMENT(
	"INSERT INTO hotswap.freeze_override (tenant_id, deployment_id, id, environment, windows, reason, ticket,"
	" overridden_at, overridden_by, role, until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,"
	" $10::regrole, $11)",
	UUIDOID, UUIDOID, UUIDOID, TEXTOID, UUIDARRAYOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID,
	OIDOID, TIMESTAMPTZOID);

/* An override that is asked for. */
typedef struct Request
{
	pg_uuid_t id; /* of the deployment */
	char *environment;
	char *reason;
	char *ticket;
	Person person;
} Request;

static void
refuse_self(const Request *r, const Deployment *d)
{
	if (person_is_requester(&r->person, d->requested_by, d->requester, d->login, d->login_role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("\"%s\" cannot override windows for deployment \"%s\"",
							   r->person.name, uuid_text(&r->id)),
						errdetail("It was requested by \"%s\", logged in as \"%s\".",
								  d->requested_by, d->login)));
}

/* What all tenants were told is overridden by who may do it in all of them. */
static void
require_right(const Freeze *f, Oid caller)
{
	ListCell *cell;

	foreach (cell, f->closing)
		if (((TimeWindow *) lfirst(cell))->everywhere)
		{
			access_require_everywhere(caller, CAPABILITY_BREAK_GLASS,
									  "override a window of all tenants");
			return;
		}
}

/* What is to be overridden; raises 55000 where nothing is. */
static void
find_freeze(const Request *r, const Deployment *d, Freeze *f)
{
	if (deployment_is_final(d->status))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("deployment \"%s\" has ended", uuid_text(&r->id)),
						errdetail("It is %s.", deployment_machine.statuses[d->status])));
	if (!names_have(path_of_deployment(d), r->environment))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("deployment \"%s\" does not come to environment \"%s\"",
							   uuid_text(&r->id), r->environment)));
	if (!freeze_holds(d, r->environment, f))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						f->is_overridden ?
							errmsg("windows of environment \"%s\" are overridden already for "
								   "deployment \"%s\"",
								   r->environment, uuid_text(&r->id)) :
							errmsg("no window of environment \"%s\" holds up deployment \"%s\" now",
								   r->environment, uuid_text(&r->id))));
}

/* Writes it; returns until when it holds. */
static TimestampTz
write_override(const Request *r, Deployment *d, const Freeze *f)
{
	DbArgs args = db_args(&insert_override);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = Min(now + OVERRIDE_LIMIT, f->opens);
	const char *status = deployment_machine.statuses[d->status];
	pg_uuid_t id;

	uuid7_generate(&id);
	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_uuid(&args, &id);
	db_arg_text(&args, r->environment);
	db_arg_datum(&args, UUIDARRAYOID, freeze_window_ids(f->closing), false);
	db_arg_text(&args, r->reason);
	db_arg_text(&args, r->ticket);
	db_arg_time(&args, now);
	db_arg_text(&args, r->person.name);
	db_arg_oid(&args, r->person.known);
	db_arg_time(&args, until);
	(void) db_run_args(&args);
	audit_add(d->batch, &d->chain, "freeze.override", status, status, r->reason,
			  audit_detail("environment", r->environment, "windows", freeze_words(f), "until",
						   timestamptz_to_str(until), "ticket", r->ticket, NULL));
	return until;
}

/*
 * override_freeze(deployment uuid, environment text, reason text, ticket text, on_behalf_of text)
 *		returns until when it holds
 *
 * In: reason of 1 to 10,000 characters, ticket of 1 to 200.  Errors: 22023; P0002 no such deployment, or it
 * does not come there; 42501 without break_glass (for all tenants, where a window of theirs is overridden), or
 * the own deployment; 53400 as many reviews are open as the policy allows; 55000 no window holds it up, or it
 * has ended.  Locks the environment and the deployment; writes freeze_override and the audit log.
 */
Datum
hotswap_override_freeze(PG_FUNCTION_ARGS)
{
	pg_uuid_t tenant = tenant_current();
	char *on_behalf_of = arg_person(fcinfo, 4);
	Request r;
	Call c;
	Deployment d;
	Freeze freeze;
	ApprovalPolicy policy;
	TimestampTz until;

	memset(&r, 0, sizeof(r));
	r.id = arg_uuid(fcinfo, 0, "deployment");
	r.environment = arg_text(fcinfo, 1, "environment", NAME_LIMIT);
	r.reason = arg_text(fcinfo, 2, "reason", REASON_LIMIT);
	r.ticket = arg_text(fcinfo, 3, "ticket", TICKET_LIMIT);
	person_current(&r.person, on_behalf_of);
	call_begin_for(&c, &tenant, on_behalf_of, CAPABILITY_BREAK_GLASS, "override windows");
	/* keeps others from adding a review to those of the environment */
	environment_lock(&tenant, r.environment);
	deployment_lock_existing(&d, &r.id, &c.actor);
	find_freeze(&r, &d, &freeze);
	refuse_self(&r, &d);
	require_right(&freeze, c.caller);
	(void) approval_policy_load(&tenant, r.environment, &policy);
	review_limit(&tenant, r.environment, &policy);
	until = write_override(&r, &d, &freeze);
	deployment_save_due(&d, GetCurrentTimestamp());
	call_end(&c);
	PG_RETURN_TIMESTAMPTZ(until);
}
