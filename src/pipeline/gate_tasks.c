/*
 * gate_tasks.c
 *		What functions of users say of a wave: a task for each that the rollout asks.
 *
 * The functions are those that there were when the rollout began (rollout_gate).  One that fails, whatever the reason,
 * says nothing, and that is inconclusive: what cannot be asked lets nothing pass, and takes nothing back either.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/gate_function.h"
#include "deployment/rollout_row.h"
#include "pipeline/gate_tasks.h"
#include "pipeline/task_set.h"
#include "utils/builtins.h"

static DbStatement insert_row = DB_STATEMENT(
	"INSERT INTO hotswap.analysis (tenant_id, deployment_id, stage, at, metric, wave, look, method,"
	" verdict, gate, left_out, reason, function, function_digest) VALUES ($1, $2, $3, $4, 'function', $5,"
	" $6, 'function', $7::hotswap.gate_result, $8::hotswap.gate_result, '{}', $9, $10,"
	" (SELECT digest FROM hotswap.rollout_gate WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3"
	" AND function = $10))",
	UUIDOID, UUIDOID, INT2OID, TIMESTAMPTZOID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
	TEXTOID);

static bool
is_asked(const Visit *v, const Task *task)
{
	return task->kind == TASK_GATE && task->wave == v->rollout->wave;
}

bool
gate_tasks_begin(Visit *v)
{
	List *functions = rollout_functions(&v->d, v->stage->ordinal);
	ListCell *cell;

	if (functions == NIL)
		return false;
	/* they come after all the others */
	task_set_complete(v);
	foreach (cell, functions)
	{
		Task *task = steps_add_task(&v->tasks, v->stage, TASK_GATE);

		task->wave = v->rollout->wave;
		task->hook = ((GateFunction *) lfirst(cell))->name;
	}
	return true;
}

bool
gate_tasks_run(const Visit *v)
{
	ListCell *cell;

	foreach (cell, v->tasks)
		if (is_asked(v, lfirst(cell)) && task_set_status(v, lfirst(cell)) == TASK_RUNNING)
			return true;
	return false;
}

bool
gate_tasks_are_open(const Visit *v)
{
	ListCell *cell;

	foreach (cell, v->tasks)
		if (is_asked(v, lfirst(cell)) && task_set_is_unfinished(v, lfirst(cell)))
			return true;
	return false;
}

static Gate
verdict_of(const Task *task)
{
	return task->status == TASK_SUCCEEDED ? gate_parse(task->verdict) : GATE_INCONCLUSIVE;
}

static char *
words_of(const Task *task)
{
	if (task->status == TASK_SUCCEEDED)
		return psprintf("gate %s says %s", task->hook, task->verdict);
	return psprintf("gate %s has failed: %s: %s", task->hook, task->sqlstate, task->message);
}

static void
record(Visit *v, const Task *task, TimestampTz at, Gate gate)
{
	DbArgs args = db_args(&insert_row);

	db_arg_uuid(&args, &v->d.tenant);
	db_arg_uuid(&args, &v->d.id);
	db_arg_int16(&args, v->stage->ordinal);
	db_arg_time(&args, at);
	db_arg_int32(&args, task->wave);
	db_arg_int32(&args, v->rollout->looked + 1);
	db_arg_text(&args, gate_names[verdict_of(task)]);
	db_arg_text(&args, gate_names[gate]);
	db_arg_text(&args, words_of(task));
	db_arg_text(&args, task->hook);
	(void) db_run_args(&args);
}

/* The words of those that say what they all say together. */
static char *
reason_of(const Visit *v, Gate worst)
{
	StringInfoData words;
	ListCell *cell;

	initStringInfo(&words);
	foreach (cell, v->tasks)
		if (is_asked(v, lfirst(cell)) && verdict_of(lfirst(cell)) == worst)
			appendStringInfo(&words, "%s%s", words.len > 0 ? ", " : "", words_of(lfirst(cell)));
	return words.data;
}

Gate
gate_tasks_verdict(Visit *v, char **reason)
{
	TimestampTz now = GetCurrentTimestamp();
	Gate worst = GATE_UNASKED;
	Gate gate;
	ListCell *cell;

	task_set_complete(v);
	foreach (cell, v->tasks)
		if (is_asked(v, lfirst(cell)))
			worst = gate_worst(worst, verdict_of(lfirst(cell)));
	gate = gate_worst(v->rollout->measured, worst);
	foreach (cell, v->tasks)
		if (is_asked(v, lfirst(cell)))
			record(v, lfirst(cell), now, gate);
	*reason = reason_of(v, worst);
	return gate;
}
