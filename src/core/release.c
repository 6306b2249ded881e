/*
 * release.c
 *		Which versions a deployment is about: one of one module, or those of a release, which is never changed.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/release.h"
#include "utils/builtins.h"

static DbStatement modules_query =
	DB_STATEMENT("SELECT module, version FROM hotswap.release_module"
				 " WHERE tenant_id = $1 AND release = $2 ORDER BY module COLLATE \"C\"",
				 UUIDOID, TEXTOID);

static PlanTarget *
make_target(char *module, char *version)
{
	PlanTarget *target = palloc(sizeof(PlanTarget));

	target->module = module;
	target->version = version;
	return target;
}

List *
release_targets(const pg_uuid_t *tenant, const char *release)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(release) };
	uint64 n = db_run_newest(&modules_query, args, NULL);
	List *targets = NIL;

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
		targets = lappend(targets, make_target(db_text(i, 1), db_text(i, 2)));
	return targets;
}

List *
deployment_targets(const Deployment *d)
{
	if (d->release)
		return release_targets(&d->tenant, d->release);
	return list_make1(make_target(d->module, d->version));
}

List *
target_modules(List *targets)
{
	List *modules = NIL;
	ListCell *cell;

	foreach (cell, targets)
		modules = lappend(modules, ((PlanTarget *) lfirst(cell))->module);
	return modules;
}

char *
deployment_words(const Deployment *d)
{
	return d->release ? psprintf("release \"%s\"", d->release) :
						psprintf("version \"%s\"", d->version);
}
