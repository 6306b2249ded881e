/*
 * preview.c
 *		preview(): what deploy() would run now, on which nodes, and where it would not go.
 *
 * The plan is the one that a stage starts with (plan.c).  Nothing is run or written, and nothing locked:
 * until the stage starts, what nodes run can change.
 */
#include "postgres.h"

#include "base/args.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/path.h"
#include "core/plan.h"
#include "core/tenant.h"
#include "deployment/target_nodes.h"
#include "fmgr.h"
#include "funcapi.h"
#include "module/tag.h"
#include "module/version.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_preview);

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
	P_COLUMNS
};

static const char *const outcome_words[] = {
	[NODE_RUNS] = NULL,
	[NODE_SKIPPED] = "skipped",
	[NODE_BLOCKED] = "blocked",
};

/* A row about a node: a step of it, or why it has none. */
static void
put_row(ReturnSetInfo *result, const char *environment, const NodePlan *p, const Step *step,
		int number)
{
	Datum values[P_COLUMNS] = { 0 };
	bool nulls[P_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[P_ENVIRONMENT] = CStringGetTextDatum(environment);
	values[P_NODE] = CStringGetTextDatum(p->name);
	nulls[P_ENVIRONMENT] = nulls[P_NODE] = false;
	if (step)
	{
		values[P_STEP] = Int32GetDatum(number);
		values[P_MODULE] = CStringGetTextDatum(step->module);
		values[P_VERSION] = CStringGetTextDatum(step->version);
		values[P_DIRECTION] = CStringGetTextDatum(step_direction_names[step->direction]);
		values[P_DIGEST] = CStringGetTextDatum(digest_hex(step->digest));
		values[P_TRANSACTIONAL] = BoolGetDatum(step->transactional);
		for (int i = P_STEP; i <= P_DIGEST; i++)
			nulls[i] = false;
		nulls[P_TRANSACTIONAL] = false;
	}
	else
	{
		values[P_PROBLEM] =
			CStringGetTextDatum(psprintf("%s: %s", outcome_words[p->outcome], p->reason));
		nulls[P_PROBLEM] = false;
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
put_node(ReturnSetInfo *result, const char *environment, const NodePlan *p)
{
	int number = 0;
	ListCell *cell;

	if (p->outcome != NODE_RUNS)
		put_row(result, environment, p, NULL, 0);
	else
		foreach (cell, p->steps)
			put_row(result, environment, p, lfirst(cell), ++number);
}

/*
 * preview(module text, version text, environment text, nodes text[], allow_revert boolean,
 *		only_target boolean, reapply boolean, tenant uuid)
 *		returns (goes_to, node, step, step_module, step_version, direction, digest, problem,
 *			transactional)
 *
 * In: the arguments of deploy(); tenant and nodes may be NULL.  Out: for each node of the environments on the path, in their order, a row a step,
 * in the order in which they would run, or a row with the reason why there is none.  Errors: 22023, P0002 no
 * such tenant, version, environment or node, 42501.  Locks nothing.
 */
Datum
hotswap_preview(PG_FUNCTION_ARGS)
{
	Deployment d = { .kind = KIND_DEPLOY,
					 .tenant = tenant_argument(fcinfo, 7),
					 .module = arg_module(fcinfo, 0),
					 .version = arg_version(fcinfo, 1, "version"),
					 .environment = arg_text(fcinfo, 2, "environment", NAME_LIMIT),
					 .allow_revert = arg_bool(fcinfo, 4, "allow_revert"),
					 .only_target = arg_bool(fcinfo, 5, "only_target"),
					 .reapply = arg_bool(fcinfo, 6, "reapply") };
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell *cell;
	Call c;

	InitMaterializedSRF(fcinfo, 0);
	d.all_nodes = !target_nodes_argument(fcinfo, 3, &d.nodes);
	call_begin(&c, &d.tenant, CAPABILITY_VIEWER, "look at what would be deployed");
	if (path_of(&d.tenant, d.environment) == NIL)
		environment_refuse_missing(&d.tenant, d.environment);
	d.version = version_resolve(&d.tenant, d.module, d.version);
	if (version_read(&d.tenant, d.module, d.version, 0) == NULL)
		version_refuse_missing(d.module, d.version);
	if (!d.all_nodes)
	{
		d.nodes = target_nodes_find(&d.tenant, d.environment, d.nodes);
		d.only_target = true;
	}
	foreach (cell, path_of_deployment(&d))
	{
		List *plans = plan_of_deployment(&d, lfirst(cell));
		ListCell *node;

		foreach (node, plans)
			put_node(result, lfirst(cell), lfirst(node));
	}
	call_end(&c);
	return (Datum) 0;
}
