/*
 * module.c
 *		Modules and their versions.
 *
 * A version is never changed: what is published again must be what is there.  Two sessions that
 * publish the same version at the same time get the same answer as if one had come after the other.
 *
 * A module has versions that are complete in themselves, or a graph of versions with parents; the first
 * one decides.  Its row counts them in the order of their publication, which the row's lock makes that of
 * their commits, and has a hash over that history for those who keep the graph in memory.
 *
 * Locks: tenant row, then the rows inserted into or updated in module, and inserted into module_version.
 * Publishing what is already there locks nothing.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/installation.h"
#include "core/quota.h"
#include "core/requirement.h"
#include "core/tenant.h"
#include "core/version_graph.h"
#include "fmgr.h"
#include "module/examination.h"
#include "module/script.h"
#include "module/signing_key.h"
#include "module/tag.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_publish_version);
PG_FUNCTION_INFO_V1(hotswap_publish_artifact);

#define ARTIFACT_LIMIT (64 * 1024 * 1024) /* bytes of one that is stored */

static DbStatement find_version =
	DB_STATEMENT("SELECT v.digest, t.status FROM hotswap.module_version v"
				 " JOIN hotswap.tenant t ON t.id = v.tenant_id"
				 " WHERE v.tenant_id = $1 AND v.module = $2 AND v.version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement insert_module = DB_STATEMENT(
	"INSERT INTO hotswap.module (tenant_id, name, is_graph) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
	UUIDOID, TEXTOID, BOOLOID);

static DbStatement lock_module = DB_STATEMENT(
	"SELECT is_graph, versions, history FROM hotswap.module WHERE tenant_id = $1 AND name = $2"
	" FOR NO KEY UPDATE",
	UUIDOID, TEXTOID);

static DbStatement update_module =
	DB_STATEMENT("UPDATE hotswap.module SET versions = $3, history = $4, requires = CASE"
				 " WHEN $5 IS NULL OR requires @> $5 THEN requires"
				 " ELSE ARRAY(SELECT unnest(requires) UNION SELECT unnest($5) ORDER BY 1) END"
				 " WHERE tenant_id = $1 AND name = $2",
				 UUIDOID, TEXTOID, INT4OID, BYTEAOID, TEXTARRAYOID);

static DbStatement insert_version = DB_STATEMENT(
	"INSERT INTO hotswap.module_version (tenant_id, module, version, digest, published_by,"
	" deploy_sql, verify_sql, revert_sql, install_sql, findings, findings_digest, ordinal, parents,"
	" install_digest, metadata, transactional, requires, artifact, artifact_digest, artifact_uri,"
	" artifact_size) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::json, $11, $12, $13, $14, $15, $16,"
	" $17, $18, $19, $20, $21)"
	" ON CONFLICT DO NOTHING",
	UUIDOID, TEXTOID, TEXTOID, BYTEAOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	BYTEAOID, INT4OID, TEXTARRAYOID, BYTEAOID, JSONBOID, BOOLOID, TEXTARRAYOID, BYTEAOID, BYTEAOID,
	TEXTOID, INT8OID);

/* A version as it was given. */
typedef struct NewVersion
{
	pg_uuid_t tenant;
	Version content;
	NullableDatum scripts[SCRIPT_COUNT]; /* text */
	List *parents; /* of names, in their order; no tags when the digest is known */
	Jsonb *metadata;
	char *findings; /* in the scripts, as they are kept */
	GivenSignature signature;
	NullableDatum artifact;      /* bytea: what is stored */
	NullableDatum artifact_size; /* bigint */
} NewVersion;

/* The row of the module that a version is added to. */
typedef struct ModuleRow
{
	int32 versions;
	bool has_history;
	uint8 history[DIGEST_LENGTH];
} ModuleRow;

/*
 * Fetches one script and keeps the argument itself to be stored, unless something was taken off it.  Only what has an
 * artifact may do without a deploy script.
 */
static void
read_script(FunctionCallInfo fcinfo, int n, const char *word, NewVersion *v, int script)
{
	char *text =
		script_argument(fcinfo, n, word, script == SCRIPT_DEPLOY && !v->content.has_artifact);

	v->content.scripts[script] = text;
	v->scripts[script] = fcinfo->args[n];
	if (text && strlen(text) + VARHDRSZ != toast_raw_datum_size(fcinfo->args[n].value))
		v->scripts[script].value = CStringGetTextDatum(text);
}

/* The argument of a SHA-256 in hex, which must be there. */
static void
read_artifact_digest(FunctionCallInfo fcinfo, int n, uint8 *digest)
{
	arg_require(fcinfo, n, "digest");
	(void) arg_digest(fcinfo, n, "digest", digest);
}

/* An artifact that is given: what is stored, and its digest; one that is given, too, must be the same. */
static void
read_artifact(FunctionCallInfo fcinfo, int n, NewVersion *v)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(n);
	size_t size = VARSIZE_ANY_EXHDR(bytes);
	uint8 given[DIGEST_LENGTH];

	if (size == 0 || size > ARTIFACT_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"artifact\" is out of range: %zu bytes", size),
						errdetail("It must have 1 to %d bytes.", ARTIFACT_LIMIT),
						errhint("Put it elsewhere, and give its \"uri\" and \"digest\".")));
	digest_plain(VARDATA_ANY(bytes), size, v->content.artifact_digest);
	v->artifact = (NullableDatum){ PointerGetDatum(bytes), false };
	v->artifact_size = (NullableDatum){ Int64GetDatum(size), false };
	if (PG_ARGISNULL(n + 2))
		return;
	read_artifact_digest(fcinfo, n + 2, given);
	if (memcmp(given, v->content.artifact_digest, DIGEST_LENGTH) != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"digest\" is not that of \"artifact\""),
						errdetail("The SHA-256 of what was given is %s.",
								  digest_hex(v->content.artifact_digest))));
}

/* The arguments artifact, uri, digest and size, from n on. */
static void
read_artifact_arguments(FunctionCallInfo fcinfo, int n, NewVersion *v)
{
	v->content.has_artifact = true;
	v->content.artifact_uri = arg_text_or_null(fcinfo, n + 1, "uri", URI_LIMIT);
	if (PG_ARGISNULL(n) == (v->content.artifact_uri == NULL))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("either \"artifact\" or \"uri\" must be given")));
	if (!PG_ARGISNULL(n))
	{
		read_artifact(fcinfo, n, v);
		return;
	}
	read_artifact_digest(fcinfo, n + 2, v->content.artifact_digest);
	if (PG_ARGISNULL(n + 3))
		return;
	if (PG_GETARG_INT64(n + 3) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"size\" must not be negative")));
	v->artifact_size = fcinfo->args[n + 3];
}

/* What goes with scripts must not be given without one. */
static void
require_deploy_script(const NewVersion *v)
{
	static const char *const words[] = { NULL, "verify_sql", "revert_sql", "install_sql" };

	if (v->content.scripts[SCRIPT_DEPLOY])
		return;
	for (int i = SCRIPT_VERIFY; i < SCRIPT_COUNT; i++)
		if (v->content.scripts[i])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("\"%s\" must not be given without \"deploy_sql\"", words[i])));
	if (!v->content.transactional)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"transactional\" must be true without \"deploy_sql\"")));
}

/* The arguments that say what a version is, deploy_sql and what follows it from n on. */
static void
read_content(FunctionCallInfo fcinfo, int n, NewVersion *v)
{
	v->content.module = arg_module(fcinfo, 0);
	v->content.name = arg_version(fcinfo, 1, "version");
	read_script(fcinfo, n, "deploy_sql", v, SCRIPT_DEPLOY);
	read_script(fcinfo, n + 1, "verify_sql", v, SCRIPT_VERIFY);
	read_script(fcinfo, n + 2, "revert_sql", v, SCRIPT_REVERT);
	v->signature = signature_arguments(fcinfo, n + 3);
	v->content.is_graph = !PG_ARGISNULL(n + 5);
	v->parents = arg_names(fcinfo, n + 5, "parents", VERSION_LIMIT);
	read_script(fcinfo, n + 6, "install_sql", v, SCRIPT_INSTALL);
	v->metadata = arg_object(fcinfo, n + 7, "metadata");
	v->content.transactional = arg_bool(fcinfo, n + 8, "transactional");
	v->content.requirements = requirement_arguments(fcinfo, n + 9, v->content.module);
	v->tenant = tenant_argument(fcinfo, n + 10);
	require_deploy_script(v);
	if (v->content.scripts[SCRIPT_INSTALL] && !v->content.is_graph)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"install_sql\" must not be given without \"parents\""),
						errdetail("A version that is complete in itself is its own installer.")));
	v->findings = examination_text(examine_scripts(&v->content, EXAMINE_BODIES));
}

static void
module_begin(NewVersion *v)
{
	memset(v, 0, sizeof(NewVersion));
	v->artifact.isnull = v->artifact_size.isnull = true;
}

/* Is the version there already?  Raises 23505 if it is, with other content. */
static bool
already_published(const NewVersion *new)
{
	const Version *v = &new->content;
	Datum args[] = { UUIDPGetDatum(&new->tenant), CStringGetTextDatum(v->module),
					 CStringGetTextDatum(v->name) };
	uint8 published[DIGEST_LENGTH];

	if (db_run(&find_version, args, NULL) == 0)
		return false;
	tenant_require_active(&new->tenant, db_text(0, 2));
	(void) db_digest(0, 1, published);
	if (memcmp(published, v->digest, DIGEST_LENGTH) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("version \"%s\" of module \"%s\" already exists with other content",
						v->name, v->module),
				 errdetail("The SHA-256 of what was published is %s, that of what was given is %s.",
						   digest_hex(published), digest_hex(v->digest)),
				 errhint("A version never changes; publish under a new one.")));
	return true;
}

/* Makes the module if it is new, and locks it; 55000 if its versions are of the other kind. */
static void
module_enter(const NewVersion *new, ModuleRow *row)
{
	const Version *v = &new->content;
	Datum args[] = { UUIDPGetDatum(&new->tenant), CStringGetTextDatum(v->module),
					 BoolGetDatum(v->is_graph) };

	if (db_run(&insert_module, args, NULL) > 0)
		quota_require(&new->tenant, QUOTA_MODULES);
	if (db_run(&lock_module, args, NULL) != 1)
		elog(ERROR, "module \"%s\" has disappeared", v->module);
	row->versions = db_int32(0, 2);
	row->has_history = db_digest(0, 3, row->history);
	if (db_bool(0, 1) == v->is_graph)
		return;
	if (v->is_graph)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the versions of module \"%s\" are complete in themselves", v->module),
				 errhint("Publish it without \"parents\", or under a new module.")));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the versions of module \"%s\" build on each other", v->module),
					errhint("Say in \"parents\" which versions it builds on.")));
}

/* The module has one more version. */
static void
module_count(const NewVersion *new, const ModuleRow *row)
{
	uint8 history[DIGEST_LENGTH];
	DbArgs args = db_args(&update_module);

	graph_history_next(row->has_history ? row->history : NULL, false, new->content.digest, history);
	db_arg_uuid(&args, &new->tenant);
	db_arg_text(&args, new->content.module);
	db_arg_int32(&args, row->versions + 1);
	db_arg_digest(&args, history);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(requirement_modules(new->content.requirements)),
				 new->content.requirements == NIL);
	(void) db_run_args(&args);
}

/* Stores the version; false if another session did before. */
static bool
version_insert(const NewVersion *new, int32 ordinal, const AuditActor *actor)
{
	const Version *v = &new->content;
	uint8 findings[DIGEST_LENGTH];
	uint8 installer[DIGEST_LENGTH];
	DbArgs args = db_args(&insert_version);

	version_digest_findings(v->digest, new->findings, findings);
	if (v->scripts[SCRIPT_INSTALL])
		digest_installer(v->digest, v->scripts[SCRIPT_INSTALL], installer);
	db_arg_uuid(&args, &new->tenant);
	db_arg_text(&args, v->module);
	db_arg_text(&args, v->name);
	db_arg_digest(&args, v->digest);
	db_arg_text(&args, actor->person);
	for (int i = 0; i < SCRIPT_COUNT; i++)
		db_arg_datum(&args, TEXTOID, new->scripts[i].value, new->scripts[i].isnull);
	db_arg_text(&args, new->findings);
	db_arg_digest(&args, findings);
	db_arg_int32(&args, ordinal);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(new->parents), !v->is_graph);
	db_arg_digest(&args, v->scripts[SCRIPT_INSTALL] ? installer : NULL);
	db_arg_jsonb(&args, new->metadata);
	db_arg_bool(&args, v->transactional);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(v->requirements), v->requirements == NIL);
	db_arg_datum(&args, BYTEAOID, new->artifact.value, new->artifact.isnull);
	db_arg_digest(&args, v->has_artifact ? v->artifact_digest : NULL);
	db_arg_text(&args, v->artifact_uri);
	db_arg_datum(&args, INT8OID, new->artifact_size.value, new->artifact_size.isnull);
	return db_run_args(&args) > 0;
}

static bool
module_insert(const NewVersion *new, const AuditActor *actor)
{
	ModuleRow row;

	tag_refuse_existing(&new->tenant, new->content.module, new->content.name);
	module_enter(new, &row);
	if (!version_insert(new, row.versions + 1, actor))
		return false;
	module_count(new, &row);
	quota_require(&new->tenant, QUOTA_STORED_BYTES);
	return true;
}

/* What a version builds on may be withdrawn, and published with other content, until the tenant is locked. */
static void
module_compute_digest(NewVersion *new)
{
	Version *v = &new->content;

	new->parents = version_resolve_all(&new->tenant, v->module, new->parents);
	v->parent_digests = version_parent_digests(&new->tenant, v->module, new->parents);
	version_digest(v, v->digest);
}

/* Stores the version, its signature, and their audit events, unless the same is already there. */
static void
module_publish(NewVersion *new)
{
	Version *v = &new->content;
	SignedVersion signed_version = { &new->tenant, v->module, v->name, v->digest, false };
	Call c;

	call_begin(&c, &new->tenant, CAPABILITY_DEPLOYER, "publish a version");
	module_compute_digest(new);
	if (!already_published(new))
	{
		installation_ensure();
		tenant_lock_for_change(&new->tenant);
		module_compute_digest(new);
		if (module_insert(new, &c.actor))
			audit_tenant(&c.actor, &new->tenant, "publish_version", NULL, NULL, NULL,
						 audit_detail("module", v->module, "version", v->name, "digest",
									  digest_hex(v->digest), NULL));
		else if (!already_published(new))
			elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", v->name, v->module);
	}
	if (new->signature.key)
		version_sign(&signed_version, &new->signature, &c.actor);
	call_end(&c);
}

/*
 * publish_version(module text, version text, deploy_sql text, verify_sql text, revert_sql text,
 *		signature bytea, signing_key text, parents text[], install_sql text, metadata jsonb,
 *		transactional boolean, requires text[], tenant uuid) returns text
 *
 * In: scripts of at most 16 MB; verify_sql, revert_sql, signature with signing_key, install_sql, and
 * tenant may be NULL; parents: at most 100 versions of the module, NULL: the version is complete in itself;
 * metadata: an object of at most 64 kB, which is not part of the digest; transactional: false if each statement
 * is to be a transaction of its own; requires: at most 100 requirements (requirement.c).  Out: the version's
 * SHA-256 in hex.  Errors: 22023, 42601 and 0A000 of the scripts, 23505 other content, 53400 a quota is exceeded, P0002 no such
 * tenant, parent or key, 55000 the module's versions are of the other kind or the key does not count,
 * YH003, YH010.  Locks the tenant row and the module row; writes module, module_version,
 * version_signature and the audit log, nothing where the same content and signature are there.
 */
Datum
hotswap_publish_version(PG_FUNCTION_ARGS)
{
	NewVersion version;

	args_require_count(fcinfo, 13);
	module_begin(&version);
	read_content(fcinfo, 2, &version);
	module_publish(&version);
	PG_RETURN_TEXT_P(cstring_to_text(digest_hex(version.content.digest)));
}

/*
 * publish_artifact(module text, version text, artifact bytea, uri text, digest text, size bigint,
 *		deploy_sql text, and what follows it in publish_version()) returns text
 *
 * Like publish_version(), of what agents install.  In: artifact of at most 64 MB, or the uri where it is, with its
 * SHA-256 in hex and, unless NULL, its size; deploy_sql may be NULL.  Out: the version's SHA-256 in hex, which covers
 * that of the artifact.  Errors, locks and writes: as there.
 */
Datum
hotswap_publish_artifact(PG_FUNCTION_ARGS)
{
	NewVersion version;

	args_require_count(fcinfo, 17);
	module_begin(&version);
	read_artifact_arguments(fcinfo, 2, &version);
	read_content(fcinfo, 6, &version);
	module_publish(&version);
	PG_RETURN_TEXT_P(cstring_to_text(digest_hex(version.content.digest)));
}
