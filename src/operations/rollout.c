/*
 * rollout.c
 *		How people turn a deployment while it runs: pause(), resume(), promote(), skip_node().
 *
 * What they decide is a row; what follows from it is the dispatcher's next visit.  Pausing is for who
 * deploys; the others let something happen, so they are for operators, and in a protected environment
 * not for who has asked for the deployment.
 *
 * Locks: the deployment's row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/call.h"
#include "core/deployment_save.h"
#include "core/person.h"
#include "core/steps.h"
#include "core/tenant.h"
#include "deployment/rollout_row.h"
#include "fmgr.h"
#include "pipeline/behind.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_pause);
PG_FUNCTION_INFO_V1(hotswap_resume);
PG_FUNCTION_INFO_V1(hotswap_promote);
PG_FUNCTION_INFO_V1(hotswap_skip_node);

static DbStatement timeout_query = DB_STATEMENT(
	"SELECT pg_catalog.clock_timestamp() + pause_timeout FROM hotswap.environment WHERE tenant_id = $1"
	" AND name = $2",
	UUIDOID, TEXTOID);

static DbStatement wave_query =
	DB_STATEMENT("SELECT stage::integer, wave FROM hotswap.rollout WHERE tenant_id = $1"
				 " AND deployment_id = $2 ORDER BY stage DESC LIMIT 1",
				 UUIDOID, UUIDOID);

static DbStatement node_query =
	DB_STATEMENT("SELECT name FROM hotswap.node WHERE tenant_id = $1 AND id = $2", UUIDOID,
				 UUIDOID);

/* A deployment that somebody turns. */
typedef struct Turn
{
	Call call;
	Person person;
	const char *verb;
	pg_uuid_t id;
	char *reason;
	Deployment d;
	Stage *stage;        /* where it is */
	RolloutRow *rollout; /* of that stage, or NULL */
	int seen_stage;      /* where it was when it was not locked yet, and its wave; 0: at none */
	int seen_wave;
} Turn;

pg_noreturn static void
refuse(const Turn *t, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("cannot %s deployment \"%s\"", t->verb, uuid_text(&t->id)),
					errdetail_internal("%s", detail), hint ? errhint("%s", hint) : 0));
}

/* What somebody has asked for is let go on by somebody else, where approvals are needed. */
static void
require_other(const Turn *t)
{
	ApprovalPolicy policy;
	const char *environment =
		t->stage && t->stage->environment ? t->stage->environment : t->d.environment;

	if (!approval_policy_load(&t->d.tenant, environment, &policy) || policy.min_approvals == 0 ||
		policy.allow_self ||
		!person_is_requester(&t->person, t->d.requested_by, t->d.requester, t->d.login,
							 t->d.login_role))
		return;
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("\"%s\" cannot %s a deployment of their own in environment \"%s\"",
						   t->person.name, t->verb, environment),
					errdetail("It was requested by \"%s\".", t->d.requested_by)));
}

/* The stage that it is at. */
static Stage *
find_stage(const Deployment *d)
{
	ListCell *cell;

	foreach (cell, steps_load_stages(d))
	{
		Stage *stage = lfirst(cell);

		if (stage->status != STAGE_SUCCEEDED && stage->status != STAGE_SKIPPED)
			return stage;
	}
	return NULL;
}

/* Who waits for the lock has decided about what there was before. */
static void
see_wave(Turn *t, const pg_uuid_t *tenant)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(&t->id) };

	if (db_run(&wave_query, args, NULL) == 0)
		return;
	t->seen_stage = db_int32(0, 1);
	t->seen_wave = db_int32(0, 2);
}

/* Checks the right, locks the deployment, and refuses one that nobody can turn. */
static void
turn_begin(Turn *t, FunctionCallInfo fcinfo, int reason, const char *verb, Capability capability)
{
	pg_uuid_t tenant = tenant_current();

	memset(t, 0, sizeof(*t));
	t->verb = verb;
	t->id = arg_uuid(fcinfo, 0, "deployment");
	t->reason = arg_text(fcinfo, reason, "reason", REASON_LIMIT);
	person_current(&t->person, NULL);
	call_begin(&t->call, &tenant, capability, psprintf("%s a deployment", verb));
	see_wave(t, &tenant);
	deployment_lock_existing(&t->d, &t->id, &t->call.actor);
	if (t->d.cancel_requested_at != TIME_NULL && !deployment_is_final(t->d.status))
		refuse(t, "It is being cancelled.", NULL);
	if (t->d.status != DEPLOYMENT_RUNNING && t->d.status != DEPLOYMENT_PAUSED)
		refuse(t, psprintf("It is %s.", deployment_machine.statuses[t->d.status]), NULL);
	t->stage = find_stage(&t->d);
	if (t->stage && t->stage->status == STAGE_RUNNING)
		t->rollout = rollout_load(&t->d, t->stage->ordinal);
	if (capability == CAPABILITY_OPERATOR)
		require_other(t);
}

/* Writes what was decided, and has the dispatcher look. */
static void
turn_end(Turn *t, const char *event, Jsonb *detail)
{
	const char *status = deployment_machine.statuses[t->d.status];

	if (t->rollout && t->rollout->is_changed)
		rollout_save(&t->d, t->rollout);
	audit_add(t->d.batch, &t->d.chain, event, status, status, t->reason, detail);
	deployment_save_due(&t->d, GetCurrentTimestamp());
	call_end(&t->call);
}

static PauseRow *
find_pause(const Deployment *d, unsigned kinds)
{
	ListCell *cell;

	foreach (cell, pauses_load(d))
		if (((PauseRow *) lfirst(cell))->kind & kinds)
			return lfirst(cell);
	return NULL;
}

/* When a pause that begins now ends the deployment. */
static TimestampTz
pause_end(const Turn *t)
{
	const char *environment =
		t->stage && t->stage->environment ? t->stage->environment : t->d.environment;
	Datum args[] = { UUIDPGetDatum(&t->d.tenant), CStringGetTextDatum(environment) };

	if (t->rollout)
		return time_after(GetCurrentTimestamp(), &t->rollout->pause_timeout);
	if (db_run(&timeout_query, args, NULL) == 0)
		elog(ERROR, "environment \"%s\" has disappeared", environment);
	return db_time(0, 1, TIME_NULL);
}

/*
 * pause(deployment uuid, reason text) returns the status
 *
 * What runs ends; the next wave or stage waits, and a bake stands still.  In: reason of 1 to 10,000
 * characters. Errors: 22023, P0002 no such deployment, 55000 it does not run, is being cancelled or
 * was paused before, 42501. Locks the deployment.
 */
Datum
hotswap_pause(PG_FUNCTION_ARGS)
{
	PauseRow pause = { .kind = PAUSE_PERSON };
	const PauseRow *other;
	Turn t;

	turn_begin(&t, fcinfo, 1, "pause", CAPABILITY_DEPLOYER);
	other = find_pause(&t.d, PAUSE_PERSON);
	if (other)
		refuse(&t, psprintf("It was paused by \"%s\" before.", other->paused_by), NULL);
	pause.since = GetCurrentTimestamp();
	pause.ends_at = pause_end(&t);
	pause.paused_by = t.person.name;
	pause.reason = t.reason;
	pause_add(&t.d, &pause);
	if (t.rollout)
		rollout_hold_bake(t.rollout);
	turn_end(&t, "rollout.pause", audit_detail("until", timestamptz_to_str(pause.ends_at), NULL));
	return deployment_status_datum(fcinfo, t.d.status);
}

/*
 * resume(deployment uuid, reason text) returns the status
 *
 * In: reason of 1 to 10,000 characters. Errors: 22023, P0002 no such deployment, 55000 nobody has
 * paused it, 42501, also for who has requested it in a protected environment. Locks the deployment.
 */
Datum
hotswap_resume(PG_FUNCTION_ARGS)
{
	Turn t;

	turn_begin(&t, fcinfo, 1, "resume", CAPABILITY_OPERATOR);
	if (!pauses_remove(&t.d, PAUSE_PERSON))
		refuse(&t, "Nobody has paused it.",
			   find_pause(&t.d, PAUSE_INCONCLUSIVE | PAUSE_UNMEASURED) ?
				   "What its gate has paused is let go on by hotswap.promote()." :
				   NULL);
	turn_end(&t, "rollout.resume", NULL);
	return deployment_status_datum(fcinfo, t.d.status);
}

/* It is about one wave: the bake of another one that has begun meanwhile is not ended by chance. */
static void
require_wave(const Turn *t, int wave)
{
	const RolloutRow *r = t->rollout;
	bool is_same =
		wave > 0 ? wave == r->wave : t->seen_stage == r->stage && t->seen_wave == r->wave;

	if (!is_same)
		refuse(t, psprintf("Meanwhile it is at wave %d of %d.", r->wave, r->waves),
			   psprintf("Use \"wave\" => %d if the bake of that one is to end.", r->wave));
}

/*
 * promote(deployment uuid, reason text, full boolean, wave integer) returns the status
 *
 * Ends the bake now, or lets go on what an inconclusive gate has paused; the gate is asked all the
 * same, and a failure is one.  In: reason of 1 to 10,000 characters; wave: whose bake is meant, NULL
 * for the one at the time of the call. Errors: 22023, P0002 no such deployment, 55000 there is nothing
 * to end, or another wave has begun since, 42501, also for who has requested it in a protected
 * environment. Locks the deployment.
 */
Datum
hotswap_promote(PG_FUNCTION_ARGS)
{
	bool all = arg_bool(fcinfo, 2, "full");
	RolloutRow *r;
	Turn t;

	turn_begin(&t, fcinfo, 1, "promote", CAPABILITY_OPERATOR);
	r = t.rollout;
	if (r == NULL)
		refuse(&t, "It is at no stage that takes its nodes in waves.", NULL);
	if (!all && r->bake_until == TIME_NULL && r->bake_left == NO_BAKE_LEFT)
		refuse(&t, psprintf("No wave bakes: %d of %d have begun.", r->wave, r->waves),
			   "With \"full\" the bakes that are to come are not waited for.");
	if (!all)
		require_wave(&t, PG_ARGISNULL(3) ? 0 : arg_int32(fcinfo, 3, "wave", 1, PG_INT32_MAX));
	r->promoted = r->promoted || r->bake_until != TIME_NULL || r->bake_left != NO_BAKE_LEFT;
	r->hurried = r->hurried || all;
	r->is_changed = true;
	(void) pauses_remove(&t.d, PAUSE_INCONCLUSIVE | PAUSE_UNMEASURED);
	turn_end(&t, "rollout.promote",
			 audit_detail("wave", psprintf("%d", r->wave), "full", all ? "true" : "false", NULL));
	return deployment_status_datum(fcinfo, t.d.status);
}

/* The task of a node whose wave has not begun. */
static Task *
find_task(const Turn *t, List *tasks, const pg_uuid_t *node)
{
	Datum args[] = { UUIDPGetDatum(&t->d.tenant), UUIDPGetDatum(node) };
	ListCell *cell;

	foreach (cell, tasks)
	{
		Task *task = lfirst(cell);

		if (task->kind != TASK_SWAP || memcmp(&task->node, node, sizeof(*node)) != 0 ||
			task->steps == 0)
			continue;
		if (task->status != TASK_PENDING)
			refuse(t, psprintf("The task of the node is %s.", task_machine.statuses[task->status]),
				   NULL);
		return task;
	}
	ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
					db_run(&node_query, args, NULL) > 0 ?
						errmsg("node \"%s\" has nothing to run in deployment \"%s\"", db_text(0, 1),
							   uuid_text(&t->id)) :
						errmsg("node \"%s\" does not exist", uuid_text(node))));
}

/* As many may stay behind as the environment allows, those that have failed included. */
static void
require_room(const Turn *t, List *tasks)
{
	int swaps = 0;
	int behind = 1;
	int allowed;
	ListCell *cell;

	foreach (cell, tasks)
	{
		const Task *task = lfirst(cell);

		if (task->kind != TASK_SWAP || task->steps == 0)
			continue;
		swaps++;
		behind += task->status == TASK_FAILED || task->status == TASK_SKIPPED;
	}
	allowed = behind_allowed(&t->d, t->stage, swaps);
	if (behind > allowed)
		refuse(t,
			   psprintf("%d of its nodes would stay behind, and environment \"%s\" allows %d.",
						behind, t->stage->environment, allowed),
			   "See \"max_failed\" of hotswap.configure_environment().");
}

/*
 * skip_node(deployment uuid, node uuid, reason text)
 *
 * In: reason of 1 to 10,000 characters. Errors: 22023; P0002 no such deployment, or the node has
 * nothing to run in it; 55000 it does not take its nodes in waves, the node's wave has begun, or more
 * nodes than max_failed would stay behind; 42501, also for who has requested it in a protected
 * environment. Locks the deployment; writes the task and the audit log.
 */
Datum
hotswap_skip_node(PG_FUNCTION_ARGS)
{
	pg_uuid_t node = arg_uuid(fcinfo, 1, "node");
	List *tasks;
	Task *task;
	Turn t;

	turn_begin(&t, fcinfo, 2, "skip a node of", CAPABILITY_OPERATOR);
	if (t.rollout == NULL)
		refuse(&t, "It is at no stage that takes its nodes in waves.", NULL);
	tasks = steps_load_tasks(&t.d, t.stage->ordinal);
	task = find_task(&t, tasks, &node);
	require_room(&t, tasks);
	steps_audit_recorded(&t.d, tasks);
	task->message = psprintf("skipped by %s: %s", t.person.name, t.reason);
	task_apply(task, TASK_SKIP);
	steps_save_tasks(&t.d, tasks);
	steps_forget_counts(&t.d, t.stage->ordinal);
	turn_end(&t, "rollout.skip_node", audit_detail("node", uuid_text(&node), NULL));
	PG_RETURN_VOID();
}
