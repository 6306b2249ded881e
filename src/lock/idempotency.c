/*
 * idempotency.c
 *		Idempotency keys: one key, one request, one result; for deploy(), and as
 *		claim_idempotency_key(), store_idempotent_response() and release_idempotency_claim() for the
 *		functions of applications.
 *
 * The claim is an insert into the primary key: of several sessions that bring one key at once, one
 * inserts and the others wait for its transaction.  If it commits they find its result; if it rolls
 * back, one of them inserts.  A key whose time is over is taken over in the same statement.
 *
 * An application may ask without waiting.  Whether a transaction that is open has written the key
 * is seen by a dirty look-up of the primary key.  So that nobody claims it between that and the
 * insert, applications do both under LOCK_KEY, and release it right after: a transaction may claim
 * any number of keys.  Those that wait have LOCK_KEY_QUEUE while they do, taken before LOCK_KEY, so
 * that they come in their order.
 *
 * In REPEATABLE READ and above a key that somebody else committed after the snapshot raises 40001.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "base/errors.h"
#include "base/guc.h"
#include "base/time.h"
#include "base/uuid.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/installation.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lock/idempotency.h"
#include "miscadmin.h"
#include "shm/advisory.h"
#include "shm/give_way.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* A key can be purged between our failed insert and our look-up, but hardly this often. */
#define CLAIM_TRIES 10

#define KEY_LIMIT 255                /* characters of a scope or key */
#define RESPONSE_LIMIT (1024 * 1024) /* bytes in text form */

PG_FUNCTION_INFO_V1(hotswap_claim_idempotency_key);
PG_FUNCTION_INFO_V1(hotswap_store_idempotent_response);
PG_FUNCTION_INFO_V1(hotswap_release_idempotency_claim);

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

/* The primary key. */
static void
arg_name(DbArgs *args, const pg_uuid_t *tenant, const char *scope, const char *key)
{
	db_arg_uuid(args, tenant);
	db_arg_text(args, scope);
	db_arg_text(args, key);
}

/* Looks a living key up: true and its deployment, or false. */
bool
idempotency_find(const pg_uuid_t *tenant, const char *scope, const char *key,
				 const uint8 *fingerprint, pg_uuid_t *deployment)
{
	DbArgs args = db_args(&find_key);
	uint8 stored[DIGEST_LENGTH];

	arg_name(&args, tenant, scope, key);
	db_arg_time(&args, GetCurrentTimestamp());
	if (db_run_args(&args) == 0)
		return false;
	(void) db_digest(0, 1, stored);
	*deployment = db_uuid(0, 2);
	if (memcmp(stored, fingerprint, DIGEST_LENGTH) != 0)
		ereport(ERROR, (errcode(ERRCODE_HOTSWAP_KEY_REUSED),
						errmsg("idempotency key \"%s\" was used with another request", key),
						errdetail("Its request led to deployment \"%s\".", uuid_text(deployment)),
						errhint("Send the same arguments again, or use another key.")));
	return true;
}

/* When a key that is claimed now is forgotten, unless somebody says otherwise. */
static TimestampTz
default_expiry(TimestampTz now)
{
	return TimestampTzPlusMilliseconds(now, hotswap_idempotency_ttl * INT64CONST(1000));
}

pg_noreturn static void
refuse_claim(const char *key)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not claim idempotency key \"%s\"", key)));
}

typedef struct Insert
{
	DbArgs args;
	bool done;
} Insert;

static void
run_insert(void *arg)
{
	Insert *insert = arg;

	insert->done = db_run_args(&insert->args) > 0;
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
		Insert insert = { .args = db_args(&claim_key) };

		arg_name(&insert.args, tenant, scope, key);
		db_arg_digest(&insert.args, fingerprint);
		db_arg_uuid(&insert.args, deployment);
		db_arg_time(&insert.args, default_expiry(now));
		db_arg_time(&insert.args, now);
		give_way_while(run_insert, &insert);
		if (insert.done)
			return true;
		if (idempotency_find(tenant, scope, key, fingerprint, deployment))
			return false;
	}
	refuse_claim(key);
}

/* ---- for applications ---- */

static DbStatement find_response =
	DB_STATEMENT("SELECT fingerprint, response FROM hotswap.idempotency_key"
				 " WHERE tenant_id = $1 AND scope = $2 AND key = $3 AND expires_at > $4",
				 UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID);

static DbStatement claim_for_response = DB_STATEMENT(
	"INSERT INTO hotswap.idempotency_key AS k (tenant_id, scope, key, fingerprint, expires_at)"
	" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, scope, key) DO UPDATE"
	" SET fingerprint = excluded.fingerprint, deployment_id = NULL, response = NULL,"
	" expires_at = excluded.expires_at WHERE k.expires_at <= $6",
	UUIDOID, TEXTOID, TEXTOID, BYTEAOID, TIMESTAMPTZOID, TIMESTAMPTZOID);

static DbStatement store_response = DB_STATEMENT(
	"UPDATE hotswap.idempotency_key SET response = $4 WHERE tenant_id = $1 AND scope = $2"
	" AND key = $3 AND expires_at > $5 AND response IS NULL",
	UUIDOID, TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID);

static DbStatement release_claim =
	DB_STATEMENT("DELETE FROM hotswap.idempotency_key WHERE tenant_id = $1 AND scope = $2"
				 " AND key = $3 AND response IS NULL",
				 UUIDOID, TEXTOID, TEXTOID);

typedef struct Claim
{
	pg_uuid_t tenant;
	char *scope;
	char *key;
	uint8 fingerprint[DIGEST_LENGTH];
	TimestampTz expires_at;
	bool wait;

	bool is_new;
	bool in_progress;
	Jsonb *response; /* NULL: none */
} Claim;

static void
arg_scope_and_key(FunctionCallInfo fcinfo, char **scope, char **key)
{
	*scope = arg_text(fcinfo, 0, "scope", KEY_LIMIT);
	*key = arg_text(fcinfo, 1, "key", KEY_LIMIT);
	if (strcmp(*scope, "deploy") == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("scope \"deploy\" is reserved for hotswap.deploy()"),
						errhint("Use another one.")));
}

static Jsonb *
arg_jsonb(FunctionCallInfo fcinfo, int n, const char *word, size_t limit)
{
	Jsonb *value;

	arg_require(fcinfo, n, word);
	value = PG_GETARG_JSONB_P(n);
	if (strlen(jsonb_text(value)) > limit)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is too large: %zu bytes", word, strlen(jsonb_text(value))),
						errdetail("At most %zu bytes are allowed.", limit)));
	return value;
}

/* When a key that is claimed now is forgotten. */
static TimestampTz
arg_expiry(FunctionCallInfo fcinfo, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	if (PG_ARGISNULL(n))
		return default_expiry(now);
	end = time_after(now, PG_GETARG_INTERVAL_P(n));
	if (end <= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"ttl\" must be positive")));
	return end;
}

/* Inside a scope: looks the key up; the result is to be read. */
static bool
find_response_of(const Claim *c)
{
	DbArgs args = db_args(&find_response);

	arg_name(&args, &c->tenant, c->scope, c->key);
	db_arg_time(&args, GetCurrentTimestamp());
	return db_run_args(&args) > 0;
}

/* Inside a scope: is the key there?  Raises YH001 when it was used with another request. */
static bool
read_response(Claim *c)
{
	uint8 stored[DIGEST_LENGTH];
	Datum response;
	bool isnull;

	if (!find_response_of(c))
		return false;
	(void) db_digest(0, 1, stored);
	if (memcmp(stored, c->fingerprint, DIGEST_LENGTH) != 0)
		ereport(ERROR, (errcode(ERRCODE_HOTSWAP_KEY_REUSED),
						errmsg("idempotency key \"%s\" was used with another request", c->key),
						errhint("Send the same request again, or use another key.")));
	response = db_datum(0, 2, &isnull);
	c->in_progress = isnull;
	c->response = isnull ? NULL : (Jsonb *) DatumGetPointer(SPI_datumTransfer(response, false, -1));
	return true;
}

/* Of the locks of the key: LOCK_KEY or LOCK_KEY_QUEUE. */
static void
key_tag(const Claim *c, LockSpace space, LOCKTAG *tag)
{
	pg_cryptohash_ctx *ctx = digest_begin();
	uint8 hash[DIGEST_LENGTH];

	digest_bytes(ctx, c->tenant.data, UUID_LEN);
	digest_field(ctx, c->scope);
	digest_field(ctx, c->key);
	digest_end(ctx, hash);
	lock_tag(tag, space, hash, DIGEST_LENGTH);
}

/* Another transaction that is open and has written or deleted the row of the key, or none. */
static TransactionId
find_claimer(const Claim *c)
{
	Oid schema = get_namespace_oid("hotswap", false);
	Relation table = table_open(get_relname_relid("idempotency_key", schema), AccessShareLock);
	Oid primary_key = get_relname_relid("idempotency_key_pkey", schema);
	TransactionId result = InvalidTransactionId;
	SnapshotData dirty;
	ScanKeyData keys[3];
	SysScanDesc scan;

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid, InvalidOid, F_UUID_EQ,
						   UUIDPGetDatum(&c->tenant));
	ScanKeyEntryInitialize(&keys[1], 0, 2, BTEqualStrategyNumber, InvalidOid, DEFAULT_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(c->scope));
	ScanKeyEntryInitialize(&keys[2], 0, 3, BTEqualStrategyNumber, InvalidOid, DEFAULT_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(c->key));
	InitDirtySnapshot(dirty);
	scan = systable_beginscan(table, primary_key, true, &dirty, lengthof(keys), keys);
	while (!TransactionIdIsValid(result) && HeapTupleIsValid(systable_getnext(scan)))
		result = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return result;
}

static bool
insert_claim(const Claim *c)
{
	DbArgs args = db_args(&claim_for_response);

	arg_name(&args, &c->tenant, c->scope, c->key);
	db_arg_digest(&args, c->fingerprint);
	db_arg_time(&args, c->expires_at);
	db_arg_time(&args, GetCurrentTimestamp());
	return db_run_args(&args) > 0;
}

/*
 * Claims the key unless another transaction that is open has: then in_progress, and that
 * transaction, or none if it is only about to.  Neither: somebody has committed a claim.
 */
static TransactionId
try_claim(Claim *c)
{
	TransactionId claimer;
	LOCKTAG tag;

	key_tag(c, LOCK_KEY, &tag);
	c->in_progress = !lock_wait_until(&tag, ExclusiveLock, false, c->wait ? DT_NOEND : DT_NOBEGIN);
	if (c->in_progress)
		return InvalidTransactionId;
	claimer = find_claimer(c);
	c->in_progress = TransactionIdIsValid(claimer);
	c->is_new = !c->in_progress && insert_claim(c);
	LockRelease(&tag, ExclusiveLock, false);
	return claimer;
}

/*
 * Inside a scope.  Who waits does so in a queue, but never holds LOCK_KEY: the transaction it waits
 * for may have undone its claim by ROLLBACK TO, and may claim the key again.
 */
static void
claim_for(Claim *c)
{
	bool queued = false;
	int tries = 0;
	LOCKTAG queue;

	key_tag(c, LOCK_KEY_QUEUE, &queue);
	while (!read_response(c))
	{
		TransactionId claimer = try_claim(c);

		if (c->is_new || (c->in_progress && !c->wait))
			break;
		if (!c->in_progress)
		{
			if (++tries == CLAIM_TRIES)
				refuse_claim(c->key);
		}
		else if (queued)
			lock_wait_for_transaction(claimer);
		else
			queued = lock_wait_until(&queue, ExclusiveLock, false, DT_NOEND);
	}
	if (queued)
		LockRelease(&queue, ExclusiveLock, false);
}

/*
 * claim_idempotency_key(scope, key, request, ttl, wait, tenant) returns (is_new, response,
 *		in_progress)
 *
 * In: scope and key of 1 to 255 characters, the scope deploy is hotswap's own; request: whatever
 * makes two requests the same one; ttl: how long the key is remembered, NULL:
 * hotswap.idempotency_ttl. Out: is_new: the caller does the work and stores the answer in the same
 * transaction; else the stored answer, or in_progress if there is none. Errors: 22023; YH001 the
 * key was used with another request; P0002, YH003 tenant; 42501; 40001 REPEATABLE READ and claimed
 * after the snapshot; 25006 read-only; those of any lock, 55P03 while a statement of a
 * task waits for its snapshot. Waits, if wait, for the transaction of
 * another caller with the key, and is the first if that is rolled back; ROLLBACK TO does not end
 * the wait if the claim was made in a subtransaction that had ended by then, as with deploy().
 * Locks LOCK_KEY_QUEUE while it waits, LOCK_KEY while it inserts. Writes idempotency_key.
 */
Datum
hotswap_claim_idempotency_key(PG_FUNCTION_ARGS)
{
	Claim c = { .is_new = false };
	pg_cryptohash_ctx *ctx;
	TupleDesc row;
	Datum values[3];
	bool nulls[3] = { false };
	DbScope scope;

	arg_scope_and_key(fcinfo, &c.scope, &c.key);
	ctx = digest_begin();
	digest_field(ctx, jsonb_text(arg_jsonb(fcinfo, 2, "request", RESPONSE_LIMIT)));
	digest_end(ctx, c.fingerprint);
	c.expires_at = arg_expiry(fcinfo, 3);
	c.wait = arg_bool(fcinfo, 4, "wait");
	c.tenant = tenant_argument(fcinfo, 5);
	PreventCommandIfReadOnly("claim_idempotency_key()");
	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	db_enter(&scope);
	access_require(&c.tenant, scope.caller, CAPABILITY_AGENT, "claim an idempotency key");
	installation_ensure();
	tenant_lock_active(&c.tenant);
	claim_for(&c);
	db_leave(&scope);
	values[0] = BoolGetDatum(c.is_new);
	values[1] = PointerGetDatum(c.response);
	nulls[1] = c.response == NULL;
	values[2] = BoolGetDatum(c.in_progress);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls));
}

/* Inside a scope: why a key is not one whose answer is still to come. */
static void
refuse_unclaimed(const Claim *c)
{
	if (!find_response_of(c))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("idempotency key \"%s\" does not exist", c->key),
						errhint("Claim it with hotswap.claim_idempotency_key().")));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("response of idempotency key \"%s\" has already been stored", c->key)));
}

/*
 * store_idempotent_response(scope, key, response, tenant)
 *
 * In: response of at most 1 MB as text. Errors: 22023, P0002 the key is not claimed or its time is
 * over, 55000 an answer is stored already, 42501, 25006 read-only. Locks and writes the key.
 */
Datum
hotswap_store_idempotent_response(PG_FUNCTION_ARGS)
{
	Claim c = { .is_new = false };
	DbArgs args = db_args(&store_response);
	DbScope scope;

	arg_scope_and_key(fcinfo, &c.scope, &c.key);
	c.response = arg_jsonb(fcinfo, 2, "response", RESPONSE_LIMIT);
	c.tenant = tenant_argument(fcinfo, 3);
	PreventCommandIfReadOnly("store_idempotent_response()");
	db_enter(&scope);
	access_require(&c.tenant, scope.caller, CAPABILITY_AGENT, "store an idempotent response");
	arg_name(&args, &c.tenant, c.scope, c.key);
	db_arg_jsonb(&args, c.response);
	db_arg_time(&args, GetCurrentTimestamp());
	if (db_run_args(&args) == 0)
		refuse_unclaimed(&c);
	db_leave(&scope);
	PG_RETURN_VOID();
}

/*
 * release_idempotency_claim(scope, key, tenant)
 *
 * For a claim that was committed without an answer, by somebody who died or gave up: the key can be
 * claimed again at once, also for another request. Errors: 22023, P0002 the key is not claimed or
 * its time is over, 55000 an answer is stored, 42501, 25006 read-only; those of any lock. Waits for
 * a transaction that claims the key now. Locks and deletes the key.
 */
Datum
hotswap_release_idempotency_claim(PG_FUNCTION_ARGS)
{
	Claim c = { .is_new = false };
	DbArgs args = db_args(&release_claim);
	TransactionId claimer;
	DbScope scope;

	arg_scope_and_key(fcinfo, &c.scope, &c.key);
	c.tenant = tenant_argument(fcinfo, 2);
	PreventCommandIfReadOnly("release_idempotency_claim()");
	db_enter(&scope);
	access_require(&c.tenant, scope.caller, CAPABILITY_AGENT, "release an idempotency claim");
	while (TransactionIdIsValid(claimer = find_claimer(&c)))
		lock_wait_for_transaction(claimer);
	arg_name(&args, &c.tenant, c.scope, c.key);
	if (db_run_args(&args) == 0)
		refuse_unclaimed(&c);
	db_leave(&scope);
	PG_RETURN_VOID();
}
