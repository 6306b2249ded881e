/*
 * module.c
 *		Modules and their versions.
 *
 * A version is never changed: what is published again must be what is there.  Two sessions that
 * publish the same version at the same time get the same answer as if one had come after the other.
 *
 * Locks: tenant row, then the rows inserted into module and module_version.  Publishing what is
 * already there locks nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/installation.h"
#include "core/quota.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "module/examination.h"
#include "module/script.h"
#include "module/signing_key.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_publish_version);

static DbStatement find_version =
	DB_STATEMENT("SELECT v.digest, t.status FROM hotswap.module_version v"
				 " JOIN hotswap.tenant t ON t.id = v.tenant_id"
				 " WHERE v.tenant_id = $1 AND v.module = $2 AND v.version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement insert_module = DB_STATEMENT(
	"INSERT INTO hotswap.module (tenant_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", UUIDOID,
	TEXTOID);

static DbStatement insert_version = DB_STATEMENT(
	"INSERT INTO hotswap.module_version (tenant_id, module, version, digest, published_by,"
	" deploy_sql, verify_sql, revert_sql, findings, findings_digest)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::json, $10) ON CONFLICT DO NOTHING",
	UUIDOID, TEXTOID, TEXTOID, BYTEAOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID);

/* A version as it was given. */
typedef struct NewVersion
{
	pg_uuid_t tenant;
	char *module;
	char *version;
	NullableDatum scripts[SCRIPT_COUNT]; /* text */
	uint8 digest[DIGEST_LENGTH];
	char *findings; /* in the scripts, as they are kept */
	uint8 findings_digest[DIGEST_LENGTH];
	GivenSignature signature;
} NewVersion;

/* Fetches one script and keeps the argument itself to be stored, but for a byte order mark. */
static char *
module_read_script(FunctionCallInfo fcinfo, int n, const char *word, bool required,
				   NullableDatum *stored)
{
	char *given = arg_script(fcinfo, n, word, required);
	char *script = given ? script_without_mark(given) : NULL;

	*stored = fcinfo->args[n];
	if (script != given)
		stored->value = CStringGetTextDatum(script);
	return script;
}

static void
module_read_version(FunctionCallInfo fcinfo, NewVersion *v)
{
	char *scripts[SCRIPT_COUNT];

	v->module = arg_module(fcinfo, 0);
	v->version = arg_version(fcinfo, 1);
	scripts[SCRIPT_DEPLOY] =
		module_read_script(fcinfo, 2, "deploy_sql", true, &v->scripts[SCRIPT_DEPLOY]);
	scripts[SCRIPT_VERIFY] =
		module_read_script(fcinfo, 3, "verify_sql", false, &v->scripts[SCRIPT_VERIFY]);
	scripts[SCRIPT_REVERT] =
		module_read_script(fcinfo, 4, "revert_sql", false, &v->scripts[SCRIPT_REVERT]);
	v->findings = examination_text(examine_scripts(scripts, true));
	v->signature = signature_arguments(fcinfo, 5);
	v->tenant = tenant_argument(fcinfo, 7);
	digest_scripts(scripts[SCRIPT_DEPLOY], scripts[SCRIPT_VERIFY], scripts[SCRIPT_REVERT],
				   v->digest);
	version_digest_findings(v->digest, v->findings, v->findings_digest);
}

/* Is the version there already?  Raises 23505 if it is, with other content. */
static bool
already_published(const NewVersion *v)
{
	Datum args[] = { UUIDPGetDatum(&v->tenant), CStringGetTextDatum(v->module),
					 CStringGetTextDatum(v->version) };
	uint8 published[DIGEST_LENGTH];

	if (db_run(&find_version, args, NULL) == 0)
		return false;
	tenant_require_active(&v->tenant, db_text(0, 2));
	(void) db_digest(0, 1, published);
	if (memcmp(published, v->digest, DIGEST_LENGTH) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("version \"%s\" of module \"%s\" already exists with other content",
						v->version, v->module),
				 errdetail("The SHA-256 of what was published is %s, that of what was given is %s.",
						   digest_hex(published), digest_hex(v->digest)),
				 errhint("A version never changes; publish under a new one.")));
	return true;
}

/* Stores the version; false if another session did before. */
static bool
module_insert(const NewVersion *v, const AuditActor *actor)
{
	Datum module[] = { UUIDPGetDatum(&v->tenant), CStringGetTextDatum(v->module) };
	DbArgs args = db_args(&insert_version);

	if (db_run(&insert_module, module, NULL) > 0)
		quota_require(&v->tenant, QUOTA_MODULES);
	db_arg_uuid(&args, &v->tenant);
	db_arg_text(&args, v->module);
	db_arg_text(&args, v->version);
	db_arg_digest(&args, v->digest);
	db_arg_text(&args, actor->person);
	for (int i = 0; i < SCRIPT_COUNT; i++)
		db_arg_datum(&args, TEXTOID, v->scripts[i].value, v->scripts[i].isnull);
	db_arg_text(&args, v->findings);
	db_arg_digest(&args, v->findings_digest);
	if (db_run_args(&args) == 0)
		return false;
	quota_require(&v->tenant, QUOTA_STORED_BYTES);
	return true;
}

/* Stores the version, its signature, and their audit events, unless the same is already there. */
static void
module_publish(const NewVersion *v)
{
	SignedVersion signed_version = { &v->tenant, v->module, v->version, v->digest };
	Call c;

	call_begin(&c, &v->tenant, CAPABILITY_DEPLOYER, "publish a version");
	if (!already_published(v))
	{
		installation_ensure();
		tenant_lock_for_change(&v->tenant);
		if (module_insert(v, &c.actor))
			audit_tenant(&c.actor, &v->tenant, "publish_version", NULL, NULL, NULL,
						 audit_detail("module", v->module, "version", v->version, "digest",
									  digest_hex(v->digest), NULL));
		else if (!already_published(v))
			elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", v->version, v->module);
	}
	if (v->signature.key)
		version_sign(&signed_version, &v->signature, &c.actor);
	call_end(&c);
}

/*
 * publish_version(module text, version text, deploy_sql text, verify_sql text, revert_sql text,
 *		signature bytea, signing_key text, tenant uuid) returns text
 *
 * In: scripts of at most 16 MB; verify_sql, revert_sql, signature with signing_key, and tenant may
 * be NULL.  Out: the version's SHA-256 in hex.  Errors: 22023, 42601 and 0A000 of the scripts,
 * 23505 other content, 53400 a quota is exceeded, P0002 no such tenant or key, 55000 the key does
 * not count, YH003, YH010.  Locks the tenant row; writes module, module_version, version_signature
 * and the audit log, nothing where the same content and signature are there.
 */
Datum
hotswap_publish_version(PG_FUNCTION_ARGS)
{
	NewVersion version;

	module_read_version(fcinfo, &version);
	module_publish(&version);
	PG_RETURN_TEXT_P(cstring_to_text(digest_hex(version.digest)));
}
