/*
 * report.c
 *		An agent says how far it is: extend_task(), report_progress(), complete_task().
 *
 * Each of them needs the token of the task, and a lease that is not over.  An agent whose task is being cancelled is
 * told so, and its lease is not extended any more.
 *
 * Locks: the task's row.  Writes it and, when it is complete, what runs on the node; tells the dispatcher.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/agent_task.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "run/record.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_extend_task);
PG_FUNCTION_INFO_V1(hotswap_report_progress);
PG_FUNCTION_INFO_V1(hotswap_complete_task);

#define MESSAGE_LIMIT 10000 /* characters */

static DbStatement update_progress =
	DB_STATEMENT("UPDATE hotswap.task SET percent = $5, progress = $6"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4",
				 UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID, TEXTOID);

static DbStatement read_status =
	DB_STATEMENT("SELECT status FROM hotswap.task"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4",
				 UUIDOID, UUIDOID, INT2OID, INT4OID);

/* ---- while it runs ---- */

/* (lease_until, cancelled) */
static Datum
lease_row(FunctionCallInfo fcinfo, const AgentTask *task)
{
	Datum values[] = { TimestampTzGetDatum(task->lease_until), BoolGetDatum(task->is_cancelled) };
	bool nulls[] = { false, false };
	TupleDesc row;

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls));
}

/*
 * extend_task(task text, token text) returns (lease_until, cancelled)
 *
 * Out: cancelled: the agent is to stop, and its lease stays as it is.  Errors: 22023; YH002 the token is stale; 42501
 * not the role of the node's agent.  Locks and writes the task.
 */
Datum
hotswap_extend_task(PG_FUNCTION_ARGS)
{
	TaskKey key = agent_task_argument(fcinfo, 0);
	AgentToken token = agent_token_argument(fcinfo, 1);
	DbScope scope;
	AgentTask task;

	db_enter(&scope);
	agent_task_lock(&task, &key, &token, scope.caller);
	agent_task_extend(&task);
	db_leave(&scope);
	return lease_row(fcinfo, &task);
}

/* report_progress(task text, token text, percent integer, message text): the same, and how far it is */
Datum
hotswap_report_progress(PG_FUNCTION_ARGS)
{
	TaskKey key = agent_task_argument(fcinfo, 0);
	AgentToken token = agent_token_argument(fcinfo, 1);
	int32 percent = arg_int32(fcinfo, 2, "percent", 0, 100);
	char *message = arg_text_or_null(fcinfo, 3, "message", MESSAGE_LIMIT);
	DbScope scope;
	AgentTask task;
	DbArgs args;

	db_enter(&scope);
	agent_task_lock(&task, &key, &token, scope.caller);
	agent_task_extend(&task);
	args = db_args(&update_progress);
	db_arg_uuid(&args, &key.tenant);
	db_arg_uuid(&args, &key.deployment);
	db_arg_int16(&args, key.stage);
	db_arg_int32(&args, key.ordinal);
	db_arg_int32(&args, percent);
	db_arg_text(&args, message);
	(void) db_run_args(&args);
	db_leave(&scope);
	return lease_row(fcinfo, &task);
}

/* ---- its end ---- */

/* Why the agent has not done what it was to do, or NULL. */
static char *
find_failure(const AgentTask *task, bool success, char *message, const AgentReport *report)
{
	if (!success)
		return message ? message : pstrdup("the agent has failed");
	if (task->has_digest && !report->is_installed)
		return pstrdup("the agent has not said which artifact it has installed");
	if (report->is_installed && !task->has_digest)
		return psprintf(
			"the agent has installed an artifact where none was to be: its SHA-256 is %s",
			digest_hex(report->digest));
	if (task->has_digest && memcmp(report->digest, task->digest, DIGEST_LENGTH) != 0)
		return psprintf("the agent has installed another artifact: its SHA-256 is %s, not %s",
						digest_hex(report->digest), digest_hex(task->digest));
	return NULL;
}

static void
read_report(FunctionCallInfo fcinfo, AgentReport *report)
{
	memset(report, 0, sizeof(AgentReport));
	report->is_installed = arg_digest(fcinfo, 3, "digest", report->digest);
	report->details = PG_ARGISNULL(5) ? NULL : arg_object(fcinfo, 5, "details");
}

static char *
status_of(const TaskKey *key)
{
	Datum args[] = { UUIDPGetDatum(&key->tenant), UUIDPGetDatum(&key->deployment),
					 Int16GetDatum(key->stage), Int32GetDatum(key->ordinal) };
	DbScope scope;
	char *status;

	db_enter(&scope);
	(void) db_run(&read_status, args, NULL);
	MemoryContextSwitchTo(scope.context);
	status = db_text(0, 1);
	db_leave(&scope);
	return status;
}

/*
 * complete_task(task text, token text, success boolean, digest text, message text, details jsonb) returns text
 *
 * In: digest: the SHA-256 in hex of the artifact that the node runs now; success without it, or with another one than
 * was to be installed, is a failure.  Out: the status of the task.  Errors: 22023; YH002 the token is stale; 42501 not
 * the role of the node's agent.  Locks and writes the task, writes node_module; wakes the dispatcher.
 */
Datum
hotswap_complete_task(PG_FUNCTION_ARGS)
{
	TaskRun *run = palloc0(sizeof(TaskRun));
	AgentToken token = agent_token_argument(fcinfo, 1);
	bool success = arg_bool(fcinfo, 2, "success");
	char *message = arg_text_or_null(fcinfo, 4, "message", MESSAGE_LIMIT);
	AgentReport report;
	AgentTask task;
	DbScope scope;
	char *failure;

	run->key = agent_task_argument(fcinfo, 0);
	read_report(fcinfo, &report);
	db_enter(&scope);
	agent_task_lock(&task, &run->key, &token, scope.caller);
	db_leave(&scope);
	if (!record_load(run))
		elog(ERROR, "the task has disappeared");
	failure = find_failure(&task, success, message, &report);
	if (failure)
		record_agent_failure(run, failure, &report);
	else
		record_agent_success(run, &report);
	wake_deployment(&run->key.tenant, &run->key.deployment, false);
	PG_RETURN_TEXT_P(cstring_to_text(failure ? status_of(&run->key) : "succeeded"));
}
