/*
 * tag.c
 *		Tags: other names of versions, which are accepted wherever a version is: tag_version().
 *
 * A name of a module is that of a version or of a tag, never both: whoever makes one holds the tenant's row and
 * looks for the other.  A tag never changes, and what it stands for is not withdrawn, so that what was resolved
 * once stays true.
 *
 * Locks: tenant row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "module/tag.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_tag_version);

static DbStatement find_tag = DB_STATEMENT("SELECT version FROM hotswap.version_tag"
										   " WHERE tenant_id = $1 AND module = $2 AND tag = $3",
										   UUIDOID, TEXTOID, TEXTOID);

/* Are there versions of these names? */
static DbStatement find_versions =
	DB_STATEMENT("SELECT EXISTS (SELECT FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3),"
				 " EXISTS (SELECT FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $4)",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID);

static DbStatement insert_tag =
	DB_STATEMENT("INSERT INTO hotswap.version_tag (tenant_id, module, tag, version, tagged_by)"
				 " VALUES ($1, $2, $3, $4, $5)",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID);

/* The version that a tag stands for, or NULL. */
static char *
tag_find(const pg_uuid_t *tenant, const char *module, const char *tag)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module), CStringGetTextDatum(tag) };
	bool found = db_run_newest(&find_tag, args, NULL) > 0;

	MemoryContextSwitchTo(context);
	return found ? db_text(0, 1) : NULL;
}

char *
version_resolve(const pg_uuid_t *tenant, const char *module, const char *name)
{
	char *version = tag_find(tenant, module, name);

	return version ? version : pstrdup(name);
}

List *
version_resolve_all(const pg_uuid_t *tenant, const char *module, List *names)
{
	List *versions = NIL;
	ListCell *cell;

	foreach (cell, names)
		versions = lappend(versions, version_resolve(tenant, module, lfirst(cell)));
	return arg_sort_names(versions);
}

void
tag_refuse_existing(const pg_uuid_t *tenant, const char *module, const char *name)
{
	if (tag_find(tenant, module, name))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("tag \"%s\" of module \"%s\" already exists", name, module),
						errdetail("A name is that of a version or of a tag.")));
}

typedef struct Tag
{
	pg_uuid_t tenant;
	char *module;
	char *name;
	char *version;
} Tag;

/* Raises P0002 if what is tagged is not there, 23505 if a version has the name of the tag. */
static void
check_versions(const Tag *t)
{
	DbArgs args = db_args(&find_versions);

	db_arg_uuid(&args, &t->tenant);
	db_arg_text(&args, t->module);
	db_arg_text(&args, t->version);
	db_arg_text(&args, t->name);
	(void) db_run_newest(&find_versions, args.values, args.nulls);
	if (!db_bool(0, 1))
		version_refuse_missing(t->module, t->version);
	if (db_bool(0, 2))
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("version \"%s\" of module \"%s\" already exists", t->name, t->module),
				 errdetail("A name is that of a version or of a tag.")));
}

/* Is the tag there already?  Raises 23505 if it stands for another version. */
static bool
already_tagged(const Tag *t)
{
	char *version = tag_find(&t->tenant, t->module, t->name);

	if (version && strcmp(version, t->version) != 0)
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("tag \"%s\" of module \"%s\" already exists", t->name, t->module),
						errdetail("It stands for version \"%s\".", version),
						errhint("A tag never changes; use another name.")));
	return version != NULL;
}

static void
tag_insert(const Tag *t, const AuditActor *actor)
{
	DbArgs args = db_args(&insert_tag);

	db_arg_uuid(&args, &t->tenant);
	db_arg_text(&args, t->module);
	db_arg_text(&args, t->name);
	db_arg_text(&args, t->version);
	db_arg_text(&args, actor->person);
	(void) db_run_args(&args);
	audit_tenant(actor, &t->tenant, "tag_version", NULL, NULL, NULL,
				 audit_detail("module", t->module, "tag", t->name, "version", t->version, NULL));
}

/*
 * tag_version(module text, tag text, version text, tenant uuid)
 *
 * In: version may be a tag itself.  Errors: 22023, 23505 the tag stands for another version, or it is the name
 * of one, P0002 no such version or tenant, 42501, YH003.  Locks the tenant row; writes version_tag and the
 * audit log, nothing where the same is there.
 */
Datum
hotswap_tag_version(PG_FUNCTION_ARGS)
{
	Tag t = { .module = arg_module(fcinfo, 0),
			  .name = arg_version(fcinfo, 1, "tag"),
			  .version = arg_version(fcinfo, 2, "version"),
			  .tenant = tenant_argument(fcinfo, 3) };
	Call c;

	call_begin_change(&c, &t.tenant, CAPABILITY_DEPLOYER, "tag a version");
	t.version = version_resolve(&t.tenant, t.module, t.version);
	check_versions(&t);
	if (!already_tagged(&t))
		tag_insert(&t, &c.actor);
	call_end(&c);
	PG_RETURN_VOID();
}
