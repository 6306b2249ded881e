/*
 * preview.c
 *		preview(): what deploy() would run now, on which nodes, and where it would not go; preview_release(): the
 *		same of deploy_release().
 *
 * The plan is the one that a stage starts with (plan.c).  Nothing is run or written, and nothing locked:
 * until the stage starts, what nodes run can change.
 */
#include "postgres.h"

#include "base/args.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/path.h"
#include "core/plan.h"
#include "core/release.h"
#include "core/tenant.h"
#include "deployment/target_nodes.h"
#include "deployment/wave_plan.h"
#include "fmgr.h"
#include "funcapi.h"
#include "module/scan.h"
#include "module/tag.h"
#include "module/version.h"
#include "route/forecast.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_preview);
PG_FUNCTION_INFO_V1(hotswap_preview_release);

/* The columns of the result. */
enum
{
	P_ENVIRONMENT,
	P_NODE,
	P_STEP,
	P_MODULE,
	P_VERSION,
	P_DIRECTION,
	P_DIGEST,
	P_PROBLEM,
	P_TRANSACTIONAL,
	P_ROUTING,
	P_FINDINGS,
	P_MISSING_REVERT,
	P_STRATEGY,
	P_WAVE,
	P_WAVE_SIZES,
	P_BAKES,
	P_COLUMNS
};

/* What is shown of an environment. */
typedef struct Preview
{
	ReturnSetInfo *result;
	const Deployment *deployment;
	const pg_uuid_t *tenant;
	char *environment;
	ScanPolicy policy;
	List *notes;    /* of Note */
	char *strategy; /* how its nodes go; NULL: none has anything to run */
	Datum sizes;    /* of its waves */
	Datum bakes;    /* after each of them */
	bool by_chance; /* who is of which wave */
} Preview;

/* What there is to say of a step, on whichever node. */
typedef struct Note
{
	const Step *step;
	char *findings;
	bool lacks_revert;
} Note;

static const char *const outcome_words[] = {
	[NODE_RUNS] = NULL,
	[NODE_SKIPPED] = "skipped",
	[NODE_BLOCKED] = "blocked",
};

/* What the step does to the route of the node; NULL: nothing, its module is called directly. */
static char *
routing_of(const Deployment *d, const NodePlan *p, const Step *step)
{
	RingKey key = { &d->tenant, &p->node, step->module };
	Version *v;

	if (p->is_agent || step->direction != STEP_UP)
		return NULL;
	v = version_read_existing(&d->tenant, step->module, step->version, 0);
	if (!v->is_routed)
		return NULL;
	version_read_scripts(&d->tenant, v);
	version_require_intact(v);
	return forecast_words(&key, v);
}

/* ---- a step ---- */

static const int script_of[] = {
	[STEP_UP] = SCRIPT_DEPLOY,
	[STEP_DOWN] = SCRIPT_REVERT,
	[STEP_INSTALL] = SCRIPT_INSTALL,
};

static Note *
make_note(const Preview *p, const Step *step)
{
	Version *v = version_read_existing(p->tenant, step->module, step->version, 0);
	Note *note = palloc(sizeof(Note));

	note->step = step;
	note->findings = scan_script(p->tenant, v, script_of[step->direction], &p->policy);
	/* what agents and entries are told to go back to needs no script */
	note->lacks_revert = !v->has_revert && !v->is_routed && !v->has_artifact;
	return note;
}

static const Note *
note_of(Preview *p, const Step *step)
{
	Note *note;
	ListCell *cell;

	foreach (cell, p->notes)
	{
		note = lfirst(cell);
		if (note->step->direction == step->direction &&
			strcmp(note->step->version, step->version) == 0 &&
			strcmp(note->step->module, step->module) == 0)
			return note;
	}
	note = make_note(p, step);
	p->notes = lappend(p->notes, note);
	return note;
}

/* ---- rows ---- */

/* Sets a column; NULL stays NULL. */
static void
set_text(Datum *values, bool *nulls, int column, const char *value)
{
	nulls[column] = value == NULL;
	if (value)
		values[column] = CStringGetTextDatum(value);
}

static void
put_step(Preview *p, const NodePlan *plan, const Step *step, int number, Datum *values, bool *nulls)
{
	const Note *note = note_of(p, step);

	values[P_STEP] = Int32GetDatum(number);
	values[P_TRANSACTIONAL] = BoolGetDatum(step->transactional);
	values[P_MISSING_REVERT] = BoolGetDatum(note->lacks_revert);
	nulls[P_STEP] = nulls[P_TRANSACTIONAL] = nulls[P_MISSING_REVERT] = false;
	set_text(values, nulls, P_MODULE, step->module);
	set_text(values, nulls, P_VERSION, step->version);
	set_text(values, nulls, P_DIRECTION, step_direction_names[step->direction]);
	set_text(values, nulls, P_DIGEST, digest_hex(step->digest));
	set_text(values, nulls, P_FINDINGS, note->findings);
	set_text(values, nulls, P_ROUTING, routing_of(p->deployment, plan, step));
}

/* How the nodes of the environment go, and when this one does. */
static void
put_wave(const Preview *p, int wave, Datum *values, bool *nulls)
{
	set_text(values, nulls, P_STRATEGY, p->strategy);
	if (p->strategy == NULL)
		return;
	values[P_WAVE] = Int32GetDatum(wave);
	nulls[P_WAVE] = p->by_chance;
	values[P_WAVE_SIZES] = p->sizes;
	values[P_BAKES] = p->bakes;
	nulls[P_WAVE_SIZES] = nulls[P_BAKES] = false;
}

/* A row about a node: a step of it, or why it has none. */
static void
put_row(Preview *p, const NodePlan *plan, const Step *step, int number, int wave)
{
	Datum values[P_COLUMNS] = { 0 };
	bool nulls[P_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	set_text(values, nulls, P_ENVIRONMENT, p->environment);
	set_text(values, nulls, P_NODE, plan->name);
	if (plan->outcome == NODE_RUNS)
		put_wave(p, wave, values, nulls);
	if (step)
		put_step(p, plan, step, number, values, nulls);
	else
		set_text(values, nulls, P_PROBLEM,
				 psprintf("%s: %s", outcome_words[plan->outcome], plan->reason));
	tuplestore_putvalues(p->result->setResult, p->result->setDesc, values, nulls);
}

static void
put_node(Preview *p, const NodePlan *plan, int wave)
{
	int number = 0;
	ListCell *cell;

	if (plan->outcome != NODE_RUNS)
		put_row(p, plan, NULL, 0, 0);
	else
		foreach (cell, plan->steps)
			put_row(p, plan, lfirst(cell), ++number, wave);
}

/* ---- waves ---- */

/* How long is waited after each wave; a wave of callers has no nodes of its own, and bakes as well. */
static Datum
bakes_of(const RolloutRow *r)
{
	static const Interval none;
	Datum *bakes = palloc(r->waves * sizeof(Datum));

	for (int i = 0; i < r->waves; i++)
	{
		bool waits = r->plan.bakes && (i < r->waves - 1 || r->plan.bake_last);
		const Interval *bake = i == 0 ? &r->first_bake : &r->bake;

		bakes[i] = IntervalPGetDatum(waits ? bake : &none);
	}
	return PointerGetDatum(
		construct_array(bakes, r->waves, INTERVALOID, sizeof(Interval), false, TYPALIGN_DOUBLE));
}

static Datum
numbers_of(const int *numbers, int count)
{
	List *list = NIL;

	for (int i = 0; i < count; i++)
		list = lappend_int(list, numbers[i]);
	return db_int_array(list);
}

/* In which waves its nodes go, as the stage will find when it starts. */
static int *
plan_waves(Preview *p, List *plans)
{
	int *waves = palloc(Max(list_length(plans), 1) * sizeof(int));
	RolloutRow all = { .waves = 1 };
	RolloutRow *r = plans == NIL ? NULL : wave_plan(p->deployment, p->environment, plans, waves);

	if (r == NULL)
		r = &all;
	p->strategy = pstrdup(strategy_names[r->plan.strategy]);
	p->by_chance = r->plan.order == ORDER_HASH && r->first_share == 0 && r->waves > 1;
	p->sizes = numbers_of(wave_sizes(r, plans, waves), r->waves);
	p->bakes = bakes_of(r);
	return waves;
}

static void
put_environment(ReturnSetInfo *result, const Deployment *d, char *environment)
{
	Preview p = {
		.result = result, .deployment = d, .tenant = &d->tenant, .environment = environment
	};
	List *plans = plan_of_deployment(d, environment);
	int *waves = plan_waves(&p, plans);

	scan_policy_load(&d->tenant, list_make1(environment), &p.policy);
	for (int i = 0; i < list_length(plans); i++)
		put_node(&p, list_nth(plans, i), waves[i]);
}

/* What a deployment would do on its path; the nodes, if any are named, are those of its target. */
static void
put_path(ReturnSetInfo *result, Deployment *d)
{
	ListCell *cell;

	if (!d->all_nodes)
	{
		d->nodes = target_nodes_find(&d->tenant, d->environment, d->nodes);
		d->only_target = true;
	}
	foreach (cell, path_of_deployment(d))
		put_environment(result, d, lfirst(cell));
}

/* The arguments after those that say what would be deployed; the environment is argument n. */
static void
read_options(FunctionCallInfo fcinfo, int n, Deployment *d)
{
	d->environment = arg_text(fcinfo, n, "environment", NAME_LIMIT);
	d->all_nodes = !target_nodes_argument(fcinfo, n + 1, &d->nodes);
	d->allow_revert = arg_bool(fcinfo, n + 2, "allow_revert");
	d->only_target = arg_bool(fcinfo, n + 3, "only_target");
	d->reapply = arg_bool(fcinfo, n + 4, "reapply");
	d->tenant = tenant_argument(fcinfo, n + 5);
}

static void
begin(Call *c, const Deployment *d)
{
	call_begin(c, &d->tenant, CAPABILITY_VIEWER, "look at what would be deployed");
	if (path_of(&d->tenant, d->environment) == NIL)
		environment_refuse_missing(&d->tenant, d->environment);
}

/*
 * preview(module text, version text, environment text, nodes text[], allow_revert boolean,
 *		only_target boolean, reapply boolean, tenant uuid)
 *		returns (goes_to, node, step, step_module, step_version, direction, digest, problem,
 *			transactional, routing, findings, missing_revert, strategy, wave, wave_sizes, bakes)
 *
 * In: the arguments of deploy(); tenant and nodes may be NULL.  Out: for each node of the environments on the
 * path, in their order, a row a step, in the order in which they would run, or a row with the reason why there
 * is none; wave NULL: chance decides.  Errors: 22023, P0002 no such tenant, version, environment or node, 42501.  Locks nothing.
 */
Datum
hotswap_preview(PG_FUNCTION_ARGS)
{
	Deployment d = { .kind = KIND_DEPLOY,
					 .module = arg_module(fcinfo, 0),
					 .version = arg_version(fcinfo, 1, "version") };
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call c;

	read_options(fcinfo, 2, &d);
	InitMaterializedSRF(fcinfo, 0);
	begin(&c, &d);
	d.version = version_resolve(&d.tenant, d.module, d.version);
	if (version_read(&d.tenant, d.module, d.version, 0) == NULL)
		version_refuse_missing(d.module, d.version);
	put_path(result, &d);
	call_end(&c);
	return (Datum) 0;
}

/*
 * preview_release(release text, environment text, nodes text[], allow_revert boolean, only_target boolean,
 *		reapply boolean, tenant uuid)
 *		returns what preview() does
 *
 * In: the arguments of deploy_release().  Out: as of preview(); a node's steps in all modules are one transaction.
 * Errors: 22023, P0002 no such tenant, release, environment or node, 42501.  Locks nothing.
 */
Datum
hotswap_preview_release(PG_FUNCTION_ARGS)
{
	Deployment d = { .kind = KIND_DEPLOY, .release = arg_identifier(fcinfo, 0, "release") };
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call c;

	read_options(fcinfo, 1, &d);
	InitMaterializedSRF(fcinfo, 0);
	begin(&c, &d);
	if (release_targets(&d.tenant, d.release) == NIL)
		release_refuse_missing(d.release);
	put_path(result, &d);
	call_end(&c);
	return (Datum) 0;
}
