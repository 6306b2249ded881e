/*
 * idempotency.c
 *		Idempotency keys: one key, one request, one result.
 *
 * The claim is an insert into the primary key: of several sessions that bring one key at once, one
 * inserts and the others wait for its transaction.  If it commits they find its result; if it rolls
 * back, one of them inserts.  A key whose time is over is taken over in the same statement.
 *
 * In REPEATABLE READ and above a key that somebody else committed after the snapshot raises 40001.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "db.h"
#include "digest.h"
#include "errors.h"
#include "guc.h"
#include "idempotency.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* A key can be purged between our failed insert and our look-up, but hardly this often. */
#define CLAIM_TRIES 10

static DbStatement find_key =
	DB_STATEMENT("SELECT fingerprint, deployment_id FROM hotswap.idempotency_key"
				 " WHERE tenant_id = $1 AND scope = $2 AND key = $3 AND expires_at > $4",
				 UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID);

static DbStatement claim_key =
	DB_STATEMENT("INSERT INTO hotswap.idempotency_key AS k"
				 " (tenant_id, scope, key, fingerprint, deployment_id, expires_at)"
				 " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, scope, key) DO UPDATE"
				 " SET fingerprint = excluded.fingerprint, deployment_id = excluded.deployment_id,"
				 " expires_at = excluded.expires_at WHERE k.expires_at <= $7",
				 UUIDOID, TEXTOID, TEXTOID, BYTEAOID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID);

/* Looks a living key up: true and its deployment, or false. */
bool
idempotency_find(const pg_uuid_t *tenant, const char *scope, const char *key,
				 const uint8 *fingerprint, pg_uuid_t *deployment)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(scope), CStringGetTextDatum(key),
					 TimestampTzGetDatum(GetCurrentTimestamp()) };
	bytea *stored;
	bool isnull;

	if (db_run(&find_key, args, NULL) == 0)
		return false;
	stored = DatumGetByteaPP(db_datum(0, 1, &isnull));
	*deployment = db_uuid(0, 2);
	if (VARSIZE_ANY_EXHDR(stored) != DIGEST_LENGTH ||
		memcmp(VARDATA_ANY(stored), fingerprint, DIGEST_LENGTH) != 0)
		ereport(ERROR, (errcode(ERRCODE_HOTSWAP_KEY_REUSED),
						errmsg("idempotency key \"%s\" was used with another request", key),
						errdetail("Its request led to deployment %s.",
								  DatumGetCString(
									  DirectFunctionCall1(uuid_out, UUIDPGetDatum(deployment)))),
						errhint("Send the same arguments again, or use another key.")));
	return true;
}

/*
 * Claims a key for *deployment: true.  If somebody else has it: false, and *deployment is theirs.
 * May wait for the transaction of a concurrent claim.
 */
bool
idempotency_claim(const pg_uuid_t *tenant, const char *scope, const char *key,
				  const uint8 *fingerprint, pg_uuid_t *deployment)
{
	for (int i = 0; i < CLAIM_TRIES; i++)
	{
		TimestampTz now = GetCurrentTimestamp();
		Datum args[] = { UUIDPGetDatum(tenant),
						 CStringGetTextDatum(scope),
						 CStringGetTextDatum(key),
						 digest_datum(fingerprint),
						 UUIDPGetDatum(deployment),
						 TimestampTzGetDatum(TimestampTzPlusMilliseconds(
							 now, hotswap_idempotency_ttl * INT64CONST(1000))),
						 TimestampTzGetDatum(now) };

		if (db_run(&claim_key, args, NULL) > 0)
			return true;
		if (idempotency_find(tenant, scope, key, fingerprint, deployment))
			return false;
	}
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not claim idempotency key \"%s\"", key)));
}
