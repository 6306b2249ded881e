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
		for (int i = P_STEP; i <= P_DIGEST; i++)
			nulls[i] = false;
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

	foreach (cell, p->steps)
		put_row(result, environment, p, lfirst(cell), ++number);
	if (number == 0)
		put_row(result, environment, p, NULL, 0);
}

/*
 * preview(module text, version text, environment text, tenant uuid)
 *		returns (goes_to, node, step, step_module, step_version, direction, digest, problem)
 *
 * In: tenant may be NULL.  Out: for each node of the environments on the path, in their order, a row a step,
 * in the order in which they would run, or a row with the reason why there is none.  Errors: 22023, P0002 no
 * such tenant, version or environment, 42501.  Locks nothing.
 */
Datum
hotswap_preview(PG_FUNCTION_ARGS)
{
	PlanTarget target = { arg_module(fcinfo, 0), arg_version(fcinfo, 1, "version") };
	char *environment = arg_text(fcinfo, 2, "environment", NAME_LIMIT);
	pg_uuid_t tenant = tenant_argument(fcinfo, 3);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	List *path;
	ListCell *cell;
	Call c;

	InitMaterializedSRF(fcinfo, 0);
	call_begin(&c, &tenant, CAPABILITY_VIEWER, "look at what would be deployed");
	path = path_of(&tenant, environment);
	if (path == NIL)
		environment_refuse_missing(&tenant, environment);
	target.version = version_resolve(&tenant, target.module, target.version);
	if (version_read(&tenant, target.module, target.version, 0) == NULL)
		version_refuse_missing(target.module, target.version);
	foreach (cell, path)
	{
		PlanRequest request = { .tenant = &tenant,
								.targets = list_make1(&target),
								.environment = lfirst(cell),
								.is_target = strcmp(lfirst(cell), environment) == 0,
								.all_nodes = true };
		List *plans = plan_environment(&request);
		ListCell *node;

		foreach (node, plans)
			put_node(result, lfirst(cell), lfirst(node));
	}
	call_end(&c);
	return (Datum) 0;
}
