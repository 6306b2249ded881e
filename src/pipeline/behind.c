/*
 * behind.c
 *		Nodes that fail and stay behind while their deployment goes on.
 *
 * So many may as the environment where it ends allows.  On the way there a failure is a failure, and so it is in
 * a rollback, which leaves no node where it was.  When those that stayed behind are taken once more, as many may
 * fail again.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "pipeline/behind.h"
#include "utils/builtins.h"

static DbStatement policy_query =
	DB_STATEMENT("SELECT max_failed FROM hotswap.environment WHERE tenant_id = $1 AND name = $2",
				 UUIDOID, TEXTOID);

static DbStatement count_query =
	DB_STATEMENT("SELECT count(*) FROM hotswap.task WHERE tenant_id = $1 AND deployment_id = $2"
				 " AND kind = 'swap' AND (status = 'failed' OR status = 'skipped' AND steps > 0)",
				 UUIDOID, UUIDOID);

static bool
is_target(const Deployment *d, const Stage *stage)
{
	return stage->kind == STAGE_DEPLOY && strcmp(stage->environment, d->environment) == 0;
}

/* How many nodes of a stage may fail while it goes on, where so many have something to run. */
int
behind_allowed(const Deployment *d, const Stage *stage, int swaps)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(d->environment) };
	char *policy;
	int allowed;

	if (d->kind != KIND_DEPLOY || !is_target(d, stage) || db_run(&policy_query, args, NULL) == 0)
		return 0;
	policy = db_text(0, 1);
	allowed = policy ? atoi(policy) : 0;
	if (policy && strchr(policy, '%'))
		allowed = swaps * allowed / 100;
	return Max(allowed, d->nodes_behind);
}

/* What a stage says that has left some behind. */
char *
behind_words(int nodes)
{
	if (nodes == 0)
		return NULL;
	return psprintf(nodes == 1 ? "%d node stayed behind" : "%d nodes stayed behind", nodes);
}

/* How many nodes a deployment that succeeds leaves behind; only a stage that left some has a message. */
int
behind_count(Visit *v)
{
	Datum args[] = { UUIDPGetDatum(&v->d.tenant), UUIDPGetDatum(&v->d.id) };
	ListCell *cell;

	foreach (cell, v->stages)
	{
		const Stage *stage = lfirst(cell);

		if (is_target(&v->d, stage) && stage->status == STAGE_SUCCEEDED && stage->message)
		{
			(void) db_run(&count_query, args, NULL);
			return (int) db_int64(0, 1);
		}
	}
	return 0;
}
