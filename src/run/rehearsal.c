/*
 * rehearsal.c
 *		A task that is run and leaves nothing but what was seen: how long each step took, how many rows it has
 *		changed, and what it has locked.
 *
 * The scripts are a subtransaction of the task's own transaction, which takes all of it back: rows, objects, locks.
 * What no transaction takes back stays: numbers of sequences, the WAL, dead rows, what scripts do elsewhere.
 * Deferred constraints and triggers have been run before, as always (run_deferred()).
 *
 * It stops when it holds an AccessExclusive lock for longer than its environment allows (lock_watch.c).  A lock
 * that it waits for is in the way of others as well, so it waits hardly longer than that for one: so much longer
 * that who waits while it has such a lock is stopped for what it has.
 *
 * Locks: whatever the scripts lock, until they are taken back.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/error_text.h"
#include "base/errors.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "run/lock_watch.h"
#include "run/place.h"
#include "run/rehearsal.h"
#include "run/script.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

static DbStatement forget_steps = DB_STATEMENT(
	"DELETE FROM hotswap.rehearsal WHERE tenant_id = $1 AND deployment_id = $2 AND node_id = $3",
	UUIDOID, UUIDOID, UUIDOID);

static DbStatement insert_step = DB_STATEMENT(
	"INSERT INTO hotswap.rehearsal (tenant_id, deployment_id, node_id, step, module, version,"
	" direction, duration, rows, locks) VALUES ($1, $2, $3, $4, $5, $6, $7::hotswap.step_direction,"
	" $8, $9, $10)",
	UUIDOID, UUIDOID, UUIDOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, INTERVALOID, INT8OID, JSONBOID);

/* What was done in a step. */
typedef struct RehearsedStep
{
	char *module;
	char *version;
	StepDirection direction;
	TimestampTz since;
	TimestampTz until;
	int64 rows_before;
	int64 rows;
} RehearsedStep;

typedef struct Rehearsal
{
	MemoryContext context; /* that of the task */
	void (*body)(void *);
	List *steps;       /* of RehearsedStep */
	const char *query; /* that the session runs */
	bool limited;      /* the session has a time limit of its own */
	bool has_place;    /* of an error */
	ScriptPlace place;
} Rehearsal;

/* How long it waits for a lock, in ms, if it may hold one for so long. */
#define LONGEST_WAIT(held) ((held) + (held) / 5 + 20)

/* ---- running ---- */

static void
end_step(TaskRun *run)
{
	Rehearsal *r = run->rehearsal;
	RehearsedStep *s = r->steps == NIL ? NULL : llast(r->steps);

	if (s == NULL)
		return;
	s->until = GetCurrentTimestamp();
	s->rows = run->rows - s->rows_before;
}

void
rehearsal_step(TaskRun *run, char *module, char *version, StepDirection direction)
{
	Rehearsal *r = run->rehearsal;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	RehearsedStep *s = palloc0(sizeof(RehearsedStep));

	end_step(run);
	if (r->steps != NIL)
		lock_watch_look();
	*s = (RehearsedStep){ .module = pstrdup(module),
						  .version = pstrdup(version),
						  .direction = direction,
						  .since = GetCurrentTimestamp(),
						  .rows_before = run->rows };
	r->steps = lappend(r->steps, s);
	lock_watch_step(list_length(r->steps));
	MemoryContextSwitchTo(old);
}

/* An error: what is to be said of the statement is found out as long as it is there. */
static void
note_place(TaskRun *run)
{
	Rehearsal *r = run->rehearsal;

	debug_query_string = r->query;
	run_limit_stop(!r->limited);
	MemoryContextSwitchTo(r->context);
	r->has_place = place_find(run, error_copy(), &r->place);
	run->sql = run->statement = NULL;
}

static void
rehearse(void *arg)
{
	TaskRun *run = arg;

	PG_TRY();
	{
		guc_push("lock_timeout",
				 psprintf("%d", Min(hotswap_lock_timeout, LONGEST_WAIT(run->max_lock))));
		run->rehearsal->body(run);
		lock_watch_look();
	}
	PG_CATCH();
	{
		note_place(run);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* The name of a relation, with its schema; NULL: it is not there. */
static char *
relation_name(Oid relation)
{
	char *name = get_rel_name(relation);
	char *schema = name ? get_namespace_name(get_rel_namespace(relation)) : NULL;

	return schema ? quote_qualified_identifier(schema, name) : NULL;
}

static void
refuse_excess(const TaskRun *run, const WatchedLock *excess)
{
	const RehearsedStep *s = list_nth(run->rehearsal->steps, excess->step - 1);
	char *name = relation_name(excess->relation);

	ereport(ERROR,
			(errcode(ERRCODE_HOTSWAP_LOCK_BUDGET),
			 errmsg("rehearsal had an AccessExclusive lock on %s for longer than %d ms",
					name ? name : psprintf("relation %u", excess->relation), run->max_lock),
			 errdetail_plural("Version \"%s\" had taken it; %d session was seen to wait for it.",
							  "Version \"%s\" had taken it; %d sessions were seen to wait for it.",
							  excess->waiters, s->version, excess->waiters),
			 errhint(
				 "Let the script hold it for a shorter time, rehearse where nobody is in the way,"
				 " or allow more with \"rehearse_max_lock\" of hotswap.configure_environment().")));
}

void
rehearsal_run(TaskRun *run, void (*body)(void *))
{
	Rehearsal *r = palloc0(sizeof(Rehearsal));
	const WatchedLock *excess;
	ErrorData *error;

	r->context = CurrentMemoryContext;
	r->body = body;
	r->query = debug_query_string;
	r->limited = get_timeout_active(STATEMENT_TIMEOUT);
	run->rehearsal = r;
	lock_watch_begin(run->max_lock);
	error = subxact_try(rehearse, run);
	lock_watch_end();
	end_step(run);
	excess = lock_watch_excess();
	if (excess)
		refuse_excess(run, excess);
	if (error)
		ReThrowError(error);
}

bool
rehearsal_place(const TaskRun *run, ScriptPlace *place)
{
	if (run->rehearsal->has_place)
		*place = run->rehearsal->place;
	return run->rehearsal->has_place;
}

/* ---- recording ---- */

/* The lock as an object of JSON; nothing of hotswap's own, which a deployment would not keep either. */
static void
append_lock(StringInfo json, const WatchedLock *lock)
{
	char *name = relation_name(lock->relation);
	LOCKTAG tag;

	if (name == NULL || get_rel_namespace(lock->relation) == get_namespace_oid("hotswap", true))
		return;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, lock->relation);
	appendStringInfoString(json, json->len > 1 ? ", {\"relation\": " : "{\"relation\": ");
	escape_json(json, name);
	appendStringInfo(json, ", \"mode\": \"%s\", \"held_ms\": %.3f, \"waiters\": %d}",
					 GetLockmodeName(tag.locktag_lockmethodid, lock->mode),
					 (double) (lock->until - lock->since) / 1000, lock->waiters);
}

static Jsonb *
locks_of_step(List *locks, int step)
{
	StringInfoData json;
	ListCell *cell;

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	foreach (cell, locks)
		if (((WatchedLock *) lfirst(cell))->step == step)
			append_lock(&json, lfirst(cell));
	appendStringInfoChar(&json, ']');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

static void
record_step(const TaskRun *run, int number, const RehearsedStep *s, Jsonb *locks)
{
	DbArgs args = db_args(&insert_step);
	Interval duration = { .time = s->until - s->since };

	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->key.deployment);
	db_arg_uuid(&args, &run->node);
	db_arg_int32(&args, number);
	db_arg_text(&args, s->module);
	db_arg_text(&args, s->version);
	db_arg_text(&args, step_direction_names[s->direction]);
	db_arg_interval(&args, &duration);
	db_arg_int64(&args, s->rows);
	db_arg_jsonb(&args, locks);
	(void) db_run_args(&args);
}

void
rehearsal_record(const TaskRun *run)
{
	Datum key[] = { UUIDPGetDatum(&run->key.tenant), UUIDPGetDatum(&run->key.deployment),
					UUIDPGetDatum(&run->node) };
	List *locks = lock_watch_locks();
	List *steps = run->rehearsal->steps;
	DbScope scope;

	db_enter(&scope);
	/* of an attempt before */
	(void) db_run(&forget_steps, key, NULL);
	for (int i = 0; i < list_length(steps); i++)
		record_step(run, i + 1, list_nth(steps, i), locks_of_step(locks, i + 1));
	db_leave(&scope);
}
