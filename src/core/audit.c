/*
 * audit.c
 *		Appends to the audit log.
 *
 * Locks: the caller holds the row lock of the chain's subject, so that a chain has one writer at a
 * time.  The events of one transition are inserted by one statement, since the routing to a
 * partition is paid by statement.
 *
 * hash = SHA-256 over the hash before it and every column of the event (digest.c's encoding).
 */
#include "postgres.h"

#include "base/args.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/audit.h"
#include "core/audit_hash.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(hotswap_audit_guard);

bool audit_retention_running = false;

/* Columns that differ between the events of a batch. */
enum
{
	COL_TENANT,
	COL_SUBJECT_ID,
	COL_SEQ,
	COL_AT,
	COL_SUBJECT,
	COL_EVENT,
	COL_BEFORE,
	COL_AFTER,
	COL_REASON,
	COL_DETAIL,
	COL_PREVIOUS,
	COL_HASH,
	COL_COUNT
};

static const struct
{
	Oid type;
	int length;
	bool byval;
	char align;
} columns[COL_COUNT] = { { UUIDOID, UUID_LEN, false, TYPALIGN_CHAR },
						 { UUIDOID, UUID_LEN, false, TYPALIGN_CHAR },
						 { INT4OID, sizeof(int32), true, TYPALIGN_INT },
						 { TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE },
						 { TEXTOID, -1, false, TYPALIGN_INT },
						 { TEXTOID, -1, false, TYPALIGN_INT },
						 { TEXTOID, -1, false, TYPALIGN_INT },
						 { TEXTOID, -1, false, TYPALIGN_INT },
						 { TEXTOID, -1, false, TYPALIGN_INT },
						 { JSONBOID, -1, false, TYPALIGN_INT },
						 { BYTEAOID, -1, false, TYPALIGN_INT },
						 { BYTEAOID, -1, false, TYPALIGN_INT } };

struct AuditBatch
{
	const AuditActor *actor;
	int count;
	int space;
	Datum *values[COL_COUNT];
	bool *nulls[COL_COUNT];
};

#define INSERT_INTO                                                                                   \
	"INSERT INTO hotswap.audit_event (tenant_id, subject_id, seq, at, subject, event, before, after," \
	" reason, detail, previous_hash, hash, person, role, pid, client_addr, application_name)"

/* a request and the end of a task have one event: half the price without arrays */
static DbStatement insert_event = DB_STATEMENT(
	INSERT_INTO
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::name, $15, $16, $17)",
	UUIDOID, UUIDOID, INT4OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	JSONBOID, BYTEAOID, BYTEAOID, TEXTOID, TEXTOID, INT4OID, INETOID, TEXTOID);

static DbStatement insert_events =
	DB_STATEMENT(INSERT_INTO " SELECT e.*, $13, $14::name, $15, $16, $17"
							 " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) e",
				 UUIDARRAYOID, UUIDARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID,
				 TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID,
				 BYTEAARRAYOID, BYTEAARRAYOID, TEXTOID, TEXTOID, INT4OID, INETOID, TEXTOID);

static DbStatement lock_tenant =
	DB_STATEMENT("SELECT audit_seq, audit_hash FROM hotswap.tenant WHERE id = $1 FOR NO KEY UPDATE",
				 UUIDOID);

static DbStatement update_tenant =
	DB_STATEMENT("UPDATE hotswap.tenant SET audit_seq = $2, audit_hash = $3 WHERE id = $1", UUIDOID,
				 INT4OID, BYTEAOID);

/* The client's address, NULL for local connections and workers. */
static void
find_address(AuditActor *actor)
{
	LOCAL_FCINFO(fcinfo, 0);

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	actor->address = inet_client_addr(fcinfo);
	actor->has_address = !fcinfo->isnull;
}

/* Notes who is calling; to be called before db_enter(). */
void
audit_actor(AuditActor *actor, const char *on_behalf_of)
{
	actor->login = GetUserNameFromId(GetSessionUserId(), false);
	actor->person = on_behalf_of ? pstrdup(on_behalf_of) : actor->login;
	actor->role = GetUserNameFromId(GetUserId(), false);
	find_address(actor);
}

/* The same for what hotswap does by itself. */
void
audit_worker(AuditActor *actor)
{
	audit_actor(actor, "hotswap");
}

AuditBatch *
audit_batch(const AuditActor *actor)
{
	AuditBatch *batch = palloc0(sizeof(AuditBatch));

	batch->actor = actor;
	batch->space = 8;
	for (int i = 0; i < COL_COUNT; i++)
	{
		batch->values[i] = palloc(batch->space * sizeof(Datum));
		batch->nulls[i] = palloc(batch->space * sizeof(bool));
	}
	return batch;
}

static void
grow(AuditBatch *batch)
{
	batch->space *= 2;
	for (int i = 0; i < COL_COUNT; i++)
	{
		batch->values[i] = repalloc(batch->values[i], batch->space * sizeof(Datum));
		batch->nulls[i] = repalloc(batch->nulls[i], batch->space * sizeof(bool));
	}
}

static void
put(AuditBatch *batch, int column, Datum value, bool isnull)
{
	batch->values[column][batch->count] = value;
	batch->nulls[column][batch->count] = isnull;
}

static void
put_text(AuditBatch *batch, int column, const char *value)
{
	put(batch, column, value ? CStringGetTextDatum(value) : (Datum) 0, value == NULL);
}

static pg_uuid_t *
copy_uuid(const pg_uuid_t *uuid)
{
	pg_uuid_t *copy = palloc(sizeof(pg_uuid_t));

	*copy = *uuid;
	return copy;
}

/* Adds an event and moves the chain's head; before, after, reason and detail may be NULL. */
void
audit_add(AuditBatch *batch, AuditChain *chain, const char *event, const char *before,
		  const char *after, const char *reason, Jsonb *detail)
{
	AuditEventData data;
	bool first = chain->seq == 0;

	if (batch->count == batch->space)
		grow(batch);
	put(batch, COL_PREVIOUS, first ? (Datum) 0 : digest_datum(chain->hash), first);

	data.tenant = chain->tenant;
	data.subject_id = chain->id;
	data.seq = ++chain->seq;
	data.at = GetCurrentTimestamp();
	data.subject = chain->subject;
	data.event = event;
	data.before = before;
	data.after = after;
	data.person = batch->actor->person;
	data.role = batch->actor->role;
	data.pid = MyProcPid;
	data.address =
		batch->actor->has_address ? OidOutputFunctionCall(F_INET_OUT, batch->actor->address) : NULL;
	data.application = application_name;
	data.reason = reason;
	data.detail = detail ? jsonb_text(detail) : NULL;
	audit_hash(&data, first ? NULL : chain->hash, chain->hash);

	put(batch, COL_TENANT, UUIDPGetDatum(copy_uuid(&chain->tenant)), false);
	put(batch, COL_SUBJECT_ID, UUIDPGetDatum(copy_uuid(&chain->id)), false);
	put(batch, COL_SEQ, Int32GetDatum(data.seq), false);
	put(batch, COL_AT, TimestampTzGetDatum(data.at), false);
	put_text(batch, COL_SUBJECT, data.subject);
	put_text(batch, COL_EVENT, event);
	put_text(batch, COL_BEFORE, before);
	put_text(batch, COL_AFTER, after);
	put_text(batch, COL_REASON, reason);
	put(batch, COL_DETAIL, detail ? JsonbPGetDatum(detail) : (Datum) 0, detail == NULL);
	put(batch, COL_HASH, digest_datum(chain->hash), false);
	batch->count++;
}

static Datum
column_array(const AuditBatch *batch, int column)
{
	int dims[1] = { batch->count };
	int lower[1] = { 1 };

	return PointerGetDatum(construct_md_array(batch->values[column], batch->nulls[column], 1, dims,
											  lower, columns[column].type, columns[column].length,
											  columns[column].byval, columns[column].align));
}

/* Writes the batch; the caller writes the chains' heads. */
void
audit_flush(AuditBatch *batch)
{
	Datum args[COL_COUNT + 5];
	bool nulls[COL_COUNT + 5] = { false };
	bool single = batch->count == 1;

	if (batch->count == 0)
		return;
	for (int i = 0; i < COL_COUNT; i++)
	{
		args[i] = single ? batch->values[i][0] : column_array(batch, i);
		nulls[i] = single && batch->nulls[i][0];
	}
	args[COL_COUNT] = CStringGetTextDatum(batch->actor->person);
	args[COL_COUNT + 1] = CStringGetTextDatum(batch->actor->role);
	args[COL_COUNT + 2] = Int32GetDatum(MyProcPid);
	args[COL_COUNT + 3] = batch->actor->address;
	nulls[COL_COUNT + 3] = !batch->actor->has_address;
	args[COL_COUNT + 4] = CStringGetTextDatum(application_name);
	if (db_run(single ? &insert_event : &insert_events, args, nulls) != (uint64) batch->count)
		elog(ERROR, "audit events were not inserted");
	batch->count = 0;
}

/* Fills a chain from the columns audit_seq and audit_hash of its row. */
void
audit_chain_set(AuditChain *chain, const char *subject, const pg_uuid_t *tenant,
				const pg_uuid_t *id, int32 seq, Datum hash, bool hash_isnull)
{
	chain->subject = subject;
	chain->tenant = *tenant;
	chain->id = *id;
	chain->seq = seq;
	if (!hash_isnull && !digest_read(hash, chain->hash))
		elog(ERROR, "the audit hash has another length than a digest");
}

/* Records an event about a tenant; locks the tenant's row until the end of the transaction. */
void
audit_tenant(const AuditActor *actor, const pg_uuid_t *tenant, const char *event,
			 const char *before, const char *after, const char *reason, Jsonb *detail)
{
	AuditChain chain;
	AuditBatch *batch = audit_batch(actor);
	Datum key[] = { UUIDPGetDatum(tenant) };
	DbArgs args = db_args(&update_tenant);
	bool isnull;
	Datum hash;

	if (db_run(&lock_tenant, key, NULL) != 1)
		elog(ERROR, "tenant to be audited does not exist");
	hash = db_datum(0, 2, &isnull);
	audit_chain_set(&chain, "tenant", tenant, tenant, db_int32(0, 1), hash, isnull);
	audit_add(batch, &chain, event, before, after, reason, detail);
	audit_flush(batch);
	db_arg_uuid(&args, tenant);
	db_arg_int32(&args, chain.seq);
	db_arg_digest(&args, chain.hash);
	(void) db_run_args(&args);
}

/* A JSON object of strings: key, value, key, value, ..., NULL; a NULL value is a JSON null. */
Jsonb *
audit_detail(const char *first, ...)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;
	va_list list;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	va_start(list, first);
	for (const char *key = first; key; key = va_arg(list, const char *))
	{
		char *value = va_arg(list, char *);
		JsonbValue item = { .type = jbvString };

		item.val.string.val = unconstify(char *, key);
		item.val.string.len = strlen(key);
		(void) pushJsonbValue(&state, WJB_KEY, &item);
		if (value)
		{
			item.val.string.val = value;
			item.val.string.len = strlen(value);
		}
		else
			item.type = jbvNull;
		(void) pushJsonbValue(&state, WJB_VALUE, &item);
	}
	va_end(list);
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(result);
}

/* Trigger: nothing is changed or removed, except by the retention job of this very process. */
Datum
hotswap_audit_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("audit_guard() must be called as a trigger")));
	if (audit_retention_running && TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return PointerGetDatum(trigger->tg_trigtuple);
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the audit log is append-only"),
					errhint("Old events are removed by hotswap.audit_retention.")));
}
