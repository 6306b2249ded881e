/*
 * audit_head.c
 *		audit_head(): the state of the audit log in one line, to be kept where no superuser of this
 *		server gets at it; check_audit_head(): does the log still hold what such a line says?
 *
 * What verify_audit() compares stands in the database as well: a superuser can cut off the end of a
 * chain and put its subject's row back to match.  A head covers every event of a span of time, so
 * that nothing in it can be removed, added or replaced afterwards.
 *
 * The span ends where no event can come any more.  An event has the time at which it was written
 * and is seen when its transaction commits, so the span ends before the oldest transaction that is
 * open began; and the events are read with a snapshot that is newer than the look at who is open.
 * It begins where retention has removed nothing; one that retention has reached since cannot be
 * checked.  Locks nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define FETCH_ROWS 1000
#define HEX_LENGTH (2 * DIGEST_LENGTH)

PG_FUNCTION_INFO_V1(hotswap_audit_head);
PG_FUNCTION_INFO_V1(hotswap_check_audit_head);

static DbStatement read_horizon = DB_STATEMENT0("SELECT audit_horizon FROM hotswap.installation");

/* A session without track_activities does not tell when its transaction began. */
static DbStatement oldest_transaction = DB_STATEMENT0(
	"SELECT min(CASE state WHEN 'disabled' THEN backend_start ELSE xact_start END)"
	" FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()");

/* Nor does a prepared transaction; whoever wrote an event has a lock of the table. */
static DbStatement prepared_writer = DB_STATEMENT0(
	"SELECT FROM pg_catalog.pg_locks WHERE pid IS NULL AND relation = 'hotswap.audit_event'::regclass"
	" AND database = (SELECT oid FROM pg_catalog.pg_database"
	" WHERE datname = pg_catalog.current_database())");

static DbStatement events_of_span =
	DB_STATEMENT("SELECT a.tenant_id, a.subject_id, a.seq, a.hash FROM hotswap.audit_event a"
				 " WHERE ($1 IS NULL OR a.tenant_id = $1) AND a.at >= $2 AND a.at < $3"
				 " ORDER BY a.tenant_id, a.subject_id, a.seq",
				 UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID);

typedef struct Head
{
	pg_uuid_t *tenant; /* NULL: all */
	TimestampTz starts_at;
	TimestampTz ends_at; /* not included */
	int64 events;
	char *digest; /* in hexadecimal digits */
} Head;

/* Events before this time are gone, and rightly. */
static TimestampTz
find_horizon(void)
{
	return db_run(&read_horizon, NULL, NULL) > 0 ? db_time(0, 1, DT_NOBEGIN) : DT_NOBEGIN;
}

/* Nobody writes an event of before this time any more, and all of them can be seen. */
static TimestampTz
find_end(void)
{
	TimestampTz own = GetCurrentTransactionStartTimestamp();
	TimestampTz oldest;

	(void) db_run(&oldest_transaction, NULL, NULL);
	oldest = db_time(0, 1, own);
	/* after the look at the sessions, or one that prepares meanwhile would be in neither */
	if (db_run_newest(&prepared_writer, NULL, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a prepared transaction has written audit events"),
				 errhint("See pg_prepared_xacts; commit it or roll it back, and try again.")));
	return Min(oldest, own);
}

/* Fills events and digest. */
static void
compute_head(Head *head)
{
	Datum args[] = { UUIDPGetDatum(head->tenant), TimestampTzGetDatum(head->starts_at),
					 TimestampTzGetDatum(head->ends_at) };
	bool nulls[] = { head->tenant == NULL, false, false };
	pg_cryptohash_ctx *ctx = digest_begin();
	uint8 result[DIGEST_LENGTH];
	Portal portal;
	uint64 count;

	/* newer than what find_end() saw, at every isolation level */
	PushActiveSnapshot(GetLatestSnapshot());
	portal = db_open(&events_of_span, args, nulls);
	PopActiveSnapshot();
	head->events = 0;
	while ((count = db_fetch(portal, FETCH_ROWS)) > 0)
		for (uint64 row = 0; row < count; row++)
		{
			pg_uuid_t tenant = db_uuid(row, 1);
			pg_uuid_t subject = db_uuid(row, 2);
			uint8 hash[DIGEST_LENGTH] = { 0 };

			CHECK_FOR_INTERRUPTS();
			(void) db_digest(row, 4, hash);
			digest_bytes(ctx, tenant.data, UUID_LEN);
			digest_bytes(ctx, subject.data, UUID_LEN);
			digest_int64(ctx, db_int32(row, 3));
			digest_bytes(ctx, hash, DIGEST_LENGTH);
			head->events++;
		}
	digest_end(ctx, result);
	head->digest = digest_hex(result);
}

/*
 * audit_head(tenant, since) returns (starts_at, ends_at, events, head)
 *
 * In: tenant NULL: all; since NULL: all that retention has left. Errors: 42501 without viewer there; 55000
 * a prepared transaction has written events; 25006 on a standby, which does not know who writes. Reads the
 * log from there on; locks nothing.
 */
Datum
hotswap_audit_head(PG_FUNCTION_ARGS)
{
	Head head = { .tenant = PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0) };
	TupleDesc row;
	Datum values[4];
	bool nulls[4] = { false };
	DbScope scope;

	PreventCommandDuringRecovery("audit_head()");
	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	db_enter(&scope);
	access_require_audit(head.tenant, scope.caller);
	head.starts_at = find_horizon();
	if (!PG_ARGISNULL(1))
		head.starts_at = Max(head.starts_at, PG_GETARG_TIMESTAMPTZ(1));
	head.ends_at = Max(head.starts_at, find_end());
	compute_head(&head);
	values[3] = SPI_datumTransfer(CStringGetTextDatum(head.digest), false, -1);
	db_leave(&scope);
	values[0] = TimestampTzGetDatum(head.starts_at);
	values[1] = TimestampTzGetDatum(head.ends_at);
	values[2] = Int64GetDatum(head.events);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls));
}

/* What a stored head and the log now have against each other, NULL: nothing. */
static char *
compare_head(Head *now, int64 events, const char *digest)
{
	TimestampTz horizon = find_horizon();

	if (now->starts_at < horizon)
		return psprintf("cannot be checked: events of before %s have been removed by retention",
						timestamptz_to_str(horizon));
	compute_head(now);
	if (now->events < events)
		return psprintf("events were removed: " INT64_FORMAT " of " INT64_FORMAT " are left",
						now->events, events);
	if (now->events > events)
		return psprintf("events were added: " INT64_FORMAT " where there were " INT64_FORMAT,
						now->events, events);
	if (pg_strcasecmp(now->digest, digest) != 0)
		return psprintf("events were altered or replaced");
	return NULL;
}

/*
 * check_audit_head(starts_at, ends_at, events, head, tenant) returns text
 *
 * In: what audit_head() returned, and its tenant. Out: what is wrong, NULL: nothing. Errors: 22023 NULL;
 * 42501 without viewer there. Reads the log of the span; locks nothing.
 */
Datum
hotswap_check_audit_head(PG_FUNCTION_ARGS)
{
	Head now = { .tenant = PG_ARGISNULL(4) ? NULL : PG_GETARG_UUID_P(4) };
	int64 events;
	char *digest;
	char *problem;
	DbScope scope;

	arg_require(fcinfo, 0, "starts_at");
	arg_require(fcinfo, 1, "ends_at");
	now.starts_at = PG_GETARG_TIMESTAMPTZ(0);
	now.ends_at = PG_GETARG_TIMESTAMPTZ(1);
	events = arg_int64(fcinfo, 2, "events");
	digest = arg_text(fcinfo, 3, "head", HEX_LENGTH);
	db_enter(&scope);
	access_require_audit(now.tenant, scope.caller);
	problem = compare_head(&now, events, digest);
	if (problem)
		problem = MemoryContextStrdup(scope.context, problem);
	db_leave(&scope);
	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}
