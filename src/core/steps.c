/*
 * steps.c
 *		Reads and writes the stages and tasks of a deployment.
 *
 * The caller holds the lock on the deployment's row.  What changed is written by one statement for
 * the stages and one for the tasks, with an audit event for each change of status, whose before and
 * after are the status in the table before and after this transaction.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/columns.h"
#include "core/notification.h"
#include "core/steps.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

const char *const stage_kind_names[] = { "build", "scan", "test", "deploy", "validate" };
const char *const task_kind_names[TASK_KIND_COUNT] = { "swap",   "verify",  "hook",
													   "revert", "prepare", "gate" };
const char *const agent_action_names[] = { "",       "activate", "verify",   "revert",
										   "remove", "install",  "uninstall" };

static DbStatement load_stages = DB_STATEMENT(
	"SELECT ordinal::integer, kind, status, environment, started_at, finished_at, message, counts,"
	" open_tasks, next_task FROM hotswap.stage WHERE tenant_id = $1 AND deployment_id = $2 ORDER BY ordinal",
	UUIDOID, UUIDOID);

enum
{
	STAGE_COLUMN_ORDINAL = 1,
	STAGE_COLUMN_KIND,
	STAGE_COLUMN_STATUS,
	STAGE_COLUMN_ENVIRONMENT,
	STAGE_COLUMN_STARTED_AT,
	STAGE_COLUMN_FINISHED_AT,
	STAGE_COLUMN_MESSAGE,
	STAGE_COLUMN_COUNTS,
	STAGE_COLUMN_OPEN,
	STAGE_COLUMN_NEXT
};

static DbStatement gate_query =
	DB_STATEMENT("SELECT environment FROM hotswap.stage WHERE tenant_id = $1 AND deployment_id = $2"
				 " AND status = 'waiting_approval'",
				 UUIDOID, UUIDOID);

#define TASK_COLUMNS                                                                                  \
	"ordinal, kind, status, wave, attempt, reverts, node_id, hook, due_at, started_at,"               \
	" finished_at, previous_version, sqlstate, message, plan_digest, steps, swap_from,"               \
	" audited_status, action, version_after, lease_until, token IS NOT NULL, claimed_at IS NOT NULL," \
	" installed_digest IS NOT NULL, claimed_by, verdict"
#define OF_STAGE " FROM hotswap.task WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3"

static DbStatement load_tasks =
	DB_STATEMENT("SELECT " TASK_COLUMNS OF_STAGE " ORDER BY ordinal", UUIDOID, UUIDOID, INT2OID);

/* One look into the index for each: it may not be planned as a walk through the stage. */
static DbStatement load_some =
	DB_STATEMENT("SELECT t.* FROM unnest($4) o (wanted) CROSS JOIN LATERAL"
				 " (SELECT " TASK_COLUMNS OF_STAGE " AND ordinal = o.wanted OFFSET 0) t",
				 UUIDOID, UUIDOID, INT2OID, INT4ARRAYOID);

static DbStatement load_ready =
	DB_STATEMENT("SELECT " TASK_COLUMNS OF_STAGE
				 " AND ordinal >= $4 AND status = 'ready' ORDER BY ordinal LIMIT $5",
				 UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID);

/* The tasks stand in the order of their waves, so that the next wave ends where another one begins. */
static DbStatement load_wave =
	DB_STATEMENT("SELECT " TASK_COLUMNS OF_STAGE
				 " AND ordinal >= $4 AND status = 'pending' AND ordinal < coalesce("
				 "(SELECT ordinal" OF_STAGE " AND ordinal >= $4 AND wave > (SELECT wave" OF_STAGE
				 " AND ordinal >= $4 AND status = 'pending' ORDER BY ordinal LIMIT 1)"
				 " ORDER BY ordinal LIMIT 1), 2147483647) ORDER BY ordinal LIMIT $5",
				 UUIDOID, UUIDOID, INT2OID, INT4OID, INT4OID);

static DbStatement reported_query =
	DB_STATEMENT("SELECT ordinal" OF_STAGE " AND reported", UUIDOID, UUIDOID, INT2OID);

/* There are few in all, by their index. */
static DbStatement overdue_query = DB_STATEMENT(
	"WITH overdue AS MATERIALIZED (SELECT tenant_id, deployment_id, stage, ordinal FROM hotswap.task"
	" WHERE lease_until <= $4) SELECT ordinal FROM overdue"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3",
	UUIDOID, UUIDOID, INT2OID, TIMESTAMPTZOID);

static DbStatement unclaimed_query =
	DB_STATEMENT("SELECT ordinal" OF_STAGE
				 " AND lease_until IS NOT NULL AND token IS NULL AND status = 'running'",
				 UUIDOID, UUIDOID, INT2OID);

static DbStatement save_counts =
	DB_STATEMENT("UPDATE hotswap.stage SET counts = $4, open_tasks = $5, next_task = $6"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND ordinal = $3",
				 UUIDOID, UUIDOID, INT2OID, INT4ARRAYOID, INT4ARRAYOID, INT4OID);

static DbStatement forget_counts = DB_STATEMENT(
	"UPDATE hotswap.stage SET counts = NULL, open_tasks = NULL, next_task = NULL"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND ordinal >= $3 AND counts IS NOT NULL",
	UUIDOID, UUIDOID, INT2OID);

enum
{
	TASK_COLUMN_ORDINAL = 1,
	TASK_COLUMN_KIND,
	TASK_COLUMN_STATUS,
	TASK_COLUMN_WAVE,
	TASK_COLUMN_ATTEMPT,
	TASK_COLUMN_REVERTS,
	TASK_COLUMN_NODE,
	TASK_COLUMN_HOOK,
	TASK_COLUMN_DUE_AT,
	TASK_COLUMN_STARTED_AT,
	TASK_COLUMN_FINISHED_AT,
	TASK_COLUMN_PREVIOUS_VERSION,
	TASK_COLUMN_SQLSTATE,
	TASK_COLUMN_MESSAGE,
	TASK_COLUMN_PLAN_DIGEST,
	TASK_COLUMN_STEPS,
	TASK_COLUMN_SWAP_FROM,
	TASK_COLUMN_AUDITED_STATUS,
	TASK_COLUMN_ACTION,
	TASK_COLUMN_VERSION_AFTER,
	TASK_COLUMN_LEASE_UNTIL,
	TASK_COLUMN_IS_CLAIMED,
	TASK_COLUMN_WAS_CLAIMED,
	TASK_COLUMN_IS_INSTALLED,
	TASK_COLUMN_CLAIMED_BY,
	TASK_COLUMN_VERDICT
};

static DbStatement save_stages = DB_STATEMENT(
	"INSERT INTO hotswap.stage AS s (tenant_id, deployment_id, ordinal, kind, status, environment,"
	" started_at, finished_at, message)"
	" SELECT $1, $2, e.ordinal, e.kind::hotswap.stage_kind, e.status::hotswap.stage_status,"
	" e.environment, e.started_at, e.finished_at, e.message"
	" FROM unnest($3, $4, $5, $6, $7, $8, $9)"
	" e (ordinal, kind, status, environment, started_at, finished_at, message)"
	" ON CONFLICT (tenant_id, deployment_id, ordinal) DO UPDATE SET status = excluded.status,"
	" started_at = excluded.started_at, finished_at = excluded.finished_at, message = excluded.message",
	UUIDOID, UUIDOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID,
	TIMESTAMPTZARRAYOID, TEXTARRAYOID);

/* Columns of save_tasks that are others of load_tasks. */
enum
{
	SAVED_ACTION = TASK_COLUMN_SWAP_FROM + 1,
	SAVED_VERSION_AFTER,
	SAVED_LEASE_UNTIL
};

/* Who is given a task that is given out again has claimed nothing yet. */
static DbStatement save_tasks = DB_STATEMENT(
	"INSERT INTO hotswap.task AS t (tenant_id, deployment_id, stage, ordinal, kind, status, wave,"
	" attempt, reverts, node_id, hook, due_at, started_at, finished_at, previous_version, sqlstate,"
	" message, plan_digest, steps, swap_from, action, version_after, lease_until)"
	" SELECT $1, $2, e.stage, e.ordinal, e.kind::hotswap.task_kind, e.status::hotswap.task_status,"
	" e.wave, e.attempt, e.reverts, e.node_id, e.hook, e.due_at, e.started_at, e.finished_at,"
	" e.previous_version, e.sqlstate, e.message, e.plan_digest, e.steps, e.swap_from,"
	" e.action::hotswap.agent_action, e.version_after, e.lease_until"
	" FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,"
	" $21, $22, $23)"
	" e (stage, ordinal, kind, status, wave, attempt, reverts, node_id, hook, due_at, started_at,"
	" finished_at, previous_version, sqlstate, message, plan_digest, steps, swap_from, action,"
	" version_after, lease_until)"
	" ON CONFLICT (tenant_id, deployment_id, stage, ordinal) DO UPDATE SET status = excluded.status,"
	" attempt = excluded.attempt, due_at = excluded.due_at, started_at = excluded.started_at,"
	" finished_at = excluded.finished_at, sqlstate = excluded.sqlstate, message = excluded.message,"
	" audited_status = NULL, reported = NULL, lease_until = excluded.lease_until,"
	" token = CASE WHEN excluded.lease_until IS NULL THEN t.token END,"
	" percent = CASE WHEN excluded.lease_until IS NULL THEN t.percent END,"
	" progress = CASE WHEN excluded.lease_until IS NULL THEN t.progress END",
	UUIDOID, UUIDOID, INT4ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
	INT4ARRAYOID, INT4ARRAYOID, UUIDARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID,
	TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	BYTEAARRAYOID, INT4ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID);

static DbStatement forget_tasks = DB_STATEMENT(
	"DELETE FROM hotswap.task WHERE tenant_id = $1 AND deployment_id = $2 AND stage >= $3", UUIDOID,
	UUIDOID, INT2OID);

static DbStatement find_node =
	DB_STATEMENT("SELECT environment, name FROM hotswap.node WHERE tenant_id = $1 AND id = $2",
				 UUIDOID, UUIDOID);

/* What a stage remembers of its tasks: a number for each kind and status, and the last one. */
static void
load_counts(uint64 row, Stage *stage)
{
	int32 *count = (int32 *) &stage->counts;
	bool isnull;
	Datum counts = db_datum(row, STAGE_COLUMN_COUNTS, &isnull);
	ListCell *cell;

	if (isnull)
		return;
	foreach (cell, db_int_list(counts))
		*count++ = lfirst_int(cell);
	stage->is_counted = true;
	stage->open = db_int_list(db_datum(row, STAGE_COLUMN_OPEN, &isnull));
	stage->next_task = db_int32(row, STAGE_COLUMN_NEXT);
}

/* Writes it. */
void
steps_save_counts(const Deployment *d, const Stage *stage)
{
	const int32 *count = (const int32 *) &stage->counts;
	List *counts = NIL;
	DbArgs args = db_args(&save_counts);

	for (size_t i = 0; i < sizeof(TaskCounts) / sizeof(int32); i++)
		counts = lappend_int(counts, count[i]);
	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_int16(&args, stage->ordinal);
	db_arg_datum(&args, INT4ARRAYOID, db_int_array(counts), false);
	db_arg_datum(&args, INT4ARRAYOID, db_int_array(stage->open), false);
	db_arg_int32(&args, stage->next_task);
	(void) db_run_args(&args);
}

/* For whoever else changes tasks: the next visit reads them all, and counts anew. */
void
steps_forget_counts(const Deployment *d, int from_stage)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(from_stage) };

	(void) db_run(&forget_counts, args, NULL);
}

List *
steps_load_stages(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };
	uint64 n = db_run(&load_stages, args, NULL);
	List *stages = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		Stage *stage = palloc0(sizeof(Stage));

		stage->ordinal = db_int32(i, STAGE_COLUMN_ORDINAL);
		stage->kind = label_parse(db_text(i, STAGE_COLUMN_KIND), stage_kind_names,
								  lengthof(stage_kind_names));
		stage->status = stage->saved_status =
			machine_parse(&stage_machine, db_text(i, STAGE_COLUMN_STATUS));
		stage->environment = db_text(i, STAGE_COLUMN_ENVIRONMENT);
		stage->started_at = db_time(i, STAGE_COLUMN_STARTED_AT, TIME_NULL);
		stage->finished_at = db_time(i, STAGE_COLUMN_FINISHED_AT, TIME_NULL);
		stage->message = db_text(i, STAGE_COLUMN_MESSAGE);
		load_counts(i, stage);
		stages = lappend(stages, stage);
	}
	return stages;
}

/* What there is of a task of an agent besides. */
static void
load_agent_part(uint64 row, Task *task)
{
	char *action = db_text(row, TASK_COLUMN_ACTION);

	task->lease_until = TIME_NULL;
	if (action == NULL)
		return;
	task->action = label_parse(action, agent_action_names, lengthof(agent_action_names));
	task->version_after = db_text(row, TASK_COLUMN_VERSION_AFTER);
	task->lease_until = db_time(row, TASK_COLUMN_LEASE_UNTIL, TIME_NULL);
	task->is_claimed = db_bool(row, TASK_COLUMN_IS_CLAIMED);
	task->was_claimed = db_bool(row, TASK_COLUMN_WAS_CLAIMED);
	task->is_installed = db_bool(row, TASK_COLUMN_IS_INSTALLED);
	task->claimed_by = db_text(row, TASK_COLUMN_CLAIMED_BY);
}

/* So many rows of tasks of a stage. */
static List *
read_tasks(int stage, uint64 n)
{
	List *tasks = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		Task *task = palloc0(sizeof(Task));

		task->stage = stage;
		task->ordinal = db_int32(i, TASK_COLUMN_ORDINAL);
		task->kind = label_parse(db_text(i, TASK_COLUMN_KIND), task_kind_names, TASK_KIND_COUNT);
		task->status = task->saved_status =
			machine_parse(&task_machine, db_text(i, TASK_COLUMN_STATUS));
		task->wave = db_int32(i, TASK_COLUMN_WAVE);
		task->attempt = db_int32(i, TASK_COLUMN_ATTEMPT);
		task->reverts = db_isnull(i, TASK_COLUMN_REVERTS) ? -1 : db_int32(i, TASK_COLUMN_REVERTS);
		task->has_node = !db_isnull(i, TASK_COLUMN_NODE);
		if (task->has_node)
			task->node = db_uuid(i, TASK_COLUMN_NODE);
		task->hook = db_text(i, TASK_COLUMN_HOOK);
		task->due_at = db_time(i, TASK_COLUMN_DUE_AT, TIME_NULL);
		task->started_at = db_time(i, TASK_COLUMN_STARTED_AT, TIME_NULL);
		task->finished_at = db_time(i, TASK_COLUMN_FINISHED_AT, TIME_NULL);
		task->previous_version = db_text(i, TASK_COLUMN_PREVIOUS_VERSION);
		task->sqlstate = db_text(i, TASK_COLUMN_SQLSTATE);
		task->message = db_text(i, TASK_COLUMN_MESSAGE);
		task->verdict = db_text(i, TASK_COLUMN_VERDICT);
		task->is_recorded = !db_isnull(i, TASK_COLUMN_AUDITED_STATUS);
		if (task->is_recorded)
			task->saved_status =
				machine_parse(&task_machine, db_text(i, TASK_COLUMN_AUDITED_STATUS));
		if (db_digest(i, TASK_COLUMN_PLAN_DIGEST, task->plan_digest))
		{
			task->steps = db_int32(i, TASK_COLUMN_STEPS);
			task->swap_from = db_int64(i, TASK_COLUMN_SWAP_FROM);
		}
		load_agent_part(i, task);
		tasks = lappend(tasks, task);
	}
	return tasks;
}

List *
steps_load_tasks(const Deployment *d, int stage)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage) };

	return read_tasks(stage, db_run(&load_tasks, args, NULL));
}

static int
compare_ordinals(const ListCell *a, const ListCell *b)
{
	return ((Task *) lfirst(a))->ordinal - ((Task *) lfirst(b))->ordinal;
}

/* Those with these ordinals. */
List *
steps_load_some(const Deployment *d, int stage, List *ordinals)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage),
					 db_int_array(ordinals) };
	List *tasks = ordinals == NIL ? NIL : read_tasks(stage, db_run(&load_some, args, NULL));

	list_sort(tasks, compare_ordinals);
	return tasks;
}

/* The first ones that are ready, from an ordinal on. */
List *
steps_load_ready(const Deployment *d, int stage, int from, int limit)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage),
					 Int32GetDatum(from), Int32GetDatum(limit) };

	return read_tasks(stage, db_run(&load_ready, args, NULL));
}

/* Those that are pending in the first wave that has any. */
List *
steps_load_wave(const Deployment *d, int stage, int from, int limit)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage),
					 Int32GetDatum(from), Int32GetDatum(limit) };

	return read_tasks(stage, db_run(&load_wave, args, NULL));
}

static List *
read_ordinals(uint64 n)
{
	List *ordinals = NIL;

	for (uint64 i = 0; i < n; i++)
		ordinals = lappend_int(ordinals, db_int32(i, 1));
	return ordinals;
}

/* The ordinals of those that agents have ended since the last visit. */
List *
steps_reported_tasks(const Deployment *d, int stage)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage) };

	return read_ordinals(db_run(&reported_query, args, NULL));
}

/* Of those that no agent has any more, though one should. */
List *
steps_overdue_tasks(const Deployment *d, int stage)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage),
					 TimestampTzGetDatum(GetCurrentTimestamp()) };

	return read_ordinals(db_run(&overdue_query, args, NULL));
}

/* Of those that are given out, and nobody has claimed. */
List *
steps_unclaimed_tasks(const Deployment *d, int stage)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage) };

	return read_ordinals(db_run(&unclaimed_query, args, NULL));
}

Stage *
steps_add_stage(List **stages, StageKind kind, const char *environment)
{
	Stage *stage = palloc0(sizeof(Stage));

	stage->ordinal = list_length(*stages) + 1;
	stage->kind = kind;
	stage->status = stage->saved_status = STAGE_PENDING;
	stage->environment = environment ? pstrdup(environment) : NULL;
	stage->started_at = stage->finished_at = TIME_NULL;
	stage->is_new = true;
	*stages = lappend(*stages, stage);
	return stage;
}

/* The environment whose gate the deployment waits at, or NULL. */
char *
steps_gate(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };

	return db_run(&gate_query, args, NULL) > 0 ? db_text(0, 1) : NULL;
}

Task *
steps_add_task(List **tasks, const Stage *stage, TaskKind kind)
{
	Task *task = palloc0(sizeof(Task));

	task->stage = stage->ordinal;
	task->ordinal = list_length(*tasks) + 1;
	task->kind = kind;
	task->status = task->saved_status = TASK_PENDING;
	task->wave = 1;
	task->reverts = -1;
	task->due_at = task->started_at = task->finished_at = task->lease_until = TIME_NULL;
	task->is_new = true;
	*tasks = lappend(*tasks, task);
	return task;
}

void
stage_apply(Stage *stage, StageEvent event, const char *message)
{
	TimestampTz now = GetCurrentTimestamp();

	stage->status = machine_next(&stage_machine, stage->status, event);
	stage->event = stage_machine.events[event];
	stage->message = message ? pstrdup(message) : NULL;
	if (event == STAGE_RESET)
	{
		stage->started_at = stage->finished_at = TIME_NULL;
		stage->is_counted = false;
		stage->next_task = 0;
	}
	else if (event == STAGE_START)
		stage->started_at = now;
	else if (event != STAGE_AWAIT_APPROVAL)
		stage->finished_at = now;
}

/* It waits for something else than before. */
void
stage_note(Stage *stage, const char *message)
{
	if (stage->message && strcmp(stage->message, message) == 0)
		return;
	stage->message = pstrdup(message);
	stage->is_noted = true;
}

void
task_apply(Task *task, TaskEvent event)
{
	TimestampTz now = GetCurrentTimestamp();

	task->status = machine_next(&task_machine, task->status, event);
	task->event = task_machine.events[event];
	switch (event)
	{
		case TASK_START:
			task->attempt++;
			task->started_at = now;
			task->finished_at = task->due_at = TIME_NULL;
			break;
		case TASK_GIVE_BACK:
			task->attempt--;
			task->started_at = TIME_NULL;
			break;
		case TASK_SUCCEED:
		case TASK_FAIL:
		case TASK_SKIP:
		case TASK_CANCEL:
			task->finished_at = now;
			task->due_at = TIME_NULL;
			break;
		default:
			break;
	}
	/* the caller says until when one is given out */
	task->lease_until = TIME_NULL;
}

TaskKey
task_key(const Deployment *d, const Task *task)
{
	TaskKey key;

	memset(&key, 0, sizeof(key));
	key.tenant = d->tenant;
	key.deployment = d->id;
	key.stage = task->stage;
	key.ordinal = task->ordinal;
	return key;
}

/* Runs a statement whose parameters are the deployment's key and an array for each column. */
static void
write_rows(const Deployment *d, DbStatement *statement, const Columns *columns)
{
	DbArgs args = db_args(statement);

	if (columns->nrows == 0)
		return;
	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	for (int i = 0; i < columns->ncolumns; i++)
		db_arg_datum(&args, get_array_type(columns->types[i]), columns_array(columns, i), false);
	(void) db_run_args(&args);
}

static void
audit_change(Deployment *d, const char *machine, const char *event, const char *before,
			 const char *after, Jsonb *detail, const char *reason)
{
	audit_add(d->batch, &d->chain, psprintf("%s.%s", machine, event), before, after, reason,
			  detail);
}

/* Writes the stages that are new or changed; deployment_save() must follow. */
void
steps_save_stages(Deployment *d, List *stages)
{
	static const Oid types[] = { INT4OID,        TEXTOID,        TEXTOID, TEXTOID,
								 TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID };
	Columns *rows = columns_make(types, lengthof(types));
	ListCell *cell;

	foreach (cell, stages)
	{
		Stage *stage = lfirst(cell);

		if (!stage->is_new && !stage->is_noted && stage->event == NULL)
			continue;
		columns_add_row(rows);
		columns_put_int32(rows, STAGE_COLUMN_ORDINAL - 1, stage->ordinal);
		columns_put_text(rows, STAGE_COLUMN_KIND - 1, stage_kind_names[stage->kind]);
		columns_put_text(rows, STAGE_COLUMN_STATUS - 1, stage_machine.statuses[stage->status]);
		columns_put_text(rows, STAGE_COLUMN_ENVIRONMENT - 1, stage->environment);
		columns_put_time(rows, STAGE_COLUMN_STARTED_AT - 1, stage->started_at);
		columns_put_time(rows, STAGE_COLUMN_FINISHED_AT - 1, stage->finished_at);
		columns_put_text(rows, STAGE_COLUMN_MESSAGE - 1, stage->message);
		if (stage->event)
			audit_change(d, "stage", stage->event, stage_machine.statuses[stage->saved_status],
						 stage_machine.statuses[stage->status],
						 audit_detail("stage", stage_kind_names[stage->kind], "environment",
									  stage->environment, NULL),
						 stage->message);
		stage->saved_status = stage->status;
		stage->event = NULL;
		stage->is_new = stage->is_noted = false;
	}
	write_rows(d, &save_stages, rows);
}

static void
put_task(Columns *rows, const Task *task)
{
	columns_add_row(rows);
	columns_put_int32(rows, 0, task->stage);
	columns_put_int32(rows, TASK_COLUMN_ORDINAL, task->ordinal);
	columns_put_text(rows, TASK_COLUMN_KIND, task_kind_names[task->kind]);
	columns_put_text(rows, TASK_COLUMN_STATUS, task_machine.statuses[task->status]);
	columns_put_int32(rows, TASK_COLUMN_WAVE, task->wave);
	columns_put_int32(rows, TASK_COLUMN_ATTEMPT, task->attempt);
	columns_put(rows, TASK_COLUMN_REVERTS, Int32GetDatum(task->reverts), task->reverts < 0);
	columns_put_uuid(rows, TASK_COLUMN_NODE, task->has_node ? &task->node : NULL);
	columns_put_text(rows, TASK_COLUMN_HOOK, task->hook);
	columns_put_time(rows, TASK_COLUMN_DUE_AT, task->due_at);
	columns_put_time(rows, TASK_COLUMN_STARTED_AT, task->started_at);
	columns_put_time(rows, TASK_COLUMN_FINISHED_AT, task->finished_at);
	columns_put_text(rows, TASK_COLUMN_PREVIOUS_VERSION, task->previous_version);
	columns_put_text(rows, TASK_COLUMN_SQLSTATE, task->sqlstate);
	columns_put_text(rows, TASK_COLUMN_MESSAGE, task->message);
	columns_put(rows, TASK_COLUMN_PLAN_DIGEST, digest_datum(task->plan_digest), task->steps == 0);
	columns_put(rows, TASK_COLUMN_STEPS, Int32GetDatum(task->steps), task->steps == 0);
	columns_put(rows, TASK_COLUMN_SWAP_FROM, Int64GetDatum(task->swap_from), task->steps == 0);
	columns_put_text(rows, SAVED_ACTION,
					 task->action != AGENT_NONE ? agent_action_names[task->action] : NULL);
	columns_put_text(rows, SAVED_VERSION_AFTER, task->version_after);
	columns_put_time(rows, SAVED_LEASE_UNTIL, task->lease_until);
}

/* Who requested the deployment is told of a node that has failed. */
static void
tell_failure(const Deployment *d, const Task *task)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&task->node) };
	char *environment;

	if (db_run(&find_node, args, NULL) == 0)
		return;
	environment = db_text(0, 1);
	notification_add(d, environment, "node_failed", list_make1(d->requested_by),
					 psprintf("the %s on %s failed: %s: %s", task_kind_names[task->kind],
							  db_text(0, 2), task->sqlstate, task->message));
}

static void
audit_task(Deployment *d, Task *task, const char *event)
{
	audit_change(d, "task", event, task_machine.statuses[task->saved_status],
				 task_machine.statuses[task->status],
				 audit_detail("kind", task_kind_names[task->kind], "node",
							  task->has_node ? uuid_text(&task->node) : NULL, "hook", task->hook,
							  "attempt", psprintf("%d", task->attempt),
							  task->claimed_by ? "agent" : NULL, task->claimed_by, NULL),
				 task->message);
	if (task->status == TASK_FAILED && task->has_node)
		tell_failure(d, task);
	task->saved_status = task->status;
}

/*
 * Adds the audit events of what executors have recorded since the deployment was saved;
 * steps_save_tasks() notes that they are there.
 */
void
steps_audit_recorded(Deployment *d, List *tasks)
{
	ListCell *cell;

	foreach (cell, tasks)
	{
		Task *task = lfirst(cell);

		if (task->is_recorded)
			audit_task(d, task,
					   machine_event_between(&task_machine, task->saved_status, task->status));
	}
}

/* The same for tasks. */
void
steps_save_tasks(Deployment *d, List *tasks)
{
	static const Oid types[] = {
		INT4OID, /* stage */
		[TASK_COLUMN_ORDINAL] = INT4OID,
		[TASK_COLUMN_KIND] = TEXTOID,
		[TASK_COLUMN_STATUS] = TEXTOID,
		[TASK_COLUMN_WAVE] = INT4OID,
		[TASK_COLUMN_ATTEMPT] = INT4OID,
		[TASK_COLUMN_REVERTS] = INT4OID,
		[TASK_COLUMN_NODE] = UUIDOID,
		[TASK_COLUMN_HOOK] = TEXTOID,
		[TASK_COLUMN_DUE_AT] = TIMESTAMPTZOID,
		[TASK_COLUMN_STARTED_AT] = TIMESTAMPTZOID,
		[TASK_COLUMN_FINISHED_AT] = TIMESTAMPTZOID,
		[TASK_COLUMN_PREVIOUS_VERSION] = TEXTOID,
		[TASK_COLUMN_SQLSTATE] = TEXTOID,
		[TASK_COLUMN_MESSAGE] = TEXTOID,
		[TASK_COLUMN_PLAN_DIGEST] = BYTEAOID,
		[TASK_COLUMN_STEPS] = INT4OID,
		[TASK_COLUMN_SWAP_FROM] = INT8OID,
		[SAVED_ACTION] = TEXTOID,
		[SAVED_VERSION_AFTER] = TEXTOID,
		[SAVED_LEASE_UNTIL] = TIMESTAMPTZOID,
	};
	Columns *rows = columns_make(types, lengthof(types));
	ListCell *cell;

	foreach (cell, tasks)
	{
		Task *task = lfirst(cell);

		if (!task->is_new && !task->is_recorded && task->event == NULL)
			continue;
		put_task(rows, task);
		if (task->event)
			audit_task(d, task, task->event);
		task->event = NULL;
		task->is_new = task->is_recorded = false;
	}
	write_rows(d, &save_tasks, rows);
}

/* Cancels, in memory, the stages that have not ended. */
void
steps_cancel_unfinished(List *stages, const char *message)
{
	ListCell *cell;

	foreach (cell, stages)
	{
		Stage *stage = lfirst(cell);

		if (machine_allows(&stage_machine, stage->status, STAGE_CANCEL))
			stage_apply(stage, STAGE_CANCEL, message);
	}
}

/* The deployment ends while none of its stages runs: those that were to come are cancelled. */
void
steps_cancel_stages(Deployment *d, const char *message)
{
	List *stages;

	if (d->started_at == TIME_NULL)
		return; /* it has none yet */
	stages = steps_load_stages(d);
	steps_cancel_unfinished(stages, message);
	steps_save_stages(d, stages);
}

/* An approval is missing again: one that waits at that gate for something else says so. */
void
steps_await_approval(Deployment *d, const char *environment)
{
	List *stages = steps_load_stages(d);
	ListCell *cell;

	foreach (cell, stages)
	{
		Stage *stage = lfirst(cell);

		if (stage->status == STAGE_WAITING_APPROVAL && strcmp(stage->environment, environment) == 0)
			stage_note(stage, psprintf(WAITS_FOR_APPROVAL, environment));
	}
	steps_save_stages(d, stages);
}

/* A retry begins these stages anew; what their tasks did is in the audit log. */
void
steps_forget_tasks(const Deployment *d, int from_stage)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(from_stage) };

	(void) db_run(&forget_tasks, args, NULL);
	steps_forget_counts(d, from_stage);
}
