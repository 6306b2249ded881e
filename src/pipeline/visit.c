/*
 * visit.c
 *		What the files of the pipeline do with a visit: report something, ask for plans.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "core/plan.h"
#include "pipeline/visit.h"

/* Adds a copy of something to a list of results. */
void
visit_report(Visit *v, List **list, const void *data, size_t size)
{
	MemoryContext old = MemoryContextSwitchTo(v->request->results);
	void *copy = palloc(size);

	memcpy(copy, data, size);
	*list = lappend(*list, copy);
	MemoryContextSwitchTo(old);
}

/* The environments that the deployment passes through; the path it had when it started. */
List *
visit_path(const Visit *v)
{
	List *path = NIL;
	ListCell *cell;

	foreach (cell, v->stages)
		if (((Stage *) lfirst(cell))->kind == STAGE_DEPLOY)
			path = lappend(path, ((Stage *) lfirst(cell))->environment);
	return path;
}

/* What the nodes of an environment are to run; found out once for the one that was asked for last. */
List *
visit_plan_of(Visit *v, char *environment)
{
	if (v->planned == NULL || strcmp(v->planned, environment) != 0)
	{
		v->plans = plan_of_deployment(&v->d, environment);
		v->planned = environment;
	}
	return v->plans;
}

/* The same of the current stage's environment. */
List *
visit_plan(Visit *v)
{
	return visit_plan_of(v, v->stage->environment);
}
