/*
 * deployment_save.c
 *		Writes what has become of a deployment: its row with its audit events, and its work item.
 *
 * At commit the dispatcher and the waiters are told.  The caller holds the lock on the deployment's
 * row.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/deployment_save.h"
#include "core/failed_rollback.h"
#include "core/machine.h"
#include "core/notification.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"

static DbStatement update_deployment = DB_STATEMENT(
	"UPDATE hotswap.deployment SET status = $3::hotswap.deployment_status, started_at = $4,"
	" finished_at = $5, cancel_requested_at = $6, cancel_reason = $7, sqlstate = $8, message = $9,"
	" audit_seq = $10, audit_hash = $11, gated = $12, rollback_sqlstate = $13, rollback_message = $14,"
	" nodes_behind = $15, has_rollout = $16"
	" WHERE tenant_id = $1 AND id = $2",
	UUIDOID, UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID,
	TEXTOID, INT4OID, BYTEAOID, BOOLOID, TEXTOID, TEXTOID, INT4OID, BOOLOID);

static DbStatement failed_tasks = DB_STATEMENT(
	"SELECT t.kind, coalesce(n.name, t.hook), t.sqlstate, t.message, t.script, t.line"
	" FROM hotswap.task t LEFT JOIN hotswap.node n ON n.tenant_id = t.tenant_id AND n.id = t.node_id"
	" WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.status = 'failed'"
	" ORDER BY t.finished_at DESC, t.ordinal DESC LIMIT 5",
	UUIDOID, UUIDOID);

static DbStatement delete_work =
	DB_STATEMENT("DELETE FROM hotswap.work_item WHERE tenant_id = $1 AND deployment_id = $2",
				 UUIDOID, UUIDOID);

static DbStatement update_work =
	DB_STATEMENT("UPDATE hotswap.work_item SET due_at = coalesce($3, due_at),"
				 " status = $4::hotswap.deployment_status"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND (due_at <> $3"
				 " OR status IS DISTINCT FROM $4::hotswap.deployment_status)",
				 UUIDOID, UUIDOID, TIMESTAMPTZOID, TEXTOID);

static DbStatement insert_work = DB_STATEMENT(
	"INSERT INTO hotswap.work_item (tenant_id, deployment_id, due_at, priority, status, module,"
	" requested_at) VALUES ($1, $2, $3, $4, $5::hotswap.deployment_status, $6, $7)",
	UUIDOID, UUIDOID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID, TIMESTAMPTZOID);

/* Which tasks failed last, where and why; NULL: none did. */
static char *
describe_failures(const Deployment *d)
{
	Datum key[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };
	uint64 n = db_run(&failed_tasks, key, NULL);
	StringInfoData words;

	initStringInfo(&words);
	for (uint64 i = 0; i < n; i++)
	{
		appendStringInfo(&words, "%sThe %s on %s failed: %s: %s", i > 0 ? "\n" : "", db_text(i, 1),
						 db_text(i, 2), db_text(i, 3), db_text(i, 4));
		if (!db_isnull(i, 6))
			appendStringInfo(&words, " (%s script, line %d)", db_text(i, 5), db_int32(i, 6));
	}
	return n > 0 ? words.data : NULL;
}

/* What the server log has of the end of a deployment: whoever watches nothing else shall see a failure. */
static void
log_end(const Deployment *d)
{
	bool failed = d->status == DEPLOYMENT_FAILED || d->status == DEPLOYMENT_ROLLED_BACK ||
				  d->status == DEPLOYMENT_ROLLBACK_FAILED ||
				  (d->status == DEPLOYMENT_SUCCEEDED && d->nodes_behind > 0);
	char *failures = failed ? describe_failures(d) : NULL;

	if (failed && failures == NULL && d->message)
		failures = psprintf("%s: %s", d->sqlstate ? d->sqlstate : "XX000", d->message);
	ereport(
		failed ? WARNING : hotswap_log_level,
		(d->release ?
			 errmsg("deployment \"%s\" of release \"%s\" to environment \"%s\": %s",
					uuid_text(&d->id), d->release, d->environment,
					deployment_machine.statuses[d->status]) :
			 errmsg(
				 "deployment \"%s\" of version \"%s\" of module \"%s\" to environment \"%s\": %s",
				 uuid_text(&d->id), d->version, d->module, d->environment,
				 deployment_machine.statuses[d->status]),
		 failures ? errdetail_internal("%s", failures) : 0,
		 d->status == DEPLOYMENT_ROLLBACK_FAILED ?
			 errhint("Nodes may run different versions now. Use hotswap.retry(), deploy another "
					 "version, or hotswap.acknowledge().") :
			 0,
		 errhidestmt(true)));
}

/* Who requested it is told how it has ended. */
static void
tell_end(const Deployment *d)
{
	const char *status = deployment_machine.statuses[d->status];
	const char *why = d->rollback_message ? d->rollback_message : d->message;

	notification_add(d, d->environment, "ended", list_make1(d->requested_by),
					 why ? psprintf("%s: %s", status, why) : pstrdup(status));
}

/*
 * Sets when the dispatcher has to look at the deployment, whatever happens or does not happen (TIME_NULL: as
 * before), and says its status there.
 */
void
deployment_due(Deployment *d, TimestampTz due)
{
	DbArgs args = db_args(&update_work);

	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_time(&args, due);
	db_arg_text(&args, deployment_machine.statuses[d->status]);
	(void) db_run_args(&args);
	d->queued_status = d->status;
}

static void
update_row(const Deployment *d)
{
	DbArgs args = db_args(&update_deployment);

	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_text(&args, deployment_machine.statuses[d->status]);
	db_arg_time(&args, d->started_at);
	db_arg_time(&args, deployment_is_final(d->status) ? GetCurrentTimestamp() : TIME_NULL);
	db_arg_time(&args, d->cancel_requested_at);
	db_arg_text(&args, d->cancel_reason);
	db_arg_text(&args, d->sqlstate);
	db_arg_text(&args, d->message);
	db_arg_int32(&args, d->chain.seq);
	db_arg_digest(&args, d->chain.hash);
	db_arg_bool(&args, d->gated);
	db_arg_text(&args, d->rollback_sqlstate);
	db_arg_text(&args, d->rollback_message);
	db_arg_int32(&args, d->nodes_behind);
	db_arg_bool(&args, d->has_rollout);
	if (db_run_args(&args) != 1)
		elog(ERROR, "deployment was not updated");
}

/*
 * Writes the row, the audit events and the work item: its end, if the deployment has ended, else when it is due.
 * TIME_NULL: as before.
 */
void
deployment_save_due(Deployment *d, TimestampTz due)
{
	bool ended = deployment_is_final(d->status);
	Datum key[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };

	if (ended && d->gated)
		approval_close(d);
	audit_flush(d->batch);
	update_row(d);
	if (ended)
		(void) db_run(&delete_work, key, NULL);
	else if (due != TIME_NULL || d->status != d->queued_status)
		deployment_due(d, due);
	wake_deployment(&d->tenant, &d->id, ended || d->tell_waiters);
	if (ended && d->loaded_status != d->status)
	{
		if (d->started_at != TIME_NULL && d->all_nodes && d->kind != KIND_REHEARSAL)
			failed_rollback_put_right(d);
		log_end(d);
		tell_end(d);
	}
}

void
deployment_save(Deployment *d)
{
	deployment_save_due(d, TIME_NULL);
}

/* Puts the deployment in the queue. */
void
deployment_enqueue(const Deployment *d, TimestampTz due)
{
	DbArgs args = db_args(&insert_work);

	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_time(&args, due);
	db_arg_int32(&args, d->priority);
	db_arg_text(&args, deployment_machine.statuses[d->status]);
	db_arg_text(&args, d->release ? NULL : d->module);
	db_arg_time(&args, d->requested_at);
	(void) db_run_args(&args);
}
