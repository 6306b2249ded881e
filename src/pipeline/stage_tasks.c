/*
 * stage_tasks.c
 *		The tasks of a stage: those that are due start, those that nobody runs any more are settled.
 *
 * The caller holds the lock on the deployment's row.  A task that is given out is its agent's until its lease ends:
 * before something else becomes of it, its row is locked, without waiting for an agent.
 */
#include "postgres.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "catalog/pg_type.h"
#include "deployment/rollout_row.h"
#include "environment/task_role.h"
#include "pipeline/stage_tasks.h"
#include "pipeline/task_set.h"
#include "shm/wakeup.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define LOCKED_AGAIN_MS 100 /* after an agent was seen in the middle of a change */

static DbStatement limits_query = DB_STATEMENT(
	"SELECT e.agent_attempts, $3 + e.claim_within, e.claim_within::text FROM hotswap.node n"
	" JOIN hotswap.environment e ON e.tenant_id = $1 AND e.name = n.environment"
	" WHERE n.tenant_id = $1 AND n.id = $2",
	UUIDOID, UUIDOID, TIMESTAMPTZOID);

/* Of a task that is given out; $5: now, $6: by when its time is over at the latest. */
static DbStatement take_back = DB_STATEMENT(
	"SELECT FROM hotswap.task WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4"
	" AND status = 'running' AND (token IS NULL OR lease_until <= $5) AND lease_until <= $6"
	" FOR NO KEY UPDATE SKIP LOCKED",
	UUIDOID, UUIDOID, INT2OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID);

static void
fail_task(Task *task, int sqlerrcode, const char *message)
{
	task->sqlstate = pstrdup(unpack_sql_state(sqlerrcode));
	task->message = pstrdup(message);
	task_apply(task, TASK_FAIL);
}

/* Is the role one that this dispatcher may start tasks of? */
static bool
role_wanted(Visit *v, Oid role)
{
	VisitRequest *request = v->request;
	MemoryContext old;

	if (!OidIsValid(request->only_role) || request->only_role == role)
		return true;
	old = MemoryContextSwitchTo(request->results);
	request->left_roles = list_append_unique_oid(request->left_roles, role);
	MemoryContextSwitchTo(old);
	return false;
}

/* What an environment grants to agents. */
typedef struct AgentLimits
{
	int32 attempts;
	TimestampTz claim_by; /* of what is given out now */
	char *claim_within;
} AgentLimits;

static AgentLimits
agent_limits(Visit *v, const Task *task, TimestampTz now)
{
	Datum args[] = { UUIDPGetDatum(&v->d.tenant), UUIDPGetDatum(&task->node),
					 TimestampTzGetDatum(now) };
	MemoryContext context = CurrentMemoryContext;
	AgentLimits limits;

	if (db_run(&limits_query, args, NULL) != 1)
		elog(ERROR, "the node has disappeared");
	MemoryContextSwitchTo(context);
	limits.attempts = db_int32(0, 1);
	limits.claim_by = db_time(0, 2, DT_NOEND);
	limits.claim_within = db_text(0, 3);
	return limits;
}

/* Gives a task to whoever is the agent of its node. */
static void
give_out(Visit *v, Task *task)
{
	task_apply(task, TASK_START);
	task->lease_until = agent_limits(v, task, GetCurrentTimestamp()).claim_by;
	task->is_claimed = false;
	wake_waiters(&task->node);
	wake_lease(task->lease_until);
}

/*
 * Has the start of a task to be on disk before its scripts run?  An attempt that brings the server down has to
 * count.  One that is lost with the server counts from the next time on: its deployment is from before then.
 */
static bool
must_count(const Visit *v, const Task *task)
{
	return task->attempt > 1 || v->d.requested_at < v->request->began;
}

/* Starts a task, if there is capacity for it and its role can log in. */
static void
start_task(Visit *v, Task *task)
{
	char *problem;
	int sqlerrcode;
	TaskKey key = task_key(&v->d, task);
	Oid role = task_role(&key, task->has_node ? &task->node : NULL,
						 task->kind == TASK_GATE ? FUNCTION_GATE : FUNCTION_HOOK, task->hook,
						 &problem, &sqlerrcode);
	StartedTask started;

	if (problem)
	{
		fail_task(task, sqlerrcode, problem);
		return;
	}
	if (task->action != AGENT_NONE)
	{
		give_out(v, task);
		return;
	}
	if (!role_wanted(v, role))
		return;
	if (v->request->capacity <= 0)
	{
		v->result->starved = true;
		return;
	}
	v->request->capacity--;
	task_apply(task, TASK_START);
	v->result->durable = v->result->durable || must_count(v, task);
	started.key = key;
	started.role = role;
	visit_report(v, &v->result->started, &started, sizeof(started));
}

/*
 * Takes a task that is given out back: if nobody has claimed it or, late, if its time is over.  False: not now, and
 * when to look again.
 */
static bool
take_from_agent(Visit *v, const Task *task, bool late)
{
	DbArgs args = db_args(&take_back);
	TimestampTz now = GetCurrentTimestamp();

	db_arg_uuid(&args, &v->d.tenant);
	db_arg_uuid(&args, &v->d.id);
	db_arg_int16(&args, task->stage);
	db_arg_int32(&args, task->ordinal);
	db_arg_time(&args, now);
	db_arg_time(&args, late ? now : DT_NOEND);
	if (db_run_args(&args) > 0)
		return true;
	v->result->next_due =
		Min(v->result->next_due, TimestampTzPlusMilliseconds(now, LOCKED_AGAIN_MS));
	return false;
}

/* Another attempt, unless there were as many as may be. */
static void
try_again(Task *task, int attempts, const char *last, const char *message)
{
	if (task->attempt >= attempts)
	{
		fail_task(task, ERRCODE_ADMIN_SHUTDOWN, last);
		return;
	}
	task->sqlstate = pstrdup(unpack_sql_state(ERRCODE_ADMIN_SHUTDOWN));
	task->message = pstrdup(message);
	task_apply(task, TASK_RETRY_LATER);
	task->due_at =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), backoff_retry_delay(task->attempt));
}

/* A task of an agent that has not claimed it in time, or has let its lease run out. */
static void
settle_unclaimed(Visit *v, Task *task)
{
	AgentLimits limits;

	if (!take_from_agent(v, task, true))
		return;
	limits = agent_limits(v, task, GetCurrentTimestamp());
	if (v->d.cancel_requested_at != TIME_NULL && v->d.status == DEPLOYMENT_RUNNING)
		task_apply(task, TASK_CANCEL);
	else if (!task->is_claimed)
		fail_task(task, ERRCODE_CANNOT_CONNECT_NOW,
				  psprintf("no agent has claimed the task within %s", limits.claim_within));
	else
		try_again(task, limits.attempts, "the lease of the agent ran out during the last attempt",
				  "the lease of the agent ran out");
}

/* A task that no process has in hand any more. */
static void
settle_lost(Visit *v, Task *task)
{
	TaskKey key = task_key(&v->d, task);

	if (task->action != AGENT_NONE)
	{
		settle_unclaimed(v, task);
		return;
	}
	if (v->d.cancel_requested_at != TIME_NULL && v->d.status == DEPLOYMENT_RUNNING)
		task_apply(task, TASK_CANCEL);
	else if (v->request->given_back(v->request->tasks, &key))
		task_apply(task, TASK_GIVE_BACK);
	else if (v->request->overran(v->request->tasks, &key))
		fail_task(
			task, ERRCODE_QUERY_CANCELED,
			v->d.kind == KIND_REHEARSAL || task->kind == TASK_PREPARE ?
				"the rehearsal went on after it was told to stop, and its executor was ended" :
				"the task went on after hotswap.statement_timeout, and its executor was ended");
	else
		try_again(task, hotswap_retry_limit, "the executor ended during the last attempt",
				  "the executor ended during the attempt");
}

/* Has anybody a running task in hand? */
static bool
in_hand(Visit *v, const Task *task)
{
	TaskKey key = task_key(&v->d, task);

	if (task->action != AGENT_NONE)
		return task->lease_until > GetCurrentTimestamp();
	return v->request->in_flight(v->request->tasks, &key);
}

/*
 * Reads the tasks of a stage that are to be looked at, and which of them are lost: they are running, and nobody has
 * them in hand.  An executor may record the end of a task after it was read, and let go of it, so what seems lost is
 * read once more.
 */
void
stage_tasks_load(Visit *v, Stage *stage)
{
	List *lost = NIL;
	ListCell *cell;

	task_set_load(v, stage);
	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		if (task->status == TASK_RUNNING && !in_hand(v, task))
			lost = lappend_int(lost, task->ordinal);
	}
	if (lost == NIL)
		return;
	task_set_read_again(v, lost);
	foreach (cell, v->tasks)
	{
		Task *task = lfirst(cell);

		task->is_lost = task->status == TASK_RUNNING && list_member_int(lost, task->ordinal);
	}
}

void
stage_tasks_settle_lost(Visit *v)
{
	ListCell *cell;

	foreach (cell, v->tasks)
	{
		Task *task = lfirst(cell);

		if (task->is_lost)
			settle_lost(v, task);
		task->is_lost = false;
	}
}

/* What the visit does not look at has begun with the last wave, or waits for its own. */
static Tally
tally_others(const Visit *v, bool reverts)
{
	int waiting =
		task_set_others(v, reverts, TASK_READY) + task_set_others(v, reverts, TASK_RETRY_WAIT);
	Tally t = { .unfinished = waiting + task_set_others(v, reverts, TASK_PENDING),
				.running = task_set_others(v, reverts, TASK_RUNNING),
				.failed = task_set_others(v, reverts, TASK_FAILED),
				.succeeded = task_set_others(v, reverts, TASK_SUCCEEDED) };

	t.begun = waiting + t.running > 0;
	if (t.begun)
		t.current_wave = v->rollout ? v->rollout->wave : 1;
	return t;
}

/* Counts the tasks of a kind of work: reverts, or everything else. */
Tally
stage_tasks_tally(Visit *v, bool reverts)
{
	Tally t;
	ListCell *cell;

	task_set_next_wave(v);
	t = tally_others(v, reverts);
	foreach (cell, v->tasks)
	{
		Task *task = lfirst(cell);
		bool open = false;
		bool begun = task->status != TASK_PENDING;

		if ((task->kind == TASK_REVERT) != reverts)
			continue;
		switch (task_set_status(v, task))
		{
			case TASK_PENDING:
			case TASK_READY:
			case TASK_RETRY_WAIT:
				t.unfinished++;
				open = true;
				break;
			case TASK_RUNNING:
				t.running++;
				open = true;
				break;
			case TASK_FAILED:
				/* what a gate could not ask is no failure */
				if (task->kind == TASK_GATE)
					break;
				t.failed++;
				if (t.first_failed == NULL)
					t.first_failed = task;
				break;
			case TASK_SUCCEEDED:
				t.succeeded += task->kind != TASK_GATE;
				break;
			default:
				break;
		}
		if (open && (t.current_wave == 0 || task->wave < t.current_wave))
		{
			t.current_wave = task->wave;
			t.begun = false;
		}
		if (open && task->wave == t.current_wave)
			t.begun = t.begun || begun;
	}
	return t;
}

/* The same of swaps, after all tasks were read: the stage has failed, and goes back. */
Tally
stage_tasks_tally_all(Visit *v)
{
	task_set_complete(v);
	return stage_tasks_tally(v, false);
}

/* The nodes that a person has skipped: they had something to run. */
int
stage_tasks_left_out(const Visit *v)
{
	int skipped = v->others.by[TASK_SWAP][TASK_SKIPPED] - v->others.idle;
	ListCell *cell;

	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		skipped += task->kind == TASK_SWAP && task->status == TASK_SKIPPED && task->steps > 0;
	}
	return skipped;
}

/*
 * The stage ends whatever its executors do: what they have not committed by now they cannot record any
 * more, and they are told so.
 */
void
stage_tasks_break_off(Visit *v)
{
	ListCell *cell;

	stage_tasks_cancel_unfinished(v);
	foreach (cell, v->tasks)
	{
		Task *task = lfirst(cell);
		TaskKey key = task_key(&v->d, task);

		if (task->status != TASK_RUNNING)
			continue;
		task_apply(task, TASK_CANCEL);
		visit_report(v, &v->result->cancelled, &key, sizeof(key));
	}
}

/* Nobody begins any more: what has begun goes on. */
void
stage_tasks_cancel_unfinished(Visit *v)
{
	ListCell *cell;

	task_set_unclaimed(v);
	foreach (cell, v->tasks)
	{
		Task *task = lfirst(cell);

		if (task->status == TASK_RUNNING &&
			(task->action == AGENT_NONE || task->is_claimed || !take_from_agent(v, task, false)))
			continue;
		if (machine_allows(&task_machine, task->status, TASK_CANCEL))
			task_apply(task, TASK_CANCEL);
	}
}

/*
 * Has a retry to wait?  One that is further away than any delay was counted before the clock was
 * set back.
 */
static bool
retry_waits(const Task *task, TimestampTz now)
{
	return task->status == TASK_RETRY_WAIT && task->due_at > now &&
		   task->due_at <= TimestampTzPlusMilliseconds(now, hotswap_retry_max_delay);
}

/*
 * Starts those that are due, of those that have not begun no more than there is room for; and notes when the next
 * retry is.
 */
static void
start_those(Visit *v, List *tasks, bool reverts, int wave, int *room)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell *cell;

	foreach (cell, tasks)
	{
		Task *task = lfirst(cell);

		if ((task->kind == TASK_REVERT) != reverts || task->wave != wave)
			continue;
		if (task->status == TASK_PENDING && (*room)-- > 0)
			task_apply(task, TASK_ADMIT);
		if (retry_waits(task, now))
			v->result->next_due = Min(v->result->next_due, task->due_at);
		else if ((task->status == TASK_READY || task->status == TASK_RETRY_WAIT) &&
				 v->request->may_start)
			start_task(v, task);
	}
}

/* Starts what is due in the current wave; room: for so many that have not begun. */
void
stage_tasks_start_due(Visit *v, bool reverts, int wave, int room)
{
	List *tasks = v->tasks;

	do
	{
		start_those(v, tasks, reverts, wave, &room);
		/* without capacity one more shows whether it is missed */
		tasks = v->request->may_start && !v->result->starved ?
					task_set_more_ready(v, Max(v->request->capacity, 1)) :
					NIL;
	} while (tasks != NIL);
}
