/*
 * record.c
 *		Records how a task has ended, as the owner of the extension.
 *
 * Success is recorded in the transaction of the scripts, failure in a new one.  The record locks the
 * deployment's row, and so does cancel(): whoever comes first wins, and the other one sees it.
 */
#include "postgres.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/deployment_save.h"
#include "run/record.h"
#include "utils/builtins.h"

static DbStatement record_success = DB_STATEMENT(
	"UPDATE hotswap.task SET status = 'succeeded', finished_at = $6, sqlstate = NULL, message = NULL,"
	" detail = NULL, hint = NULL, context = NULL, script = NULL, position = NULL"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4 AND attempt = $5"
	" AND status = 'running'",
	UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID, TIMESTAMPTZOID);

static DbStatement record_reverted =
	DB_STATEMENT("UPDATE hotswap.task SET status = 'reverted'"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4"
				 " AND status = 'reverting'",
				 UUIDOID, UUIDOID, INT2OID, INT4OID);

static DbStatement record_node_module = DB_STATEMENT(
	"INSERT INTO hotswap.node_module (tenant_id, node_id, module, deployment_id, version, digest,"
	" swapped_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
	UUIDOID, UUIDOID, TEXTOID, UUIDOID, TEXTOID, BYTEAOID, TIMESTAMPTZOID);

static DbStatement record_failure = DB_STATEMENT(
	"UPDATE hotswap.task SET status = $6::hotswap.task_status, finished_at = $7, due_at = $8,"
	" sqlstate = $9, message = $10, detail = $11, hint = $12, context = $13, script = $14, position = $15"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4 AND attempt = $5"
	" AND status = 'running'",
	UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID);

/* The primary key of the task. */
void
job_args(const Job *job, Datum *args)
{
	args[0] = UUIDPGetDatum(&job->key.tenant);
	args[1] = UUIDPGetDatum(&job->key.deployment);
	args[2] = Int16GetDatum(job->key.stage);
	args[3] = Int32GetDatum(job->key.ordinal);
}

static void
record_swap(const Job *job, TimestampTz now)
{
	bool undo = job->kind == TASK_REVERT;
	const char *version = undo ? job->previous_version : job->version;
	Datum args[7];
	bool nulls[7] = { false };

	args[0] = UUIDPGetDatum(&job->key.tenant);
	args[1] = UUIDPGetDatum(&job->node);
	args[2] = CStringGetTextDatum(job->module);
	args[3] = UUIDPGetDatum(&job->key.deployment);
	args[4] = version ? CStringGetTextDatum(version) : (Datum) 0;
	nulls[4] = version == NULL;
	args[5] = digest_datum(undo ? job->previous_digest : job->digest);
	nulls[5] = undo && version == NULL;
	args[6] = TimestampTzGetDatum(now);
	(void) db_run(&record_node_module, args, nulls);
}

static void
mark_reverted(const Job *job)
{
	Datum args[4];

	job_args(job, args);
	args[3] = Int32GetDatum(job->reverts);
	if (db_run(&record_reverted, args, NULL) != 1)
		elog(ERROR, "the swap to be reverted is not there");
}

static Jsonb *
audit_job(const Job *job)
{
	return audit_detail("kind", task_kind_names[job->kind], "node",
						job->has_node ? uuid_text(&job->node) : NULL, "hook", job->hook, "attempt",
						psprintf("%d", job->attempt), NULL);
}

/*
 * Locks the deployment, whatever the script has made of lock_timeout; raises an error when the result
 * is not wanted any more.
 */
static void
lock_deployment(Job *job, Deployment *d, const AuditActor *actor)
{
	db_limit_lock_wait(hotswap_lock_timeout);
	if (deployment_lock(d, &job->key.tenant, &job->key.deployment, actor, false) !=
			DEPLOYMENT_FOUND ||
		deployment_is_final(d->status))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the deployment has ended meanwhile")));
}

static void
save_event(Job *job, Deployment *d, const char *event, const char *after, const char *reason)
{
	audit_add(d->batch, &d->chain, psprintf("task.%s", event), "running", after, reason,
			  audit_job(job));
	deployment_save(d);
	deployment_due(d, GetCurrentTimestamp());
}

/* In the transaction of the scripts: success, or an error that undoes them. */
void
job_save_success(Job *job)
{
	TimestampTz now = GetCurrentTimestamp();
	Deployment d;
	AuditActor actor;
	DbScope scope;
	Datum args[6];

	audit_worker(&actor);
	db_enter(&scope);
	lock_deployment(job, &d, &actor);
	if (d.status == DEPLOYMENT_RUNNING && d.cancel_requested_at != TIME_NULL)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the deployment was cancelled")));
	job_args(job, args);
	args[4] = Int32GetDatum(job->attempt);
	args[5] = TimestampTzGetDatum(now);
	if (db_run(&record_success, args, NULL) != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the task is not this executor's any more")));
	if (job->kind == TASK_SWAP || job->kind == TASK_REVERT)
		record_swap(job, now);
	if (job->kind == TASK_REVERT)
		mark_reverted(job);
	save_event(job, &d, "succeed",
			   task_machine.statuses[machine_next(&task_machine, TASK_RUNNING, TASK_SUCCEED)],
			   NULL);
	db_leave(&scope);
}

/* What the failure means for the task. */
static TaskEvent
judge(const Job *job, const Deployment *d, const Failure *failure, bool cancelled, TimestampTz *due)
{
	if (d->cancel_requested_at != TIME_NULL && d->status == DEPLOYMENT_RUNNING &&
		(cancelled || failure->sqlerrcode == ERRCODE_QUERY_CANCELED))
		return TASK_CANCEL;
	if (!backoff_is_transient(failure->sqlerrcode) || job->attempt >= hotswap_retry_limit)
		return TASK_FAIL;
	*due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), backoff_retry_delay(job->attempt));
	return TASK_RETRY_LATER;
}

static void
put_text(Datum *args, bool *nulls, int i, const char *value)
{
	args[i] = value ? CStringGetTextDatum(value) : (Datum) 0;
	nulls[i] = value == NULL;
}

/* In a new transaction. */
void
job_save_failure(Job *job, const Failure *failure, bool cancelled)
{
	Deployment d;
	AuditActor actor;
	DbScope scope;
	Datum args[15];
	bool nulls[15] = { false };
	TimestampTz due = TIME_NULL;
	TaskEvent event;
	TaskStatus after;

	audit_worker(&actor);
	db_enter(&scope);
	lock_deployment(job, &d, &actor);
	event = judge(job, &d, failure, cancelled, &due);
	after = machine_next(&task_machine, TASK_RUNNING, event);
	job_args(job, args);
	args[4] = Int32GetDatum(job->attempt);
	put_text(args, nulls, 5, task_machine.statuses[after]);
	args[6] = TimestampTzGetDatum(GetCurrentTimestamp());
	args[7] = TimestampTzGetDatum(due);
	nulls[7] = due == TIME_NULL;
	put_text(args, nulls, 8, unpack_sql_state(failure->sqlerrcode));
	put_text(args, nulls, 9, failure->message);
	put_text(args, nulls, 10, failure->detail);
	put_text(args, nulls, 11, failure->hint);
	put_text(args, nulls, 12, failure->context);
	put_text(args, nulls, 13, job->script);
	args[14] = Int32GetDatum(failure->position);
	nulls[14] = failure->position == 0;
	if (db_run(&record_failure, args, nulls) == 1)
		save_event(job, &d, task_machine.events[event], task_machine.statuses[after],
				   failure->message);
	db_leave(&scope);
}
