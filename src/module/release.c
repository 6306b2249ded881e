/*
 * release.c
 *		Releases, versions of several modules under one name: publish_release().
 *
 * A release is never changed: what is published again must be what is there.
 *
 * Locks: tenant row, which also keeps the versions from being withdrawn; then the rows inserted.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "module/tag.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_publish_release);

static DbStatement find_version =
	DB_STATEMENT("SELECT digest FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement find_release =
	DB_STATEMENT("SELECT digest FROM hotswap.release WHERE tenant_id = $1 AND name = $2", UUIDOID,
				 TEXTOID);

static DbStatement insert_release =
	DB_STATEMENT("INSERT INTO hotswap.release (tenant_id, name, digest, published_by)"
				 " VALUES ($1, $2, $3, $4)",
				 UUIDOID, TEXTOID, BYTEAOID, TEXTOID);

static DbStatement insert_modules =
	DB_STATEMENT("INSERT INTO hotswap.release_module (tenant_id, release, module, version)"
				 " SELECT $1, $2, m.module, m.version FROM unnest($3, $4) m (module, version)",
				 UUIDOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID);

typedef struct ReleaseModule
{
	char *module;
	char *version; /* as it was given, then what it stands for */
	uint8 digest[DIGEST_LENGTH];
} ReleaseModule;

typedef struct Release
{
	pg_uuid_t tenant;
	char *name;
	List *modules; /* of ReleaseModule, by name */
	uint8 digest[DIGEST_LENGTH];
} Release;

/* ---- the argument ---- */

/* "module=version"; the name of a module has no "=". */
static ReleaseModule *
parse_module(char *element)
{
	ReleaseModule *m = palloc(sizeof(ReleaseModule));
	char *sign = strchr(element, '=');

	if (sign == NULL || sign == element || sign[1] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid element of \"modules\": \"%s\"", element),
						errdetail("It must be of the form module=version.")));
	m->module = pnstrdup(element, sign - element);
	m->version = sign + 1;
	return m;
}

static int
compare_modules(const ListCell *a, const ListCell *b)
{
	return strcmp(((ReleaseModule *) lfirst(a))->module, ((ReleaseModule *) lfirst(b))->module);
}

/* The argument "modules", in the order of their names. */
static List *
read_modules(FunctionCallInfo fcinfo, int n)
{
	List *modules = NIL;
	const char *previous = NULL;
	ListCell *cell;

	arg_require(fcinfo, n, "modules");
	foreach (cell, arg_names(fcinfo, n, "modules", MODULE_LIMIT + 1 + VERSION_LIMIT))
		modules = lappend(modules, parse_module(lfirst(cell)));
	if (modules == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"modules\" must not be empty")));
	list_sort(modules, compare_modules);
	foreach (cell, modules)
	{
		const ReleaseModule *m = lfirst(cell);

		if (previous && strcmp(previous, m->module) == 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("module \"%s\" is more than once in \"modules\"", m->module)));
		previous = m->module;
	}
	return modules;
}

/* ---- publishing ---- */

/* Looks the versions up; P0002. */
static void
resolve(Release *r)
{
	ListCell *cell;

	foreach (cell, r->modules)
	{
		ReleaseModule *m = lfirst(cell);
		char *version = version_resolve(&r->tenant, m->module, m->version);
		Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(m->module),
						 CStringGetTextDatum(version) };

		if (db_run_newest(&find_version, args, NULL) == 0)
			version_refuse_missing(m->module, version);
		m->version = version;
		(void) db_digest(0, 1, m->digest);
	}
}

static void
compute_digest(Release *r)
{
	pg_cryptohash_ctx *ctx = digest_begin();
	ListCell *cell;

	foreach (cell, r->modules)
	{
		const ReleaseModule *m = lfirst(cell);

		digest_field(ctx, m->module);
		digest_field(ctx, m->version);
		digest_bytes(ctx, m->digest, DIGEST_LENGTH);
	}
	digest_end(ctx, r->digest);
}

/* Is the release there already?  Raises 23505 if it is, with other versions. */
static bool
already_published(const Release *r)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->name) };
	uint8 published[DIGEST_LENGTH];

	if (db_run_newest(&find_release, args, NULL) == 0)
		return false;
	(void) db_digest(0, 1, published);
	if (memcmp(published, r->digest, DIGEST_LENGTH) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("release \"%s\" already exists with other versions", r->name),
				 errdetail("The SHA-256 of what was published is %s, that of what was given is %s.",
						   digest_hex(published), digest_hex(r->digest)),
				 errhint("A release never changes; publish under a new name.")));
	return true;
}

static void
insert(const Release *r, const AuditActor *actor)
{
	DbArgs release = db_args(&insert_release);
	DbArgs modules = db_args(&insert_modules);
	List *names = NIL;
	List *versions = NIL;
	ListCell *cell;

	foreach (cell, r->modules)
	{
		const ReleaseModule *m = lfirst(cell);

		names = lappend(names, m->module);
		versions = lappend(versions, m->version);
	}
	db_arg_uuid(&release, &r->tenant);
	db_arg_text(&release, r->name);
	db_arg_digest(&release, r->digest);
	db_arg_text(&release, actor->person);
	(void) db_run_args(&release);
	db_arg_uuid(&modules, &r->tenant);
	db_arg_text(&modules, r->name);
	db_arg_datum(&modules, TEXTARRAYOID, db_text_array(names), false);
	db_arg_datum(&modules, TEXTARRAYOID, db_text_array(versions), false);
	(void) db_run_args(&modules);
	audit_tenant(actor, &r->tenant, "publish_release", NULL, NULL, NULL,
				 audit_detail("name", r->name, "digest", digest_hex(r->digest), NULL));
}

/*
 * publish_release(name text, modules text[], tenant uuid) returns text
 *
 * In: name: an identifier; modules: 1 to 100 of the form module=version, each module once, the version may
 * be a tag.  Out: the release's SHA-256 in hex.  Errors: 22023, 23505 other versions, P0002 no such version or
 * tenant, 42501, YH003.  Locks the tenant row; writes release, release_module and the audit log, nothing where
 * the same is there.
 */
Datum
hotswap_publish_release(PG_FUNCTION_ARGS)
{
	Release r = { .name = arg_identifier(fcinfo, 0, "name"),
				  .modules = read_modules(fcinfo, 1),
				  .tenant = tenant_argument(fcinfo, 2) };
	Call c;

	call_begin_change(&c, &r.tenant, CAPABILITY_DEPLOYER, "publish a release");
	resolve(&r);
	compute_digest(&r);
	if (!already_published(&r))
		insert(&r, &c.actor);
	call_end(&c);
	PG_RETURN_TEXT_P(cstring_to_text(digest_hex(r.digest)));
}
