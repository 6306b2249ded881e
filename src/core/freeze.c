/*
 * freeze.c
 *		Does an environment let a deployment start now: its windows, and overrides of them.
 *
 * A window that is changed or removed stays as a row of old, and its override is not one of what came
 * instead.
 *
 * The caller holds the lock on the deployment's row, or only reads; nothing else is locked.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/freeze.h"
#include "core/release.h"
#include "utils/builtins.h"

#define ROUNDS_LIMIT 1000 /* of modules that open one after the other, and never together */

static DbStatement windows_query = DB_STATEMENT(
	"SELECT id, name, reason, kind = 'deny', tenant_id IS NULL, lower(during), upper(during), time_zone,"
	" days, (extract(epoch FROM starts) * 1000000)::bigint, (extract(epoch FROM ends) * 1000000)::bigint"
	" FROM hotswap.environment_window WHERE (tenant_id = $1 OR tenant_id IS NULL) AND environment = $2"
	" AND removed_at IS NULL AND (modules IS NULL OR $3 = ANY (modules)) ORDER BY name, tenant_id",
	UUIDOID, TEXTOID, TEXTOID);

enum
{
	W_ID = 1,
	W_NAME,
	W_REASON,
	W_IS_DENY,
	W_EVERYWHERE,
	W_FROM,
	W_UNTIL,
	W_ZONE,
	W_DAYS,
	W_STARTS,
	W_ENDS
};

static DbStatement rollback_query =
	DB_STATEMENT("SELECT freeze_stops_rollback FROM hotswap.environment"
				 " WHERE tenant_id = $1 AND name = $2",
				 UUIDOID, TEXTOID);

/* One that is about all that closes now, is not used yet, and not over. */
static DbStatement override_query = DB_STATEMENT(
	"SELECT id FROM hotswap.freeze_override WHERE tenant_id = $1 AND deployment_id = $2"
	" AND environment = $3 AND windows @> $4 AND used_at IS NULL AND until > $5 LIMIT 1",
	UUIDOID, UUIDOID, TEXTOID, UUIDARRAYOID, TIMESTAMPTZOID);

static DbStatement use_override =
	DB_STATEMENT("UPDATE hotswap.freeze_override SET used_at = pg_catalog.clock_timestamp()"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND id = $3",
				 UUIDOID, UUIDOID, UUIDOID);

static int
read_days(uint64 row)
{
	bool isnull;
	Datum names = db_datum(row, W_DAYS, &isnull);
	int days = 0;
	ListCell *cell;

	foreach (cell, db_text_list(names))
		days |= 1 << label_parse(lfirst(cell), weekday_names, WEEKDAY_COUNT);
	return days;
}

static TimeWindow *
read_window(uint64 row)
{
	TimeWindow *w = palloc0(sizeof(TimeWindow));

	w->id = db_uuid(row, W_ID);
	w->name = db_text(row, W_NAME);
	w->reason = db_text(row, W_REASON);
	w->is_deny = db_bool(row, W_IS_DENY);
	w->everywhere = db_bool(row, W_EVERYWHERE);
	if (db_isnull(row, W_ZONE))
	{
		w->from = db_time(row, W_FROM, DT_NOBEGIN);
		w->until = db_time(row, W_UNTIL, DT_NOEND);
		return w;
	}
	/* where the server has come to know other zones, that of the log is better than none */
	w->zone = pg_tzset(db_text(row, W_ZONE));
	if (w->zone == NULL)
		w->zone = log_timezone;
	w->days = read_days(row);
	w->starts = db_int64(row, W_STARTS);
	w->ends = db_int64(row, W_ENDS);
	return w;
}

/* The windows of an environment for a module; NULL: those that are for every one. */
List *
freeze_windows(const pg_uuid_t *tenant, const char *environment, const char *module)
{
	DbArgs args = db_args(&windows_query);
	List *windows = NIL;
	uint64 count;

	db_arg_uuid(&args, tenant);
	db_arg_text(&args, environment);
	db_arg_text(&args, module);
	count = db_run_args(&args);
	for (uint64 i = 0; i < count; i++)
		windows = lappend(windows, read_window(i));
	return windows;
}

/*
 * Do windows concern it at all?  A declaration runs nothing but a verify script, and a node that is brought up has
 * nothing yet that could break.
 */
static bool
concerns(const Deployment *d, const char *environment)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(environment) };

	if (d->kind == KIND_ROLLBACK)
		return db_run(&rollback_query, args, NULL) > 0 && db_bool(0, 1);
	return d->kind == KIND_DEPLOY || d->kind == KIND_REHEARSAL;
}

/* A uuid[] of them. */
Datum
freeze_window_ids(List *windows)
{
	Datum *ids = palloc(list_length(windows) * sizeof(Datum));

	for (int i = 0; i < list_length(windows); i++)
		ids[i] = UUIDPGetDatum(&((TimeWindow *) list_nth(windows, i))->id);
	return uuid_array(ids, list_length(windows));
}

static void
find_override(const Deployment *d, const char *environment, TimestampTz now, Freeze *f)
{
	DbArgs args = db_args(&override_query);

	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_text(&args, environment);
	db_arg_datum(&args, UUIDARRAYOID, freeze_window_ids(f->closing), false);
	db_arg_time(&args, now);
	f->is_overridden = db_run_args(&args) > 0;
	if (f->is_overridden)
		f->overridden = db_uuid(0, 1);
}

/* What closes several modules of a release is named once. */
static void
add_closing(List **closing, List *windows)
{
	ListCell *cell;
	ListCell *other;

	foreach (cell, windows)
	{
		bool known = false;

		foreach (other, *closing)
			known = known || uuid_equal(&((TimeWindow *) lfirst(other))->id,
										&((TimeWindow *) lfirst(cell))->id);
		if (!known)
			*closing = lappend(*closing, lfirst(cell));
	}
}

/* The first time when all of these sets of windows are open, or, as of one, a time before it. */
static TimestampTz
opening_of_all(List *sets, TimestampTz at)
{
	for (int round = 0; round < ROUNDS_LIMIT && at != DT_NOEND; round++)
	{
		TimestampTz before = at;
		ListCell *cell;

		foreach (cell, sets)
			at = windows_opening(lfirst(cell), at);
		if (at == before)
			break;
	}
	return at;
}

/* Do windows keep it from starting in an environment now?  Not if they do and are overridden, which f says. */
bool
freeze_holds(const Deployment *d, const char *environment, Freeze *f)
{
	TimestampTz now = GetCurrentTimestamp();
	List *sets = NIL;
	ListCell *cell;

	memset(f, 0, sizeof(Freeze));
	if (!concerns(d, environment))
		return false;
	foreach (cell, target_modules(deployment_targets(d)))
	{
		List *windows = freeze_windows(&d->tenant, environment, lfirst(cell));

		add_closing(&f->closing, windows_closing(windows, now));
		sets = lappend(sets, windows);
	}
	if (f->closing == NIL)
		return false;
	f->opens = opening_of_all(sets, now);
	find_override(d, environment, now, f);
	return !f->is_overridden;
}

/* It starts by an override, and nothing else will. */
void
freeze_use_override(Deployment *d, const char *environment, const Freeze *f)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 UUIDPGetDatum(&f->overridden) };
	const char *status = deployment_machine.statuses[d->status];

	if (db_run(&use_override, args, NULL) != 1)
		elog(ERROR, "override was not used");
	audit_add(d->batch, &d->chain, "freeze.use", status, status, NULL,
			  audit_detail("environment", environment, NULL));
}

/* What closes, in words. */
char *
freeze_words(const Freeze *f)
{
	StringInfoData words;
	ListCell *cell;

	initStringInfo(&words);
	foreach (cell, f->closing)
	{
		const TimeWindow *w = lfirst(cell);

		appendStringInfo(&words, "%s\"%s\"", words.len > 0 ? ", " : "", w->name);
		if (w->is_deny && w->reason)
			appendStringInfo(&words, " (%s)", w->reason);
		else if (!w->is_deny)
			appendStringInfoString(&words, " (not open)");
	}
	return words.data;
}
