/*
 * record.c
 *		Reads a task and records how it has ended, as the owner of the extension.
 *
 * Success is recorded in the transaction of the scripts, failure in a new one.  The record locks
 * the deployment's row, and so does cancel(): whoever comes first wins, and the other one sees it.
 */
#include "postgres.h"

#include "base/backoff.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/deployment_save.h"
#include "run/record.h"
#include "utils/builtins.h"

/*
 * Each row by its whole key, and every part of the key a parameter: a join on tenant_id could be
 * planned as a walk through all versions of the tenant.
 */
static DbStatement load_task = DB_STATEMENT(
	"SELECT t.kind, t.attempt, t.reverts, t.node_id, t.hook, t.previous_version, d.module, d.version"
	" FROM hotswap.task t, hotswap.deployment d"
	" WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.stage = $3 AND t.ordinal = $4"
	" AND t.status = 'running' AND d.tenant_id = $1 AND d.id = $2",
	UUIDOID, UUIDOID, INT2OID, INT4OID);

enum
{
	LOADED_KIND = 1,
	LOADED_ATTEMPT,
	LOADED_REVERTS,
	LOADED_NODE,
	LOADED_HOOK,
	LOADED_PREVIOUS_VERSION,
	LOADED_MODULE,
	LOADED_VERSION
};

static DbStatement load_node =
	DB_STATEMENT("SELECT name, schema FROM hotswap.node WHERE tenant_id = $1 AND id = $2", UUIDOID,
				 UUIDOID);

static DbStatement update_succeeded = DB_STATEMENT(
	"UPDATE hotswap.task SET status = 'succeeded', finished_at = $6, sqlstate = NULL, message = NULL,"
	" detail = NULL, hint = NULL, context = NULL, script = NULL, position = NULL"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4 AND attempt = $5"
	" AND status = 'running'",
	UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID, TIMESTAMPTZOID);

static DbStatement update_reverted =
	DB_STATEMENT("UPDATE hotswap.task SET status = 'reverted'"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4"
				 " AND status = 'reverting'",
				 UUIDOID, UUIDOID, INT2OID, INT4OID);

static DbStatement insert_node_module = DB_STATEMENT(
	"INSERT INTO hotswap.node_module (tenant_id, node_id, module, deployment_id, version, digest,"
	" swapped_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
	UUIDOID, UUIDOID, TEXTOID, UUIDOID, TEXTOID, BYTEAOID, TIMESTAMPTZOID);

static DbStatement update_failed = DB_STATEMENT(
	"UPDATE hotswap.task SET status = $6::hotswap.task_status, finished_at = $7, due_at = $8,"
	" sqlstate = $9, message = $10, detail = $11, hint = $12, context = $13, script = $14, position = $15"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4 AND attempt = $5"
	" AND status = 'running'",
	UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID);

static void
arg_task(DbArgs *args, const TaskKey *key)
{
	db_arg_uuid(args, &key->tenant);
	db_arg_uuid(args, &key->deployment);
	db_arg_int16(args, key->stage);
	db_arg_int32(args, key->ordinal);
}

/* ---- loading ---- */

static void
read_node(TaskRun *run)
{
	DbArgs args = db_args(&load_node);

	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->node);
	if (db_run_args(&args) != 1)
		elog(ERROR, "the node has disappeared");
}

/*
 * Inside a scope: reads the task, its version and its node into a context; false if it is not to be
 * run.
 */
static bool
read_task(TaskRun *run, MemoryContext context)
{
	DbArgs args = db_args(&load_task);
	char *version;
	char *previous;

	arg_task(&args, &run->key);
	if (db_run_args(&args) == 0)
		return false;
	MemoryContextSwitchTo(context);
	run->kind = label_parse(db_text(0, LOADED_KIND), task_kind_names, TASK_KIND_COUNT);
	run->attempt = db_int32(0, LOADED_ATTEMPT);
	run->reverts = db_isnull(0, LOADED_REVERTS) ? -1 : db_int32(0, LOADED_REVERTS);
	run->has_node = !db_isnull(0, LOADED_NODE);
	if (run->has_node)
		run->node = db_uuid(0, LOADED_NODE);
	run->hook = db_text(0, LOADED_HOOK);
	run->module = db_text(0, LOADED_MODULE);
	version = db_text(0, LOADED_VERSION);
	previous = db_text(0, LOADED_PREVIOUS_VERSION);
	if (run->has_node)
	{
		read_node(run);
		MemoryContextSwitchTo(context);
		run->node_name = db_text(0, 1);
		run->schema = db_text(0, 2);
	}
	run->version = version_read_existing(&run->key.tenant, run->module, version, VERSION_WHOLE);
	if (run->kind == TASK_REVERT && previous)
		run->previous =
			version_read_existing(&run->key.tenant, run->module, previous, VERSION_WHOLE);
	return true;
}

/* Reads the task into the current context and checks its scripts; false if it is not to be run. */
bool
record_load(TaskRun *run)
{
	DbScope scope;
	bool found;

	db_enter(&scope);
	found = read_task(run, scope.context);
	db_leave(&scope);
	if (!found)
		return false;
	version_require_intact(run->version);
	if (run->previous && run->version->scripts[SCRIPT_REVERT] == NULL)
		version_require_intact(run->previous);
	return true;
}

/* ---- recording ---- */

static void
record_swap(const TaskRun *run, TimestampTz now)
{
	const Version *version = run->kind == TASK_REVERT ? run->previous : run->version;
	DbArgs args = db_args(&insert_node_module);

	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->node);
	db_arg_text(&args, run->module);
	db_arg_uuid(&args, &run->key.deployment);
	db_arg_text(&args, version ? version->name : NULL);
	db_arg_digest(&args, version ? version->digest : NULL);
	db_arg_time(&args, now);
	(void) db_run_args(&args);
}

static void
mark_reverted(const TaskRun *run)
{
	DbArgs args = db_args(&update_reverted);
	TaskKey swap = run->key;

	swap.ordinal = run->reverts;
	arg_task(&args, &swap);
	if (db_run_args(&args) != 1)
		elog(ERROR, "the swap to be reverted is not there");
}

static Jsonb *
audit_run(const TaskRun *run)
{
	return audit_detail("kind", task_kind_names[run->kind], "node",
						run->has_node ? uuid_text(&run->node) : NULL, "hook", run->hook, "attempt",
						psprintf("%d", run->attempt), NULL);
}

/*
 * Locks the deployment, whatever the script has made of lock_timeout; raises an error when the
 * result is not wanted any more.
 */
static void
lock_deployment(TaskRun *run, Deployment *d, const AuditActor *actor)
{
	db_limit_lock_wait(hotswap_lock_timeout);
	if (deployment_lock(d, &run->key.tenant, &run->key.deployment, actor, false) !=
			DEPLOYMENT_FOUND ||
		deployment_is_final(d->status))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("deployment has ended in the meantime")));
}

static void
save_event(TaskRun *run, Deployment *d, const char *event, const char *after, const char *reason)
{
	audit_add(d->batch, &d->chain, psprintf("task.%s", event), "running", after, reason,
			  audit_run(run));
	deployment_save(d);
	deployment_due(d, GetCurrentTimestamp());
}

/* In the transaction of the scripts: success, or an error that undoes them. */
void
record_success(TaskRun *run)
{
	TimestampTz now = GetCurrentTimestamp();
	Deployment d;
	AuditActor actor;
	DbScope scope;
	DbArgs args = db_args(&update_succeeded);

	audit_worker(&actor);
	db_enter(&scope);
	lock_deployment(run, &d, &actor);
	if (d.status == DEPLOYMENT_RUNNING && d.cancel_requested_at != TIME_NULL)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("deployment was cancelled")));
	arg_task(&args, &run->key);
	db_arg_int32(&args, run->attempt);
	db_arg_time(&args, now);
	if (db_run_args(&args) != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("task no longer belongs to this executor")));
	if (run->kind == TASK_SWAP || run->kind == TASK_REVERT)
		record_swap(run, now);
	if (run->kind == TASK_REVERT)
		mark_reverted(run);
	save_event(run, &d, "succeed",
			   task_machine.statuses[machine_next(&task_machine, TASK_RUNNING, TASK_SUCCEED)],
			   NULL);
	db_leave(&scope);
}

/*
 * May the next attempt succeed?  A revert is waited for longer: where it is given up, the node is left
 * with what should not be there.
 */
static bool
worth_another(const TaskRun *run, const Failure *failure)
{
	int code = failure->sqlerrcode;

	if (run->attempt >= hotswap_retry_limit)
		return false;
	return failure->collided || backoff_is_transient(code) || backoff_is_listed(code) ||
		   (run->kind == TASK_REVERT && backoff_is_shortage(code));
}

/* What the failure means for the task. */
static TaskEvent
judge(const TaskRun *run, const Deployment *d, const Failure *failure, bool cancelled,
	  TimestampTz *due)
{
	if (d->cancel_requested_at != TIME_NULL && d->status == DEPLOYMENT_RUNNING &&
		(cancelled || failure->sqlerrcode == ERRCODE_QUERY_CANCELED))
		return TASK_CANCEL;
	if (!worth_another(run, failure))
		return TASK_FAIL;
	*due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), backoff_retry_delay(run->attempt));
	return TASK_RETRY_LATER;
}

/* In a new transaction. */
void
record_failure(TaskRun *run, const Failure *failure, bool cancelled)
{
	Deployment d;
	AuditActor actor;
	DbScope scope;
	DbArgs args = db_args(&update_failed);
	TimestampTz due = TIME_NULL;
	TaskEvent event;
	TaskStatus after;

	audit_worker(&actor);
	db_enter(&scope);
	lock_deployment(run, &d, &actor);
	event = judge(run, &d, failure, cancelled, &due);
	after = machine_next(&task_machine, TASK_RUNNING, event);
	arg_task(&args, &run->key);
	db_arg_int32(&args, run->attempt);
	db_arg_text(&args, task_machine.statuses[after]);
	db_arg_time(&args, GetCurrentTimestamp());
	db_arg_time(&args, due);
	db_arg_text(&args, unpack_sql_state(failure->sqlerrcode));
	db_arg_text(&args, failure->message);
	db_arg_text(&args, failure->detail);
	db_arg_text(&args, failure->hint);
	db_arg_text(&args, failure->context);
	db_arg_text(&args, run->script);
	db_arg_datum(&args, INT4OID, Int32GetDatum(failure->position), failure->position == 0);
	if (db_run_args(&args) == 1)
		save_event(run, &d, task_machine.events[event], task_machine.statuses[after],
				   failure->message);
	db_leave(&scope);
}
