/*
 * plan_join.c
 *		The plans of several modules become one: what a node runs of a release, or takes back of it.
 *
 * A node runs all of it in one transaction, or nothing.  First what goes back, whoever asks for others before
 * these; then what comes, after what it asks for.  Modules that ask for each other go by their names.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "core/plan.h"
#include "core/requirement.h"

void
plan_merge(NodePlan *p, const NodePlan *part, bool is_first)
{
	bool runs_target = part->runs_target && (is_first || p->runs_target);

	p->from_declared = p->from_declared || part->from_declared;
	if (part->is_left_out && !p->is_left_out)
	{
		plan_skip(p, part->reason);
		p->is_left_out = true;
		p->steps = NIL;
	}
	else if (!p->is_left_out && p->outcome != NODE_BLOCKED)
	{
		if (part->outcome != NODE_SKIPPED)
			p->outcome = part->outcome;
		p->steps = list_concat(p->steps, part->steps);
		p->reason = part->reason;
		p->hint = part->hint;
	}
	p->runs_target = runs_target && !p->is_left_out;
}

/* ---- the order ---- */

/* The modules of steps, each once, as they come. */
static List *
modules_of(List *steps)
{
	List *modules = NIL;
	ListCell *cell;

	foreach (cell, steps)
	{
		Step *step = lfirst(cell);

		if (modules == NIL || strcmp(llast(modules), step->module) != 0)
			modules = lappend(modules, step->module);
	}
	return modules;
}

static bool
asks_for(const Step *step, const char *module)
{
	ListCell *cell;

	foreach (cell, step->asks)
		if (strcmp(((Requirement *) lfirst(cell))->module, module) == 0)
			return true;
	return false;
}

/* Does a version of the module ask for one of these others? */
static bool
asks_for_one(List *steps, const char *module, List *others)
{
	ListCell *cell;
	ListCell *other;

	foreach (cell, steps)
	{
		const Step *step = lfirst(cell);

		if (step->asks == NIL || strcmp(step->module, module) != 0)
			continue;
		foreach (other, others)
			if (strcmp(lfirst(other), module) != 0 && asks_for(step, lfirst(other)))
				return true;
	}
	return false;
}

/* Those that others ask for first. */
static List *
order_modules(List *steps)
{
	List *left = modules_of(steps);
	List *ordered = NIL;
	ListCell *cell;

	while (left != NIL)
	{
		char *next = linitial(left);

		foreach (cell, left)
			if (!asks_for_one(steps, lfirst(cell), left))
			{
				next = lfirst(cell);
				break;
			}
		ordered = lappend(ordered, next);
		left = list_delete_ptr(left, next);
	}
	return ordered;
}

/* The steps of a module in one direction. */
static List *
steps_of(List *steps, const char *module, bool down)
{
	List *found = NIL;
	ListCell *cell;

	foreach (cell, steps)
	{
		Step *step = lfirst(cell);

		if (strcmp(step->module, module) == 0 && (step->direction == STEP_DOWN) == down)
			found = lappend(found, step);
	}
	return found;
}

static List *
order_steps(List *steps)
{
	List *modules = order_modules(steps);
	List *down = NIL;
	List *up = NIL;
	ListCell *cell;

	foreach (cell, modules)
	{
		down = list_concat(steps_of(steps, lfirst(cell), true), down);
		up = list_concat(up, steps_of(steps, lfirst(cell), false));
	}
	return list_concat(down, up);
}

void
plan_join(NodePlan *p)
{
	ListCell *cell;

	foreach (cell, p->steps)
	{
		const Step *step = lfirst(cell);

		if (step->transactional)
			continue;
		plan_block(p,
				   psprintf("node \"%s\" would run version \"%s\" of module \"%s\", which does not"
							" run in a transaction, as a release does",
							p->name, step->version, step->module),
				   step->direction == STEP_DOWN ?
					   NULL :
					   psprintf("Deploy version \"%s\" of module \"%s\" by itself first.",
								step->version, step->module));
		return;
	}
	p->steps = order_steps(p->steps);
}
