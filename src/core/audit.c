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
#include "core/columns.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
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

static const Oid column_types[COL_COUNT] = {
	[COL_TENANT] = UUIDOID,    [COL_SUBJECT_ID] = UUIDOID, [COL_SEQ] = INT4OID,
	[COL_AT] = TIMESTAMPTZOID, [COL_SUBJECT] = TEXTOID,    [COL_EVENT] = TEXTOID,
	[COL_BEFORE] = TEXTOID,    [COL_AFTER] = TEXTOID,      [COL_REASON] = TEXTOID,
	[COL_DETAIL] = JSONBOID,   [COL_PREVIOUS] = BYTEAOID,  [COL_HASH] = BYTEAOID,
};

struct AuditBatch
{
	const AuditActor *actor;
	Columns *rows;
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
	audit_actor(actor, AUDIT_SELF);
}

AuditBatch *
audit_batch(const AuditActor *actor)
{
	AuditBatch *batch = palloc(sizeof(AuditBatch));

	batch->actor = actor;
	batch->rows = columns_make(column_types, COL_COUNT);
	return batch;
}

/* Adds an event and moves the chain's head; before, after, reason and detail may be NULL. */
void
audit_add(AuditBatch *batch, AuditChain *chain, const char *event, const char *before,
		  const char *after, const char *reason, Jsonb *detail)
{
	AuditEventData data;
	Columns *rows = batch->rows;
	bool first = chain->seq == 0;

	columns_add_row(rows);
	columns_put(rows, COL_PREVIOUS, first ? (Datum) 0 : digest_datum(chain->hash), first);

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

	columns_put_uuid(rows, COL_TENANT, &chain->tenant);
	columns_put_uuid(rows, COL_SUBJECT_ID, &chain->id);
	columns_put_int32(rows, COL_SEQ, data.seq);
	columns_put_time(rows, COL_AT, data.at);
	columns_put_text(rows, COL_SUBJECT, data.subject);
	columns_put_text(rows, COL_EVENT, event);
	columns_put_text(rows, COL_BEFORE, before);
	columns_put_text(rows, COL_AFTER, after);
	columns_put_text(rows, COL_REASON, reason);
	columns_put(rows, COL_DETAIL, detail ? JsonbPGetDatum(detail) : (Datum) 0, detail == NULL);
	columns_put(rows, COL_HASH, digest_datum(chain->hash), false);
}

/* Writes the batch; the caller writes the chains' heads. */
void
audit_flush(AuditBatch *batch)
{
	const AuditActor *actor = batch->actor;
	Columns *rows = batch->rows;
	bool single = rows->nrows == 1;
	DbArgs args = db_args(single ? &insert_event : &insert_events);

	if (rows->nrows == 0)
		return;
	for (int i = 0; i < COL_COUNT; i++)
		if (single)
			db_arg_datum(&args, column_types[i], rows->values[i][0], rows->nulls[i][0]);
		else
			db_arg_datum(&args, get_array_type(column_types[i]), columns_array(rows, i), false);
	db_arg_text(&args, actor->person);
	db_arg_text(&args, actor->role);
	db_arg_int32(&args, MyProcPid);
	db_arg_datum(&args, INETOID, actor->address, !actor->has_address);
	db_arg_text(&args, application_name);
	if (db_run_args(&args) != (uint64) rows->nrows)
		elog(ERROR, "audit events were not inserted");
	rows->nrows = 0;
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
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "audit_guard")));
	if (audit_retention_running && TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return PointerGetDatum(trigger->tg_trigtuple);
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the audit log is append-only"),
					errhint("Old events are removed by hotswap.audit_retention.")));
}
