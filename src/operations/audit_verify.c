/*
 * audit_verify.c
 *		verify_audit(): is the audit log what was written?
 *
 * Each chain is read in order: its numbers have no gaps, each event is linked to the one before it,
 * each hash is the hash of its event, and the last one is what the subject's row says.  What was
 * removed by retention is not missed: a chain may begin late, or be gone, if its subject is older
 * than the audit horizon.  Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/digest.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/audit_hash.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define FETCH_ROWS 1000

PG_FUNCTION_INFO_V1(hotswap_verify_audit);

#define EVENTS                                                                                                  \
	"SELECT a.tenant_id, a.subject_id, a.seq, a.at, a.subject, a.event, a.before, a.after, a.person,"           \
	" a.role, a.pid, a.client_addr, a.application_name, a.reason, a.detail, a.previous_hash, a.hash,"           \
	" coalesce(d.audit_seq, t.audit_seq), coalesce(d.audit_hash, t.audit_hash)"                                 \
	" FROM hotswap.audit_event a"                                                                               \
	" LEFT JOIN LATERAL (SELECT d.audit_seq, d.audit_hash FROM hotswap.deployment d"                            \
	" WHERE a.subject = 'deployment' AND d.tenant_id = a.tenant_id AND d.id = a.subject_id OFFSET 0) d ON true" \
	" LEFT JOIN LATERAL (SELECT t.audit_seq, t.audit_hash FROM hotswap.tenant t"                                \
	" WHERE a.subject = 'tenant' AND t.id = a.subject_id OFFSET 0) t ON true"

enum
{
	EVENT_TENANT = 1,
	EVENT_SUBJECT_ID,
	EVENT_SEQ,
	EVENT_AT,
	EVENT_SUBJECT,
	EVENT_EVENT,
	EVENT_BEFORE,
	EVENT_AFTER,
	EVENT_PERSON,
	EVENT_ROLE,
	EVENT_PID,
	EVENT_ADDRESS,
	EVENT_APPLICATION,
	EVENT_REASON,
	EVENT_DETAIL,
	EVENT_PREVIOUS_HASH,
	EVENT_HASH,
	EVENT_HEAD_SEQ,
	EVENT_HEAD_HASH
};

#define ORDER " ORDER BY a.tenant_id, a.subject_id, a.seq"

static DbStatement all_events = DB_STATEMENT0(EVENTS ORDER);
static DbStatement tenant_events = DB_STATEMENT(EVENTS " WHERE a.tenant_id = $1" ORDER, UUIDOID);

/* Subjects without any event; those older than the horizon may have lost theirs ($2, $3). */
static DbStatement silent_subjects = DB_STATEMENT(
	"SELECT d.tenant_id, d.id FROM hotswap.deployment d"
	" WHERE ($1 IS NULL OR d.tenant_id = $1)"
	" AND NOT (d.id < $2 AND coalesce(d.finished_at, d.requested_at) < $3)"
	" AND NOT EXISTS (SELECT 1 FROM hotswap.audit_event a WHERE a.tenant_id = d.tenant_id AND a.subject_id = d.id OFFSET 0)"
	" UNION ALL SELECT t.id, t.id FROM hotswap.tenant t"
	" WHERE t.audit_seq > 0 AND ($1 IS NULL OR t.id = $1) AND NOT t.id < $2"
	" AND NOT EXISTS (SELECT 1 FROM hotswap.audit_event a WHERE a.tenant_id = t.id AND a.subject_id = t.id OFFSET 0)",
	UUIDOID, UUIDOID, TIMESTAMPTZOID);

static DbStatement read_horizon = DB_STATEMENT0("SELECT audit_horizon FROM hotswap.installation");

/* The chain that is being read. */
typedef struct Chain
{
	bool open;
	bool broken; /* its first problem has been reported */
	pg_uuid_t tenant;
	pg_uuid_t subject_id;
	int32 seq; /* of the event before; 0: none */
	uint8 hash[DIGEST_LENGTH];
	bool has_head; /* else the deployment itself has been removed by retention */
	int32 head_seq;
	uint8 head_hash[DIGEST_LENGTH];
} Chain;

typedef struct Verification
{
	ReturnSetInfo *result;
	pg_uuid_t horizon_id; /* subjects below it may have lost events */
	Chain chain;
} Verification;

static void
verify_report(Verification *v, const pg_uuid_t *tenant, const pg_uuid_t *subject, int32 seq,
			  const char *problem)
{
	Datum values[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(subject), Int32GetDatum(seq),
					   CStringGetTextDatum(problem) };
	bool nulls[4] = { false };

	tuplestore_putvalues(v->result->setResult, v->result->setDesc, values, nulls);
}

static void
verify_report_broken(Verification *v, int32 seq, const char *problem)
{
	verify_report(v, &v->chain.tenant, &v->chain.subject_id, seq, problem);
	v->chain.broken = true;
}

static void
finish_chain(Verification *v)
{
	Chain *c = &v->chain;

	if (!c->open || c->broken || !c->has_head)
		return;
	if (c->seq < c->head_seq)
		verify_report_broken(v, c->seq + 1, "the event was removed");
	else if (c->seq > c->head_seq)
		verify_report_broken(v, c->head_seq + 1, "the event was added");
	else if (memcmp(c->hash, c->head_hash, DIGEST_LENGTH) != 0)
		verify_report_broken(
			v, c->seq, "the event was altered: its hash is not the one that its subject keeps");
}

static void
begin_chain(Verification *v, uint64 row)
{
	Chain *c = &v->chain;

	memset(c, 0, sizeof(*c));
	c->open = true;
	c->tenant = db_uuid(row, EVENT_TENANT);
	c->subject_id = db_uuid(row, EVENT_SUBJECT_ID);
	c->has_head = !db_isnull(row, EVENT_HEAD_SEQ);
	if (c->has_head)
		c->head_seq = db_int32(row, EVENT_HEAD_SEQ);
	(void) db_digest(row, EVENT_HEAD_HASH, c->head_hash);
}

/* Recomputes an event's hash from its columns. */
static void
compute_hash(uint64 row, const uint8 *previous, uint8 *result)
{
	AuditEventData data = { .tenant = db_uuid(row, EVENT_TENANT),
							.subject_id = db_uuid(row, EVENT_SUBJECT_ID),
							.seq = db_int32(row, EVENT_SEQ),
							.at = db_time(row, EVENT_AT, 0),
							.subject = db_text(row, EVENT_SUBJECT),
							.event = db_text(row, EVENT_EVENT),
							.before = db_text(row, EVENT_BEFORE),
							.after = db_text(row, EVENT_AFTER),
							.person = db_text(row, EVENT_PERSON),
							.role = db_text(row, EVENT_ROLE),
							.pid = db_int32(row, EVENT_PID),
							.address = db_text(row, EVENT_ADDRESS),
							.application = db_text(row, EVENT_APPLICATION),
							.reason = db_text(row, EVENT_REASON),
							.detail = db_text(row, EVENT_DETAIL) };

	audit_hash(&data, previous, result);
}

/* Does the chain go on with this event, as far as its number and its link can tell? */
static bool
event_follows(Verification *v, int32 seq, bool has_previous, const uint8 *previous)
{
	Chain *c = &v->chain;
	bool may_begin_late = memcmp(&c->subject_id, &v->horizon_id, UUID_LEN) < 0;

	if (seq != c->seq + 1 && !(c->seq == 0 && may_begin_late))
		verify_report_broken(v, c->seq + 1, "the event was removed");
	else if (has_previous != (seq > 1))
		verify_report_broken(v, seq,
							 "the event was altered: it is not linked to the one before it");
	else if (c->seq > 0 && memcmp(previous, c->hash, DIGEST_LENGTH) != 0)
		verify_report_broken(v, seq,
							 "the event or the one before it was altered: they are not linked");
	return !c->broken;
}

static void
check_event(Verification *v, uint64 row)
{
	Chain *c = &v->chain;
	pg_uuid_t tenant = db_uuid(row, EVENT_TENANT);
	pg_uuid_t subject = db_uuid(row, EVENT_SUBJECT_ID);
	int32 seq = db_int32(row, EVENT_SEQ);
	uint8 previous[DIGEST_LENGTH];
	uint8 stored[DIGEST_LENGTH];
	uint8 computed[DIGEST_LENGTH];
	bool has_previous = db_digest(row, EVENT_PREVIOUS_HASH, previous);

	if (!c->open || !uuid_equal(&c->tenant, &tenant) || !uuid_equal(&c->subject_id, &subject))
	{
		finish_chain(v);
		begin_chain(v, row);
	}
	if (c->broken || !event_follows(v, seq, has_previous, previous))
		return;
	compute_hash(row, has_previous ? previous : NULL, computed);
	if (!db_digest(row, EVENT_HASH, stored) || memcmp(stored, computed, DIGEST_LENGTH) != 0)
		verify_report_broken(v, seq, "the event was altered: its hash does not fit");
	c->seq = seq;
	memcpy(c->hash, computed, DIGEST_LENGTH);
}

static void
check_events(Verification *v, const pg_uuid_t *tenant)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "hotswap verify_audit", ALLOCSET_DEFAULT_SIZES);
	Datum args[] = { UUIDPGetDatum(tenant) };
	Portal portal = db_open(tenant ? &tenant_events : &all_events, args, NULL);
	uint64 count;

	while ((count = db_fetch(portal, FETCH_ROWS)) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		for (uint64 row = 0; row < count; row++)
		{
			CHECK_FOR_INTERRUPTS();
			check_event(v, row);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	finish_chain(v);
}

static void
check_silent(Verification *v, const pg_uuid_t *tenant, TimestampTz horizon)
{
	DbArgs args = db_args(&silent_subjects);
	uint64 count;

	db_arg_uuid(&args, tenant);
	db_arg_uuid(&args, &v->horizon_id);
	db_arg_datum(&args, TIMESTAMPTZOID, TimestampTzGetDatum(horizon), false);
	count = db_run_args(&args);
	for (uint64 row = 0; row < count; row++)
	{
		pg_uuid_t owner = db_uuid(row, 1);
		pg_uuid_t subject = db_uuid(row, 2);

		verify_report(v, &owner, &subject, 1, "the event was removed");
	}
}

/*
 * verify_audit(tenant uuid) returns (tenant_id, subject_id, seq, problem)
 *
 * In: tenant NULL: all. Errors: 42501 without viewer there. Reads the whole log; locks nothing.
 */
Datum
hotswap_verify_audit(PG_FUNCTION_ARGS)
{
	pg_uuid_t *tenant = PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0);
	TimestampTz horizon = DT_NOBEGIN;
	Verification v = { 0 };
	DbScope scope;

	InitMaterializedSRF(fcinfo, 0);
	v.result = (ReturnSetInfo *) fcinfo->resultinfo;
	db_enter(&scope);
	access_require_audit(tenant, scope.caller);
	if (db_run(&read_horizon, NULL, NULL) > 0)
		horizon = db_time(0, 1, DT_NOBEGIN);
	if (horizon != DT_NOBEGIN)
		uuid7_floor(horizon, &v.horizon_id);
	check_events(&v, tenant);
	check_silent(&v, tenant, horizon);
	db_leave(&scope);
	return (Datum) 0;
}
