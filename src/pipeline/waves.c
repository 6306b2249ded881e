/*
 * waves.c
 *		The waves of a stage, and what lies between them: bakes, gates, pauses.
 *
 * What comes next is decided by rollout/rollout.c, from the tasks and the row of the rollout; here it
 * is carried out.  A stage of the strategy direct has no row, and nothing here is about it.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/freeze.h"
#include "core/node_health.h"
#include "core/notification.h"
#include "deployment/wave_plan.h"
#include "pipeline/behind.h"
#include "pipeline/gate_tasks.h"
#include "pipeline/stage_tasks.h"
#include "pipeline/task_set.h"
#include "pipeline/verdict.h"
#include "pipeline/waves.h"
#include "route/ring.h"
#include "route/route.h"
#include "utils/builtins.h"

/* Who waits for nodes to be healthy looks that often: what nodes report wakes nobody. */
#define HEALTH_LOOK USECS_PER_SEC

/*
 * The wave of each plan.  Where the nodes are not taken all at once, the row of the rollout is made,
 * with the settings that hold until its end.
 */
int *
waves_begin(Visit *v, List *plans)
{
	int *waves = palloc(list_length(plans) * sizeof(int));

	v->rollout = wave_plan(&v->d, v->stage->environment, plans, waves);
	if (v->rollout == NULL)
		return waves;
	v->rollout->stage = v->stage->ordinal;
	v->d.has_rollout = true;
	return waves;
}

/* ---- pauses ---- */

static unsigned
pauses_of(const Visit *v)
{
	unsigned pauses = v->request->suspended ? PAUSE_SUSPENDED : 0;
	ListCell *cell;

	foreach (cell, v->pauses)
		pauses |= ((PauseRow *) lfirst(cell))->kind;
	return pauses;
}

bool
waves_are_paused(const Visit *v)
{
	return pauses_of(v) != 0;
}

/* Why, in words. */
char *
waves_pause_words(const Visit *v)
{
	StringInfoData words;
	ListCell *cell;

	initStringInfo(&words);
	if (v->request->suspended)
		appendStringInfoString(&words, "the tenant is suspended");
	foreach (cell, v->pauses)
	{
		const PauseRow *p = lfirst(cell);

		appendStringInfo(&words, "%spaused by %s: %s", words.len > 0 ? "; " : "", p->paused_by,
						 p->reason);
	}
	return words.data;
}

/* Somebody is told of what happens to the rollout. */
static void
tell(Visit *v, const char *event, const char *reason)
{
	notification_add(&v->d, v->stage ? v->stage->environment : v->d.environment, event,
					 list_make1(v->d.requested_by), reason);
}

/* Half of the time of a pause is over, and nobody has ended it. */
static void
remind(Visit *v, PauseRow *p, TimestampTz now)
{
	char *since;

	if (p->remind_at > now)
		return;
	pause_note_reminder(&v->d, p);
	since = pstrdup(timestamptz_to_str(p->since));
	tell(v, "pause",
		 psprintf("paused since %s by %s: %s; it is cancelled at %s", since, p->paused_by,
				  p->reason, timestamptz_to_str(p->ends_at)));
}

/* A pause has an end: who forgets it does not keep the lane from others for good. */
static void
end_overdue_pause(Visit *v)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell *cell;

	foreach (cell, v->pauses)
	{
		PauseRow *p = lfirst(cell);

		if (p->ends_at > now)
		{
			remind(v, p, now);
			v->result->next_due = Min(v->result->next_due, Min(p->ends_at, p->remind_at));
			continue;
		}
		v->d.cancel_requested_at = now;
		v->d.cancel_reason = psprintf("it was paused until %s by %s: %s",
									  timestamptz_to_str(p->ends_at), p->paused_by, p->reason);
		deployment_apply(&v->d, DEPLOYMENT_CANCEL, v->d.cancel_reason);
		return;
	}
}

/* Reads the pauses; one that has lasted too long ends the deployment. */
void
waves_enter(Visit *v)
{
	v->pauses = pauses_load(&v->d);
	if ((v->d.status == DEPLOYMENT_RUNNING || v->d.status == DEPLOYMENT_PAUSED) &&
		v->d.cancel_requested_at == TIME_NULL)
		end_overdue_pause(v);
}

/* ---- the next step ---- */

static MemberState
member_state(TaskStatus status)
{
	switch (status)
	{
		case TASK_PENDING:
			return MEMBER_WAITS;
		case TASK_READY:
		case TASK_RUNNING:
		case TASK_RETRY_WAIT:
			return MEMBER_RUNS;
		case TASK_SUCCEEDED:
			return MEMBER_DONE;
		case TASK_FAILED:
			return MEMBER_FAILED;
		case TASK_SKIPPED:
			return MEMBER_SKIPPED;
		default:
			return MEMBER_LEFT;
	}
}

/* Adds members that are alike. */
static void
add_members(Member *members, int *count, int wave, MemberState state, int n)
{
	if (n > 0)
		members[(*count)++] = (Member){ .wave = wave, .state = state, .more = n - 1 };
}

/*
 * The nodes that belong to the rollout: those that had something to run.  Of those that the visit does not look at
 * one stands for all that are alike: in the last wave that has begun, or in one that comes later.  Of waves of
 * callers each after the first has one that stands for it.
 */
static Member *
read_swaps(const Visit *v, int *count)
{
	const RolloutRow *r = v->rollout;
	Member *members =
		palloc((list_length(v->tasks) + TASK_STATUS_COUNT + r->waves) * sizeof(Member));
	ListCell *cell;

	*count = 0;
	for (int status = 0; status < TASK_STATUS_COUNT; status++)
		add_members(members, count, status == TASK_PENDING ? PG_INT32_MAX : r->wave,
					member_state(status),
					v->others.by[TASK_SWAP][status] -
						(status == TASK_SKIPPED ? v->others.idle : 0));
	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		if (task->kind == TASK_SWAP && task->steps > 0)
			add_members(members, count, task->wave, member_state(task_set_status(v, task)), 1);
	}
	for (int wave = 2; r->first_share > 0 && wave <= r->waves; wave++)
		add_members(members, count, wave, wave <= r->wave ? MEMBER_DONE : MEMBER_WAITS, 1);
	return members;
}

/* The same of what prepares them. */
static Member *
read_preparations(const Visit *v, int *count)
{
	Member *members = palloc((list_length(v->tasks) + TASK_STATUS_COUNT) * sizeof(Member));
	ListCell *cell;

	*count = 0;
	for (int status = 0; status < TASK_STATUS_COUNT; status++)
		add_members(members, count, 0, member_state(status), v->others.by[TASK_PREPARE][status]);
	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		if (task->kind == TASK_PREPARE)
			add_members(members, count, 0, member_state(task_set_status(v, task)), 1);
	}
	return members;
}

/*
 * Nodes with what prepares them.  Both are in the same order where all tasks are read; else all nodes are alike, and it
 * does not matter whose preparation is whose (task_set_save()).
 */
static Member *
pair(const Member *swaps, int n, const Member *prepared, int m, int *count)
{
	Member *pairs = palloc((n + m) * sizeof(Member));
	int used = 0;
	int used_prepared = 0;
	int i = 0;
	int j = 0;

	*count = 0;
	while (i < n && j < m)
	{
		int more = Min(swaps[i].more - used, prepared[j].more - used_prepared);
		Member *both = &pairs[(*count)++];

		*both = swaps[i];
		both->preparation = prepared[j].state;
		both->more = more;
		used += more + 1;
		used_prepared += more + 1;
		if (used > swaps[i].more)
		{
			i++;
			used = 0;
		}
		if (used_prepared > prepared[j].more)
		{
			j++;
			used_prepared = 0;
		}
	}
	return pairs;
}

static Member *
read_members(Visit *v, int *count)
{
	Member *swaps;
	Member *prepared;
	int n;
	int m;

	task_set_next_wave(v);
	swaps = read_swaps(v, &n);
	*count = n;
	if (!v->rollout->plan.prepares)
		return swaps;
	prepared = read_preparations(v, &m);
	return pair(swaps, n, prepared, m, count);
}

/* Until when nodes have to be healthy, all of which are prepared now. */
static TimestampTz
health_deadline(const Visit *v)
{
	TimestampTz last = DT_NOBEGIN;
	ListCell *cell;

	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		if (task->kind == TASK_PREPARE && task->finished_at != TIME_NULL)
			last = Max(last, task->finished_at);
	}
	return time_after(last, &v->rollout->health_timeout);
}

static bool
is_member(const Visit *v, const pg_uuid_t *node)
{
	ListCell *cell;

	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		if (task->kind == TASK_SWAP && task->status == TASK_PENDING &&
			uuid_equal(&task->node, node))
			return true;
	}
	return false;
}

/* Which of the nodes that are to be switched is not healthy, and why; NULL: all are. */
static char *
unhealthy_node(const Visit *v)
{
	ListCell *cell;

	foreach (cell, node_health_read(&v->d.tenant, v->stage->environment, NULL))
	{
		const NodeHealth *h = lfirst(cell);

		if (h->state == HEALTH_UNHEALTHY && is_member(v, &h->node))
			return psprintf("node \"%s\" is unhealthy: %s", h->name, (char *) linitial(h->reasons));
	}
	return NULL;
}

/* Between the end of the preparation and the first wave. */
static void
read_health(Visit *v, const Member *members, int count, RolloutEvents *events)
{
	TimestampTz deadline;

	if (!v->rollout->plan.prepares || v->rollout->wave > 0)
		return;
	for (int i = 0; i < count; i++)
		if (members[i].state == MEMBER_WAITS && members[i].preparation != MEMBER_DONE)
			return;
	task_set_complete(v);
	v->rollout->failure = unhealthy_node(v);
	events->all_healthy = v->rollout->failure == NULL;
	deadline = health_deadline(v);
	events->health_late = deadline <= GetCurrentTimestamp();
	if (!events->all_healthy)
		v->result->next_due =
			Min(v->result->next_due, Min(deadline, GetCurrentTimestamp() + HEALTH_LOOK));
}

static RolloutEvents
read_events(Visit *v)
{
	const RolloutRow *r = v->rollout;

	return (RolloutEvents){
		.may_fail = behind_allowed(&v->d, v->stage, task_set_swaps(v)),
		.pauses = pauses_of(v),
		.max_parallel = r->max_parallel,
		.bake_begun = r->bake_until != TIME_NULL || r->bake_left != NO_BAKE_LEFT,
		.bake_over = r->gate != GATE_UNASKED ||
					 (r->bake_until != TIME_NULL && r->bake_until <= GetCurrentTimestamp()),
		.require_metrics = r->require_metrics,
		.promoted = r->promoted,
		.hurried = r->hurried,
		.gate_asked = r->measured != GATE_UNASKED && r->gate == GATE_UNASKED,
		.gate_runs = gate_tasks_run(v),
		.gate = r->gate
	};
}

static void
note(Visit *v, const char *event, const char *word, const char *what, const char *reason)
{
	audit_add(v->d.batch, &v->d.chain, event, NULL, NULL, reason,
			  audit_detail("environment", v->stage->environment, "wave",
						   psprintf("%d", v->rollout->wave), word, what, NULL));
}

/* When the last node of the wave was swapped, or its callers came. */
static TimestampTz
last_swap(const Visit *v)
{
	const RolloutRow *r = v->rollout;
	TimestampTz last = DT_NOBEGIN;
	ListCell *cell;

	if (r->first_share > 0 && r->wave > 1 && r->bake_until != TIME_NULL)
		return r->bake_until - rollout_bake_length(r);

	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);

		if (task->wave == v->rollout->wave && task->finished_at != TIME_NULL)
			last = Max(last, task->finished_at);
	}
	return last == DT_NOBEGIN ? GetCurrentTimestamp() : last;
}

static void
begin_bake(Visit *v)
{
	rollout_begin_bake(v->rollout, last_swap(v));
	/* with the swaps that it counts from */
	v->result->durable = true;
	note(v, "rollout.bake", "until", timestamptz_to_str(v->rollout->bake_until), NULL);
	tell(v, "bake",
		 psprintf("wave %d of %d bakes until %s", v->rollout->wave, v->rollout->waves,
				  timestamptz_to_str(v->rollout->bake_until)));
}

/* ---- the gate ---- */

/*
 * The verdict about a wave.  Where nobody measures anything, that every task has succeeded, verify scripts included,
 * is all there is.
 */
static void
decide(Visit *v, Gate gate, const char *reason)
{
	RolloutRow *r = v->rollout;

	r->gate = gate;
	r->is_changed = true;
	v->result->durable = true;
	note(v, "rollout.gate", "verdict", gate == GATE_UNMEASURED ? "not measured" : gate_names[gate],
		 reason);
	if (gate != GATE_FAILED)
		return;
	r->failure = psprintf("wave %d of %d is worse: %s", r->wave, r->waves, reason);
	tell(v, "gate", r->failure);
}

/* What nodes report is known.  Now functions are asked, unless it goes back anyway. */
static void
conclude(Visit *v, Gate gate, const char *reason)
{
	RolloutRow *r = v->rollout;

	if (gate == GATE_FAILED || !gate_tasks_begin(v))
	{
		decide(v, gate, reason);
		return;
	}
	r->measured = gate;
	r->is_changed = true;
	v->result->durable = true;
}

/* They are asked; true: all have said something, or could not. */
static bool
await_gate(Visit *v)
{
	RolloutRow *r = v->rollout;
	char *reason;
	Gate gate;

	stage_tasks_start_due(v, false, r->wave, PG_INT32_MAX);
	if (gate_tasks_are_open(v))
		return false;
	gate = gate_tasks_verdict(v, &reason);
	decide(v, gate, gate == GATE_FAILED ? reason : verdict_reason(&v->d, r->stage, r->wave));
	return true;
}

/* How often a bake is looked at: more than once a second there is nothing new. */
static int
count_looks(const RolloutRow *r, int64 looked_at)
{
	return (int) Max(Min(r->looks, looked_at / USECS_PER_SEC), 1);
}

/* The bake is over, or somebody has ended it. */
static void
ask_gate(Visit *v)
{
	int64 bake = rollout_bake_length(v->rollout);
	int looks = count_looks(v->rollout, bake - verdict_settle(bake));
	char *reason = NULL;
	Gate gate;

	task_set_complete(v);
	gate = verdict_look(v, last_swap(v), looks, looks, &reason);
	conclude(v, gate, reason);
}

/* In the middle of a bake; true: that ends it. */
static bool
look_at_bake(Visit *v)
{
	RolloutRow *r = v->rollout;
	TimestampTz now = GetCurrentTimestamp();
	int64 bake = rollout_bake_length(r);
	int64 looked_at = bake - verdict_settle(bake);
	int looks = count_looks(r, looked_at);
	int due = r->looked;
	char *reason = NULL;
	Gate gate = GATE_INCONCLUSIVE;

	/* one that was missed is not made up for */
	while (due + 1 < looks && r->bake_until - looked_at * (looks - due - 1) / looks <= now)
		due++;
	if (due > r->looked)
	{
		task_set_complete(v);
		gate = verdict_look(v, last_swap(v), due, looks, &reason);
		r->looked = gate == GATE_UNMEASURED ? looks - 1 : due;
		r->is_changed = true;
		v->result->durable = true;
	}
	if (gate == GATE_FAILED ||
		(gate == GATE_PASSED && r->adaptive && now >= time_after(last_swap(v), &r->min_bake)))
	{
		conclude(v, gate, reason);
		return true;
	}
	v->result->next_due =
		Min(v->result->next_due, r->bake_until - looked_at * Max(looks - r->looked - 1, 0) / looks);
	return false;
}

/* It does not go on by itself. */
static void
pause_by_gate(Visit *v, unsigned pauses)
{
	RolloutRow *r = v->rollout;
	PauseRow *p;
	char *reason;

	if ((pauses & (PAUSE_INCONCLUSIVE | PAUSE_UNMEASURED)) == 0 || (pauses & pauses_of(v)) != 0)
		return;
	p = palloc0(sizeof(PauseRow));
	p->kind = pauses;
	p->since = GetCurrentTimestamp();
	p->ends_at = time_after(p->since, &r->pause_timeout);
	p->paused_by = "hotswap";
	reason = pauses == PAUSE_UNMEASURED ? "nobody measures its nodes" :
										  verdict_reason(&v->d, r->stage, r->wave);
	p->reason = psprintf("after wave %d of %d: %s", r->wave, r->waves, reason);
	pause_add(&v->d, p);
	v->pauses = lappend(v->pauses, p);
	v->result->next_due = Min(v->result->next_due, p->ends_at);
	tell(v, "gate", p->reason);
}

/* ---- waves ---- */

/* What a node that was skipped meanwhile was to be prepared by. */
static void
cancel_preparations(Visit *v)
{
	ListCell *cell;

	foreach (cell, v->tasks)
	{
		Task *task = lfirst(cell);

		if (task->kind == TASK_PREPARE && task->status != TASK_RUNNING &&
			machine_allows(&task_machine, task->status, TASK_CANCEL))
			task_apply(task, TASK_CANCEL);
	}
}

/* It goes on by itself, though too little is known. */
static void
tell_unknown(Visit *v)
{
	RolloutRow *r = v->rollout;

	if (r->gate == GATE_INCONCLUSIVE && !r->promoted && !r->hurried)
		tell(v, "gate",
			 psprintf("wave %d of %d goes on: %s", r->wave, r->waves,
					  verdict_reason(&v->d, r->stage, r->wave)));
}

static void
begin_wave(Visit *v, int wave)
{
	RolloutRow *r = v->rollout;

	if (wave == r->wave)
		return;
	if (r->wave == 0)
		cancel_preparations(v);
	tell_unknown(v);
	r->wave = wave;
	r->bake_until = TIME_NULL;
	r->gate = r->measured = GATE_UNASKED;
	r->looked = 0;
	r->promoted = false;
	r->is_changed = true;
}

/* One that looks again has been told of already. */
static void
tell_frozen(Visit *v, int wave, const Freeze *freeze)
{
	RolloutRow *r = v->rollout;

	if (r->frozen_wave == wave)
		return;
	r->frozen_wave = wave;
	r->is_changed = true;
	tell(v, "frozen",
		 psprintf("wave %d of %d waits until %s for the windows of %s: %s", Max(wave, 1), r->waves,
				  freeze->opens == DT_NOEND ? "they are changed" :
											  pstrdup(timestamptz_to_str(freeze->opens)),
				  v->stage->environment, freeze_words(freeze)));
}

/*
 * Do windows keep a wave from starting?  Of the first one, unless something came before it, the gate of the stage
 * has decided.  One that has begun ends; an override is for one start.
 */
static bool
wait_for_window(Visit *v, int wave)
{
	Freeze freeze;

	if ((v->rollout->wave == 0 && !v->rollout->plan.prepares) || wave == v->rollout->wave)
		return false;
	if (freeze_holds(&v->d, v->stage->environment, &freeze))
	{
		v->result->next_due = Min(v->result->next_due, freeze.opens);
		tell_frozen(v, wave, &freeze);
		return true;
	}
	if (freeze.is_overridden)
		freeze_use_override(&v->d, v->stage->environment, &freeze);
	return false;
}

/* More callers get the version, on the nodes that have it. */
static void
grow_share(Visit *v)
{
	RolloutRow *r = v->rollout;
	int share = rollout_share(r, r->wave);
	ListCell *cell;

	task_set_complete(v);
	foreach (cell, v->tasks)
	{
		const Task *task = lfirst(cell);
		RingKey key = { &v->d.tenant, &task->node, v->d.module };

		if (task->kind == TASK_SWAP && task->status == TASK_SUCCEEDED)
			ring_set_share(&key, share, &v->d.id);
	}
	note(v, "rollout.share", "share", psprintf("%d", share), NULL);
}

/* Starts what is due; true: something has failed there and then, and it is to be looked at again. */
static bool
start_due(Visit *v, int wave, int room)
{
	int failed = stage_tasks_tally(v, false).failed;

	if (wait_for_window(v, wave))
		return false;
	begin_wave(v, wave);
	if (v->rollout->first_share > 0 && wave > 1)
	{
		grow_share(v);
		return true;
	}
	stage_tasks_start_due(v, false, wave, room);
	return stage_tasks_tally(v, false).failed > failed;
}

/* Carries a step out; true: the next one follows at once. */
static bool
carry_out(Visit *v, const RolloutStep *step, WavesResult *result)
{
	*result = WAVES_WAIT;
	switch (step->kind)
	{
		case ROLLOUT_PREPARE:
		case ROLLOUT_START:
		case ROLLOUT_WAIT:
			if (!step->is_failing)
				return start_due(v, step->wave, step->room);
			/* no task starts any more; what runs ends */
			stage_tasks_cancel_unfinished(v);
			return false;
		case ROLLOUT_BEGIN_BAKE:
			begin_bake(v);
			return true;
		case ROLLOUT_ASK_GATE:
			ask_gate(v);
			return true;
		case ROLLOUT_AWAIT_GATE:
			return await_gate(v);
		case ROLLOUT_BAKE:
			return look_at_bake(v);
		case ROLLOUT_AWAIT_HEALTH:
			return false;
		case ROLLOUT_PAUSE:
			pause_by_gate(v, step->pauses);
			*result = WAVES_PAUSED;
			return false;
		case ROLLOUT_DONE:
			tell_unknown(v);
			*result = WAVES_DONE;
			return false;
		case ROLLOUT_TAKE_BACK:
			stage_tasks_cancel_unfinished(v);
			*result = WAVES_FAILED;
			return false;
	}
	pg_unreachable();
}

/* Takes the rollout of the current stage as far as it goes. */
WavesResult
waves_advance(Visit *v)
{
	WavesResult result = WAVES_FAILED;
	bool more = true;

	if (waves_are_paused(v))
		rollout_hold_bake(v->rollout);
	else
		rollout_go_on(v->rollout);
	while (more)
	{
		RolloutEvents events = read_events(v);
		int count;
		Member *members = read_members(v, &count);
		RolloutStep step;

		read_health(v, members, count, &events);
		step = rollout_next(&v->rollout->plan, members, count, &events);
		more = carry_out(v, &step, &result);
	}
	if (result == WAVES_PAUSED)
		rollout_hold_bake(v->rollout);
	return result;
}

void
waves_save(Visit *v)
{
	if (v->rollout && v->rollout->is_changed)
		rollout_save(&v->d, v->rollout);
}
