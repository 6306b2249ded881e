/*
 * lane.c
 *		Who changes which module on a node, and what the modules of a node ask of each other.
 *
 * Plans are made by the dispatcher while other modules of the same node are being changed, each in a lane of its
 * own.  So a swap also locks, shared, the modules that versions of its own ask for, and looks again at what is
 * asked for when it has them: whoever changes one of these waits until the swap is recorded, and then finds it.
 * Swaps of modules that ask for the same one do not wait for each other.
 *
 * Lanes are locked in the order of the modules' names, before anything else that somebody with a lane could
 * want, and without a snapshot: whoever has one may wait for those (CREATE INDEX CONCURRENTLY).  A lane is
 * waited for as long as it takes, since a task that has it ends; a cancel ends the wait.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/names.h"
#include "catalog/pg_type.h"
#include "core/requirement.h"
#include "run/lane.h"
#include "shm/advisory.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

static DbStatement dependents_query = DB_STATEMENT("SELECT " DEPENDENTS("$2"), UUIDOID, TEXTOID);

static void
tag_lane(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module, LOCKTAG *tag)
{
	struct
	{
		pg_uuid_t tenant;
		pg_uuid_t node;
		char module[128 * 4];
	} lane;

	memset(&lane, 0, sizeof(lane));
	lane.tenant = *tenant;
	lane.node = *node;
	strlcpy(lane.module, module, sizeof(lane.module));
	lock_tag(tag, LOCK_LANE, &lane, sizeof(lane));
}

static List *
lane_modules(const TaskRun *run)
{
	return arg_sort_names(list_concat(record_modules(run), list_copy(run->asked_for)));
}

static LOCKMODE
lane_mode(const TaskRun *run, char *module)
{
	return names_have(record_modules(run), module) ? ExclusiveLock : ShareLock;
}

void
lane_lock(const TaskRun *run, bool session)
{
	int guc_level = NewGUCNestLevel();
	ListCell *cell;

	guc_push("lock_timeout", "0");
	InvalidateCatalogSnapshot();
	foreach (cell, lane_modules(run))
	{
		LOCKTAG tag;

		tag_lane(&run->key.tenant, &run->node, lfirst(cell), &tag);
		(void) LockAcquire(&tag, lane_mode(run, lfirst(cell)), session, false);
	}
	AtEOXact_GUC(false, guc_level);
}

bool
lane_lock_if_free(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module)
{
	LOCKTAG tag;

	tag_lane(tenant, node, module, &tag);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* What the session has locked, as often as it has. */
void
lane_release(const TaskRun *run)
{
	ListCell *cell;

	foreach (cell, lane_modules(run))
	{
		LOCKMODE mode = lane_mode(run, lfirst(cell));
		LOCKTAG tag;

		tag_lane(&run->key.tenant, &run->node, lfirst(cell), &tag);
		while (lock_held_by_me(&tag, mode))
			(void) LockRelease(&tag, mode, true);
	}
}

/* The step of a complete version. */
static List *
complete_step(const TaskRun *run)
{
	Step *step = palloc0(sizeof(Step));

	step->module = run->module;
	step->version = run->target;
	step->direction = STEP_UP;
	step->requirements = requirement_list(db_text_array(run->version->requirements));
	return list_make1(step);
}

/* Raises 55000 where the node would not be left with what its modules ask of each other. */
void
lane_require_met(const TaskRun *run)
{
	Datum args[] = { UUIDPGetDatum(&run->key.tenant), CStringGetTextDatum(run->module) };
	NodePlan plan = { .node = run->node, .name = run->node_name, .outcome = NODE_RUNS };
	DbScope scope;
	bool isnull;

	db_enter(&scope);
	plan.steps = run->has_path ? run->path : complete_step(run);
	(void) db_run(&dependents_query, args, NULL);
	plan_check_requirements(&run->key.tenant, list_make1(&plan),
							db_text_list(db_datum(0, 1, &isnull)), false);
	if (plan.outcome == NODE_BLOCKED)
		record_refuse_blocked(&plan);
	db_leave(&scope);
}
