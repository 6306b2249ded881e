/*
 * signing_key.c
 *		Signing keys of a tenant, and the signatures of its versions.
 *
 * A key is added, and revoked once; nothing else of it changes.  A version has at most one
 * signature by each key, and they are only added to, so that a version can be signed anew when a
 * key is revoked.  A signature counts while its key is valid and not revoked, whenever it was
 * given.
 *
 * Locks: tenant row, then the key's row.  Whoever adds a signature holds the tenant row too, so a
 * key that is being revoked takes no more of them.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/requirement.h"
#include "core/tenant.h"
#include "module/signature.h"
#include "module/signing_key.h"
#include "module/tag.h"
#include "module/version.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(hotswap_add_signing_key);
PG_FUNCTION_INFO_V1(hotswap_revoke_signing_key);
PG_FUNCTION_INFO_V1(hotswap_module_signing_payload);

static DbStatement similar_keys = DB_STATEMENT(
	"SELECT name, name = $2 AND algorithm = $3::hotswap.signature_algorithm"
	" AND fingerprint = $4 AND valid = coalesce($5, '(,)'), revoked_at IS NOT NULL,"
	" fingerprint = $4"
	" FROM hotswap.signing_key WHERE tenant_id = $1 AND (name = $2 OR fingerprint = $4)"
	" ORDER BY name <> $2 LIMIT 1",
	UUIDOID, TEXTOID, TEXTOID, BYTEAOID, TSTZRANGEOID);

static DbStatement insert_key = DB_STATEMENT(
	"INSERT INTO hotswap.signing_key (tenant_id, name, algorithm, public_key, fingerprint, valid,"
	" created_by) VALUES ($1, $2, $3::hotswap.signature_algorithm, $4, $5, coalesce($6, '(,)'), $7)"
	" RETURNING valid::text",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, TSTZRANGEOID, TEXTOID);

static DbStatement lock_key = DB_STATEMENT("SELECT revoked_at FROM hotswap.signing_key"
										   " WHERE tenant_id = $1 AND name = $2 FOR NO KEY UPDATE",
										   UUIDOID, TEXTOID);

static DbStatement revoke_key =
	DB_STATEMENT("UPDATE hotswap.signing_key SET revoked_at = pg_catalog.clock_timestamp(),"
				 " revoked_by = $3, revoke_reason = $4 WHERE tenant_id = $1 AND name = $2",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID);

#define SIGNATURE_IN(table)                                                                     \
	DB_STATEMENT("SELECT 1 FROM hotswap." table                                                 \
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3 AND signing_key = $4", \
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID)
#define VERSION_WITH(digest)                                                                 \
	DB_STATEMENT("SELECT 1 FROM hotswap.module_version WHERE tenant_id = $1 AND module = $2" \
				 " AND version = $3 AND " digest " = $4",                                    \
				 UUIDOID, TEXTOID, TEXTOID, BYTEAOID)
#define INSERT_SIGNATURE(table)                                                     \
	DB_STATEMENT("INSERT INTO hotswap." table                                       \
				 " (tenant_id, module, version, signing_key, signature, signed_by)" \
				 " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",         \
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, TEXTOID)

/* Of versions, and of installers. */
static DbStatement find_signature[] = { SIGNATURE_IN("version_signature"),
										SIGNATURE_IN("installer_signature") };
static DbStatement find_version[] = { VERSION_WITH("digest"), VERSION_WITH("install_digest") };
static DbStatement insert_signature[] = { INSERT_SIGNATURE("version_signature"),
										  INSERT_SIGNATURE("installer_signature") };

/* A key as add_signing_key() was given it. */
typedef struct NewKey
{
	pg_uuid_t tenant;
	char *name;
	SignatureAlgorithm algorithm;
	SignatureKey key;
	Datum valid; /* tstzrange */
	bool always; /* no range was given */
} NewKey;

/* ---- keys ---- */

/* How many PEM blocks there are. */
static int
count_blocks(const char *pem)
{
	int count = 0;

	while ((pem = strstr(pem, "-----BEGIN ")) != NULL)
	{
		count++;
		pem++;
	}
	return count;
}

static void
read_key(FunctionCallInfo fcinfo, int n, NewKey *k)
{
	char *pem = arg_text(fcinfo, n, "public_key", SIGNATURE_PEM_LIMIT - 1);

	if (strstr(pem, "PRIVATE KEY-----") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"public_key\" is a private key"),
				 errhint("Do not use that key any more, since the statement may have been logged."
						 " \"openssl pkey -pubout\" writes the public key of another one.")));
	if (count_blocks(pem) > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"public_key\" holds more than one key")));
	if (!signature_read_key(k->algorithm, pem, &k->key))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"public_key\" is not a key for algorithm \"%s\": %s",
						signature_algorithms[k->algorithm], k->key.problem),
				 errhint("Give what \"openssl pkey -pubout\" writes, a PUBLIC KEY in PEM form.")));
}

static void
read_valid(FunctionCallInfo fcinfo, int n, NewKey *k)
{
	k->always = PG_ARGISNULL(n);
	if (k->always)
		return;
	k->valid = PG_GETARG_DATUM(n);
	if (RangeIsEmpty(DatumGetRangeTypeP(k->valid)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"valid\" must not be empty")));
}

/*
 * Is the key there already?  Raises 23505 if what is there is not the same, 55000 if it is revoked.
 */
static bool
already_added(const NewKey *k)
{
	DbArgs args = db_args(&similar_keys);
	char *name;

	db_arg_uuid(&args, &k->tenant);
	db_arg_text(&args, k->name);
	db_arg_text(&args, signature_algorithms[k->algorithm]);
	db_arg_digest(&args, k->key.fingerprint);
	db_arg_datum(&args, TSTZRANGEOID, k->valid, k->always);
	if (db_run_args(&args) == 0)
		return false;
	name = db_text(0, 1);
	if (strcmp(name, k->name) != 0)
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("key already exists as signing key \"%s\"", name)));
	if (!db_bool(0, 2))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("signing key \"%s\" already exists and differs", name),
						db_bool(0, 4) ? errdetail("It is valid at other times.") :
										errdetail("It is another key."),
						errhint("A key never changes; add it under a new name.")));
	if (db_bool(0, 3))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("signing key \"%s\" is revoked", name),
						errhint("Make a new key, and add it under a new name.")));
	return true;
}

static void
add_key(const NewKey *k, const AuditActor *actor)
{
	DbArgs args = db_args(&insert_key);

	if (already_added(k))
		return;
	db_arg_uuid(&args, &k->tenant);
	db_arg_text(&args, k->name);
	db_arg_text(&args, signature_algorithms[k->algorithm]);
	db_arg_text(&args, k->key.pem);
	db_arg_digest(&args, k->key.fingerprint);
	db_arg_datum(&args, TSTZRANGEOID, k->valid, k->always);
	db_arg_text(&args, actor->person);
	(void) db_run_args(&args);
	audit_tenant(actor, &k->tenant, "add_signing_key", NULL, NULL, NULL,
				 audit_detail("name", k->name, "algorithm", signature_algorithms[k->algorithm],
							  "fingerprint", digest_hex(k->key.fingerprint), "valid", db_text(0, 1),
							  NULL));
}

/*
 * add_signing_key(name text, algorithm text, public_key text, valid tstzrange, tenant uuid)
 *		returns text
 *
 * In: valid and tenant may be NULL.  Out: the key's fingerprint in hex.  Errors: 22023, 23505,
 * 55000 it is revoked, P0002 no such tenant, 42501, YH003.  Locks the tenant row; writes the key
 * and the audit log, nothing where the same key is there.
 */
Datum
hotswap_add_signing_key(PG_FUNCTION_ARGS)
{
	NewKey *k = palloc0(sizeof(NewKey));
	Call c;

	k->name = arg_identifier(fcinfo, 0, "name");
	k->algorithm =
		arg_label(fcinfo, 1, "algorithm", signature_algorithms, SIGNATURE_ALGORITHM_COUNT);
	read_key(fcinfo, 2, k);
	read_valid(fcinfo, 3, k);
	k->tenant = tenant_argument(fcinfo, 4);
	call_begin_change(&c, &k->tenant, CAPABILITY_ADMIN, "add a signing key");
	add_key(k, &c.actor);
	call_end(&c);
	PG_RETURN_TEXT_P(cstring_to_text(digest_hex(k->key.fingerprint)));
}

/*
 * revoke_signing_key(name text, reason text, tenant uuid)
 *
 * Errors: 22023, P0002 no such key or tenant, 55000 it is revoked, 42501, YH003.  Locks the tenant
 * row and the key; writes the key and the audit log.
 */
Datum
hotswap_revoke_signing_key(PG_FUNCTION_ARGS)
{
	char *name = arg_text(fcinfo, 0, "name", NAME_LIMIT);
	char *reason = arg_text(fcinfo, 1, "reason", REASON_LIMIT);
	pg_uuid_t tenant = tenant_argument(fcinfo, 2);
	Datum key[] = { UUIDPGetDatum(&tenant), CStringGetTextDatum(name) };
	DbArgs args = db_args(&revoke_key);
	Call c;

	call_begin_change_living(&c, &tenant, CAPABILITY_ADMIN, "revoke a signing key");
	if (db_run(&lock_key, key, NULL) == 0)
		signing_key_refuse_missing(name);
	if (!db_isnull(0, 1))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("signing key \"%s\" is already revoked", name),
						errdetail("It was revoked at %s.", timestamptz_to_str(db_time(0, 1, 0)))));
	db_arg_uuid(&args, &tenant);
	db_arg_text(&args, name);
	db_arg_text(&args, c.actor.person);
	db_arg_text(&args, reason);
	(void) db_run_args(&args);
	audit_tenant(&c.actor, &tenant, "revoke_signing_key", NULL, NULL, reason,
				 audit_detail("name", name, NULL));
	call_end(&c);
	PG_RETURN_VOID();
}

/* ---- what is signed ---- */

/*
 * module_signing_payload(module text, version text, deploy_sql text, verify_sql text,
 *		revert_sql text, parents text[], install_sql text, transactional boolean, requires text[],
 *		digest text, uri text, tenant uuid) returns text
 *
 * In: digest and uri: of an artifact; with it there need be no deploy script.  Out: what signature_payload() makes
 * of them.  Errors: 22023, P0002 no such parent.  Reads the digests of the parents, for who may publish.
 */
Datum
hotswap_module_signing_payload(PG_FUNCTION_ARGS)
{
	Version v = { 0 };
	List *parents;
	pg_uuid_t tenant;

	args_require_count(fcinfo, 12);
	v.module = arg_module(fcinfo, 0);
	v.name = arg_version(fcinfo, 1, "version");
	v.is_graph = !PG_ARGISNULL(5);
	parents = arg_names(fcinfo, 5, "parents", VERSION_LIMIT);
	v.transactional = arg_bool(fcinfo, 7, "transactional");
	tenant = tenant_argument(fcinfo, 11);
	v.requirements = requirement_arguments(fcinfo, 8, v.module);
	v.artifact_uri = arg_text_or_null(fcinfo, 10, "uri", URI_LIMIT);
	if (v.artifact_uri)
		arg_require(fcinfo, 9, "digest");
	v.has_artifact = arg_digest(fcinfo, 9, "digest", v.artifact_digest);
	v.scripts[SCRIPT_DEPLOY] = script_argument(fcinfo, 2, "deploy_sql", !v.has_artifact);
	v.scripts[SCRIPT_VERIFY] = script_argument(fcinfo, 3, "verify_sql", false);
	v.scripts[SCRIPT_REVERT] = script_argument(fcinfo, 4, "revert_sql", false);
	v.scripts[SCRIPT_INSTALL] = script_argument(fcinfo, 6, "install_sql", false);
	if (parents != NIL)
	{
		Call c;

		call_begin(&c, &tenant, CAPABILITY_DEPLOYER, "compute the digest of a version");
		parents = version_resolve_all(&tenant, v.module, parents);
		v.parent_digests = version_parent_digests(&tenant, v.module, parents);
		version_digest(&v, v.digest);
		call_end(&c);
	}
	else
		version_digest(&v, v.digest);
	PG_RETURN_TEXT_P(
		cstring_to_text(signature_payload(&tenant, v.module, v.name, v.digest, false)));
}

/* The arguments n (signature) and n + 1 (signing_key) of a function; both are given, or neither. */
GivenSignature
signature_arguments(FunctionCallInfo fcinfo, int n)
{
	GivenSignature given = { NULL, NULL };

	if (PG_ARGISNULL(n) && PG_ARGISNULL(n + 1))
		return given;
	if (PG_ARGISNULL(n) || PG_ARGISNULL(n + 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"signature\" and \"signing_key\" must be given together")));
	given.key = arg_text(fcinfo, n + 1, "signing_key", NAME_LIMIT);
	given.value = PG_GETARG_BYTEA_PP(n);
	if (VARSIZE_ANY_EXHDR(given.value) > SIGNATURE_SIZE_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"signature\" is too large: %zu bytes",
							   (size_t) VARSIZE_ANY_EXHDR(given.value)),
						errdetail("At most %d bytes are allowed.", SIGNATURE_SIZE_LIMIT)));
	return given;
}

/* ---- signatures ---- */

/* Locks the tenant row; raises P0002 if the version was withdrawn before. */
static void
lock_version(const SignedVersion *v)
{
	Datum args[] = { UUIDPGetDatum(v->tenant), CStringGetTextDatum(v->module),
					 CStringGetTextDatum(v->version), digest_datum(v->digest) };

	tenant_lock_for_change(v->tenant);
	if (db_run_newest(&find_version[v->is_installer], args, NULL) == 0)
		version_refuse_missing(v->module, v->version);
}

/*
 * Stores a signature of a version or an installer, which is there, with its audit event; nothing if the key has
 * signed it before.  Raises P0002 no such key, 55000 the key does not count now, YH010 it does not
 * verify.  Locks the tenant row.
 */
void
version_sign(const SignedVersion *v, const GivenSignature *given, const AuditActor *actor)
{
	Datum key[] = { UUIDPGetDatum(v->tenant), CStringGetTextDatum(v->module),
					CStringGetTextDatum(v->version), CStringGetTextDatum(given->key) };
	DbArgs args = db_args(&insert_signature[v->is_installer]);
	bool is_new = db_run(&find_signature[v->is_installer], key, NULL) == 0;

	if (is_new)
		lock_version(v);
	signature_require_good(v, given);
	if (!is_new)
		return;
	db_arg_uuid(&args, v->tenant);
	db_arg_text(&args, v->module);
	db_arg_text(&args, v->version);
	db_arg_text(&args, given->key);
	db_arg_datum(&args, BYTEAOID, PointerGetDatum(given->value), false);
	db_arg_text(&args, actor->person);
	if (db_run_args(&args) > 0)
		audit_tenant(actor, v->tenant, "sign_version", NULL, NULL, NULL,
					 audit_detail("module", v->module, "version", v->version, "signing_key",
								  given->key, "digest", digest_hex(v->digest),
								  v->is_installer ? "script" : NULL, "installer", NULL));
}
