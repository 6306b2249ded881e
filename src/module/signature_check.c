/*
 * signature_check.c
 *		Is a signature good now, and is a version signed well enough?
 *
 * A signature counts while its key is valid and not revoked, whenever it was given.  Locks nothing.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/db.h"
#include "base/errors.h"
#include "base/label.h"
#include "catalog/pg_type.h"
#include "module/signature.h"
#include "module/signature_check.h"
#include "utils/builtins.h"

/* Why a key does not count now, or NULL; the same words everywhere. */
#define KEY_PROBLEM                                                                               \
	" CASE WHEN k.revoked_at IS NOT NULL THEN 'signing key \"' || k.name || '\" was revoked at '" \
	" || k.revoked_at || ': ' || k.revoke_reason"                                                 \
	" WHEN NOT k.valid @> pg_catalog.clock_timestamp() THEN 'signing key \"' || k.name"           \
	" || '\" is valid in ' || k.valid || ' only' END"

static DbStatement find_key =
	DB_STATEMENT("SELECT k.name, k.algorithm::text, k.public_key," KEY_PROBLEM
				 " FROM hotswap.signing_key k WHERE k.tenant_id = $1 AND k.name = $2",
				 UUIDOID, TEXTOID);

/* those that count first */
#define SIGNATURES_IN(table)                                                                  \
	DB_STATEMENT(                                                                             \
		"SELECT q.* FROM (SELECT k.name, k.algorithm::text, k.public_key," KEY_PROBLEM        \
		" AS problem, s.signature FROM hotswap." table " s"                                   \
		" JOIN hotswap.signing_key k ON k.tenant_id = s.tenant_id AND k.name = s.signing_key" \
		" WHERE s.tenant_id = $1 AND s.module = $2 AND s.version = $3) q"                     \
		" ORDER BY q.problem IS NOT NULL, q.name",                                            \
		UUIDOID, TEXTOID, TEXTOID)

static DbStatement version_signatures = SIGNATURES_IN("version_signature");
static DbStatement installer_signatures = SIGNATURES_IN("installer_signature");

/* A signature and the key it is by. */
typedef struct StoredSignature
{
	char *key;
	SignatureAlgorithm algorithm;
	char *pem;
	char *problem; /* NULL: the key counts now */
	bytea *value;  /* NULL: a key alone */
} StoredSignature;

/* Raises P0002. */
void
signing_key_refuse_missing(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND), errmsg("signing key \"%s\" does not exist", name),
			 errhint("Add it with hotswap.add_signing_key().")));
}

static StoredSignature
read_row(uint64 row)
{
	StoredSignature s;

	s.key = db_text(row, 1);
	s.algorithm = label_parse(db_text(row, 2), signature_algorithms, SIGNATURE_ALGORITHM_COUNT);
	s.pem = db_text(row, 3);
	s.problem = db_text(row, 4);
	s.value = NULL;
	return s;
}

static bool
verifies(const StoredSignature *s, const SignedVersion *v)
{
	return signature_verify(s->algorithm, s->pem,
							signature_payload(v->tenant, v->module, v->version, v->digest,
											  v->is_installer),
							(const uint8 *) VARDATA_ANY(s->value), VARSIZE_ANY_EXHDR(s->value));
}

/* What is signed, in words. */
static char *
signed_words(const SignedVersion *v)
{
	return psprintf(v->is_installer ? "the installer of version \"%s\" of module \"%s\"" :
									  "version \"%s\" of module \"%s\"",
					v->version, v->module);
}

/* Raises P0002, 55000 or YH010 unless the signature is good now. */
void
signature_require_good(const SignedVersion *v, const GivenSignature *given)
{
	Datum args[] = { UUIDPGetDatum(v->tenant), CStringGetTextDatum(given->key) };
	StoredSignature s;

	if (db_run_newest(&find_key, args, NULL) == 0)
		signing_key_refuse_missing(given->key);
	s = read_row(0);
	if (s.problem)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg_internal("%s", s.problem)));
	s.value = given->value;
	if (!verifies(&s, v))
		ereport(
			ERROR,
			(errcode(ERRCODE_HOTSWAP_SIGNATURE),
			 errmsg("signature of %s by key \"%s\" does not verify", signed_words(v), s.key),
			 v->is_installer ?
				 errdetail("Its SHA-256 is %s.", digest_hex(v->digest)) :
				 errdetail("The SHA-256 of the scripts is %s.", digest_hex(v->digest)),
			 v->is_installer ?
				 errhint(
					 "What has to be signed is returned by hotswap.installer_signing_payload().") :
				 errhint(
					 "What has to be signed is returned by hotswap.module_signing_payload().")));
}

/* key: of a signature that does not count, problem: why not, NULL where it does not verify. */
static void
refuse_unsigned(const SignedVersion *v, const char *environment, const char *key,
				const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_HOTSWAP_SIGNATURE),
			 problem ?
				 errmsg("environment \"%s\" requires a signature, and %s has none that counts: %s",
						environment, signed_words(v), problem) :
			 key ?
				 errmsg("environment \"%s\" requires a signature, and %s has one by key \"%s\" that"
						" does not verify",
						environment, signed_words(v), key) :
				 errmsg("environment \"%s\" requires a signature, and %s has none", environment,
						signed_words(v)),
			 v->is_installer ? errhint("Sign it with a key that counts: publish the same installer"
									   " again with the signature.") :
							   errhint("Sign it with a key that counts: publish the same version"
									   " again with the signature.")));
}

/*
 * Returns the key of a signature that counts now and, with a digest, verifies; raises YH010 if the
 * version has none.  Locks nothing.
 */
char *
version_require_signature(const SignedVersion *v, const char *environment)
{
	Datum args[] = { UUIDPGetDatum(v->tenant), CStringGetTextDatum(v->module),
					 CStringGetTextDatum(v->version) };
	uint64 count =
		db_run_newest(v->is_installer ? &installer_signatures : &version_signatures, args, NULL);
	char *key = NULL;
	char *problem = NULL;

	for (uint64 i = 0; i < count; i++)
	{
		StoredSignature s = read_row(i);
		bool isnull;

		s.value = DatumGetByteaPP(db_datum(i, 5, &isnull));
		if (s.problem == NULL && (v->digest == NULL || verifies(&s, v)))
			return s.key;
		if (key == NULL)
		{
			key = s.key;
			problem = s.problem;
		}
	}
	refuse_unsigned(v, environment, key, problem);
	return NULL;
}
