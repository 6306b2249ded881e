/*
 * rollback.c
 *		Taking back a deployment that has ended, and what follows from it: rollback(), release_version().
 *
 * A rollback is a deployment of its own, for the environment where the other one ended.  What it would run is
 * looked at when it is asked for, so that one that has no way is refused at once, and again when it starts.
 *
 * Locks: the tenant's activity (tenant_enter()), then the row of the deployment that is taken back.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/installation.h"
#include "core/plan.h"
#include "core/rollback_right.h"
#include "core/tenant.h"
#include "deployment/request.h"
#include "fmgr.h"
#include "module/tag.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_rollback);
PG_FUNCTION_INFO_V1(hotswap_release_version);

static DbStatement open_rollback =
	DB_STATEMENT("SELECT d.id FROM hotswap.work_item w CROSS JOIN LATERAL"
				 " (SELECT * FROM hotswap.deployment d"
				 " WHERE d.tenant_id = w.tenant_id AND d.id = w.deployment_id OFFSET 0) d"
				 " WHERE w.tenant_id = $1 AND d.rolls_back = $2 LIMIT 1",
				 UUIDOID, UUIDOID);

static DbStatement delete_held =
	DB_STATEMENT("DELETE FROM hotswap.held_version WHERE tenant_id = $1 AND environment = $2"
				 " AND module = $3 AND version = $4 RETURNING deployment_id",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID);

/* ---- rollback ---- */

static void
refuse(const Deployment *d, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("deployment \"%s\" cannot be rolled back", uuid_text(&d->id)),
					errdetail_internal("%s", detail), hint ? errhint("%s", hint) : 0));
}

/* Only what has ended, and is no rollback itself, is taken back. */
static void
require_ended(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };
	pg_uuid_t other;

	if (!deployment_is_final(d->status))
		refuse(d, "It has not ended.", "Use hotswap.cancel().");
	if (d->kind == KIND_ROLLBACK)
		refuse(d, "It is a rollback itself.", "Use hotswap.deploy() with \"reapply\".");
	if (d->kind == KIND_REHEARSAL)
		refuse(d, "It is a rehearsal, and has left nothing.", NULL);
	if (d->kind == KIND_DECLARE)
		refuse(d, "It has declared what a node runs, and brought nothing.",
			   "Declare what the node runs with hotswap.set_node_version().");
	if (db_run_newest(&open_rollback, args, NULL) == 0)
		return;
	other = db_uuid(0, 1);
	refuse(d, psprintf("Deployment \"%s\" is going to take it back.", uuid_text(&other)), NULL);
}

/* Something is to be taken back, and there is a way on every node. */
static void
require_way(const Deployment *d, List *plans)
{
	StringInfoData words;
	bool any = false;
	ListCell *cell;

	initStringInfo(&words);
	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);

		any = any || p->outcome == NODE_RUNS;
		if (p->outcome == NODE_BLOCKED)
			appendStringInfo(&words, "%s%s", words.len > 0 ? "; " : "", p->reason);
	}
	if (words.len > 0)
		refuse(d, psprintf("There is no way: %s.", words.data), NULL);
	if (!any)
		refuse(d,
			   psprintf("No node of environment \"%s\" runs what it has brought.", d->environment),
			   NULL);
}

/*
 * rollback(deployment uuid, reason text) returns the id of a new deployment
 *
 * In: a deployment that has ended; reason of 1 to 10,000 characters.  Each node of its environment goes back to
 * what it ran before.  Errors: 22023; P0002 no such deployment; 42501; 55000 it has not ended, is a rollback or
 * being rolled back, others have been on top, a revert script is missing, or nothing is left of it; YH003.
 * Locks the deployment; writes a deployment, its work item, audit events, and, where it needs one, an approval.
 */
Datum
hotswap_rollback(PG_FUNCTION_ARGS)
{
	pg_uuid_t id = arg_uuid(fcinfo, 0, "deployment");
	char *reason = arg_text(fcinfo, 1, "reason", REASON_LIMIT);
	pg_uuid_t *result = palloc(sizeof(pg_uuid_t));
	Request r;
	Deployment d;
	List *plans;
	Call c;

	request_begin(&r, KIND_ROLLBACK, reason);
	r.rolls_back = &id;
	r.priority = REQUEST_FIRST;
	call_begin(&c, &r.tenant, CAPABILITY_OPERATOR, "roll a deployment back");
	installation_ensure();
	tenant_enter_active(&r.tenant);
	deployment_lock_existing(&d, &id, &c.actor);
	require_ended(&d);
	plans = plan_rollback(&r.tenant, &id, NULL);
	require_way(&d, plans);
	r.release = d.release;
	r.module = d.module;
	r.version = d.version;
	r.environment = d.environment;
	r.is_protected = !rollback_is_free(&r.tenant, &id, plans);
	request_create(&r, &c.actor);
	call_end(&c);
	*result = r.id;
	PG_RETURN_UUID_P(result);
}

/* ---- held versions ---- */

/*
 * release_version(environment text, module text, version text, reason text, tenant uuid)
 *
 * In: a version that a rollback took back in the environment; reason of 1 to 10,000 characters.  It may come
 * again.  Errors: 22023, P0002 it is not held, 42501, YH003.  Locks the tenant row; writes the audit log.
 */
Datum
hotswap_release_version(PG_FUNCTION_ARGS)
{
	char *environment = arg_text(fcinfo, 0, "environment", NAME_LIMIT);
	char *module = arg_module(fcinfo, 1);
	char *version = arg_version(fcinfo, 2, "version");
	char *reason = arg_text(fcinfo, 3, "reason", REASON_LIMIT);
	pg_uuid_t tenant = tenant_argument(fcinfo, 4);
	DbArgs args = db_args(&delete_held);
	pg_uuid_t holder;
	Call c;

	call_begin_change(&c, &tenant, CAPABILITY_OPERATOR, "release a version");
	version = version_resolve(&tenant, module, version);
	db_arg_uuid(&args, &tenant);
	db_arg_text(&args, environment);
	db_arg_text(&args, module);
	db_arg_text(&args, version);
	if (db_run_args(&args) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("version \"%s\" of module \"%s\" is not held in environment \"%s\"",
							   version, module, environment)));
	holder = db_uuid(0, 1);
	audit_tenant(&c.actor, &tenant, "release_version", NULL, NULL, reason,
				 audit_detail("environment", environment, "module", module, "version", version,
							  "rollback", uuid_text(&holder), NULL));
	call_end(&c);
	PG_RETURN_VOID();
}
