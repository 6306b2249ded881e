/*
 * deployment.c
 *		A deployment's row: locked, and moved through deployment_machine in memory.
 *
 * What has been changed, with the audit events of the changes, is written by deployment_save().
 *
 * Locks: the deployment's row.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/deployment.h"
#include "core/tenant.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define DEPLOYMENT_COLUMNS                                                                        \
	"status, priority, module, version, environment, run_at, start_by, started_at,"               \
	" cancel_requested_at, cancel_reason, sqlstate, message, audit_seq, audit_hash, gated,"       \
	" requested_by, login, rollback_sqlstate, rollback_message, requester::oid, login_role::oid," \
	" nodes, allow_revert, only_target, reapply, kind, rolls_back, on_failure,"                   \
	" heads, requested_at, nodes_behind, release, has_rollout"

enum
{
	D_STATUS = 1,
	D_PRIORITY,
	D_MODULE,
	D_VERSION,
	D_ENVIRONMENT,
	D_RUN_AT,
	D_START_BY,
	D_STARTED_AT,
	D_CANCEL_REQUESTED_AT,
	D_CANCEL_REASON,
	D_SQLSTATE,
	D_MESSAGE,
	D_AUDIT_SEQ,
	D_AUDIT_HASH,
	D_GATED,
	D_REQUESTED_BY,
	D_LOGIN,
	D_ROLLBACK_SQLSTATE,
	D_ROLLBACK_MESSAGE,
	D_REQUESTER,
	D_LOGIN_ROLE,
	D_NODES,
	D_ALLOW_REVERT,
	D_ONLY_TARGET,
	D_REAPPLY,
	D_KIND,
	D_ROLLS_BACK,
	D_ON_FAILURE,
	D_HEADS,
	D_REQUESTED_AT,
	D_NODES_BEHIND,
	D_RELEASE,
	D_HAS_ROLLOUT
};

const char *const deployment_kind_names[] = { "deploy", "rollback", "rehearsal", "bring_up",
											  "declare" };
const char *const failure_action_names[] = { "back", "stay" };

/* NULL: nobody has said it. */
const char *
failure_action_label(FailureAction action)
{
	return action == ON_FAILURE_UNSAID ? NULL : failure_action_names[action];
}

static DbStatement lock_wait = DB_STATEMENT("SELECT " DEPLOYMENT_COLUMNS " FROM hotswap.deployment"
											" WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",
											UUIDOID, UUIDOID);

static DbStatement lock_skip =
	DB_STATEMENT("SELECT " DEPLOYMENT_COLUMNS " FROM hotswap.deployment"
				 " WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE SKIP LOCKED",
				 UUIDOID, UUIDOID);

static DbStatement exists_query =
	DB_STATEMENT("SELECT 1 FROM hotswap.deployment WHERE tenant_id = $1 AND id = $2", UUIDOID,
				 UUIDOID);

static void
read_heads(Deployment *d)
{
	bool isnull;
	Datum heads = db_datum(0, D_HEADS, &isnull);

	d->heads = isnull ? NIL : db_text_list(heads);
}

void
deployment_refuse_missing(const pg_uuid_t *id)
{
	ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
					errmsg("deployment \"%s\" does not exist", uuid_text(id))));
}

/*
 * Locks a deployment's row and reads it, inside a scope.  With skip_locked it does not wait for
 * somebody who has the row; the dispatcher never does.
 */
DeploymentFound
deployment_lock(Deployment *d, const pg_uuid_t *tenant, const pg_uuid_t *id,
				const AuditActor *actor, bool skip_locked)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(id) };
	Datum hash;
	bool isnull;

	if (db_run(skip_locked ? &lock_skip : &lock_wait, args, NULL) == 0)
	{
		if (skip_locked && db_run(&exists_query, args, NULL) > 0)
			return DEPLOYMENT_LOCKED;
		return DEPLOYMENT_MISSING;
	}
	d->tenant = *tenant;
	d->id = *id;
	d->status = d->loaded_status = d->queued_status =
		machine_parse(&deployment_machine, db_text(0, D_STATUS));
	d->priority = db_int32(0, D_PRIORITY);
	d->release = db_text(0, D_RELEASE);
	d->module = db_text(0, D_MODULE);
	d->version = db_text(0, D_VERSION);
	d->environment = db_text(0, D_ENVIRONMENT);
	d->run_at = db_time(0, D_RUN_AT, TIME_NULL);
	d->start_by = db_time(0, D_START_BY, TIME_NULL);
	d->started_at = db_time(0, D_STARTED_AT, TIME_NULL);
	d->cancel_requested_at = db_time(0, D_CANCEL_REQUESTED_AT, TIME_NULL);
	d->cancel_reason = db_text(0, D_CANCEL_REASON);
	d->sqlstate = db_text(0, D_SQLSTATE);
	d->message = db_text(0, D_MESSAGE);
	hash = db_datum(0, D_AUDIT_HASH, &isnull);
	audit_chain_set(&d->chain, "deployment", tenant, id, db_int32(0, D_AUDIT_SEQ), hash, isnull);
	d->gated = db_bool(0, D_GATED);
	d->requested_by = db_text(0, D_REQUESTED_BY);
	d->login = db_text(0, D_LOGIN);
	d->rollback_sqlstate = db_text(0, D_ROLLBACK_SQLSTATE);
	d->rollback_message = db_text(0, D_ROLLBACK_MESSAGE);
	d->requester = db_oid_or_none(0, D_REQUESTER);
	d->login_role = db_oid_or_none(0, D_LOGIN_ROLE);
	d->nodes = db_datum(0, D_NODES, &d->all_nodes);
	if (!d->all_nodes)
		d->nodes = PointerGetDatum(DatumGetArrayTypePCopy(d->nodes));
	d->allow_revert = db_bool(0, D_ALLOW_REVERT);
	d->only_target = db_bool(0, D_ONLY_TARGET);
	d->reapply = db_bool(0, D_REAPPLY);
	d->kind =
		label_parse(db_text(0, D_KIND), deployment_kind_names, lengthof(deployment_kind_names));
	if (!db_isnull(0, D_ROLLS_BACK))
		d->rolls_back = db_uuid(0, D_ROLLS_BACK);
	d->on_failure = ON_FAILURE_UNSAID;
	if (!db_isnull(0, D_ON_FAILURE))
		d->on_failure = label_parse(db_text(0, D_ON_FAILURE), failure_action_names,
									lengthof(failure_action_names));
	read_heads(d);
	d->requested_at = db_time(0, D_REQUESTED_AT, TIME_NULL);
	d->nodes_behind = db_int32(0, D_NODES_BEHIND);
	d->has_rollout = db_bool(0, D_HAS_ROLLOUT);
	d->tell_waiters = false;
	d->batch = audit_batch(actor);
	return DEPLOYMENT_FOUND;
}

/* Makes a transition in memory; deployment_save() writes it. */
void
deployment_apply(Deployment *d, DeploymentEvent event, const char *reason)
{
	DeploymentStatus before = d->status;
	bool left_behind = event == DEPLOYMENT_SUCCEED && d->nodes_behind > 0;

	d->status = machine_next(&deployment_machine, before, event);
	if (event == DEPLOYMENT_START && d->started_at == TIME_NULL)
		d->started_at = GetCurrentTimestamp();
	if (d->status != DEPLOYMENT_ROLLBACK_FAILED)
		d->rollback_sqlstate = d->rollback_message = NULL;
	if (d->status == DEPLOYMENT_CANCELLED)
		d->message = pstrdup(reason);
	audit_add(d->batch, &d->chain, deployment_machine.events[event],
			  deployment_machine.statuses[before], deployment_machine.statuses[d->status], reason,
			  left_behind ? audit_detail("nodes_behind", psprintf("%d", d->nodes_behind), NULL) :
							NULL);
}

/*
 * Locks a deployment of the caller's tenant; raises P0002.  The caller's rights there have been
 * checked.
 */
void
deployment_lock_existing(Deployment *d, const pg_uuid_t *id, const AuditActor *actor)
{
	pg_uuid_t tenant = tenant_current();

	if (deployment_lock(d, &tenant, id, actor, false) == DEPLOYMENT_MISSING)
		deployment_refuse_missing(id);
}
