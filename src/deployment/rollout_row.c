/*
 * rollout_row.c
 *		The row of a rollout, and those of its deployment's pauses.
 *
 * What a rollout knows beside its tasks is in one row for each stage that takes its nodes in waves:
 * the settings that it began with, the wave that it is at, when its bake ends, and the verdict of its
 * gate.  Time is stored as the moment when it ends, so that a bake that ended while nobody looked has
 * ended; while it is paused, as what is left of it.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include <math.h>

#include "base/db.h"
#include "base/label.h"
#include "catalog/pg_type.h"
#include "core/columns.h"
#include "core/gate_function.h"
#include "deployment/rollout_row.h"
#include "route/route.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* hotswap.gate_result, after "it was not asked" */
const char *const gate_names[] = { NULL, "pass", "fail", "inconclusive", "unmeasured" };

/* hotswap.pause_kind, with what it is in a rollout */
static const struct
{
	const char *name;
	Pause kind;
} pause_kinds[] = { { "person", PAUSE_PERSON },
					{ "inconclusive", PAUSE_INCONCLUSIVE },
					{ "unmeasured", PAUSE_UNMEASURED } };

static DbStatement load_rollout = DB_STATEMENT(
	"SELECT strategy, waves, first_bake, bake, bake_last, pause_timeout, wave, bake_until,"
	" (pg_catalog.date_part('epoch', bake_left) * 1000000)::bigint, gate, promoted, hurried,"
	" health_timeout, confidence, more_errors, more_latency, more_cpu, more_memory, looks, adaptive,"
	" min_bake, require_metrics, looked, coalesce(first_share, 0), coalesce(share_step, 0),"
	" measured, max_parallel, coalesce(frozen_wave, -1)"
	" FROM hotswap.rollout WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3",
	UUIDOID, UUIDOID, INT2OID);

enum
{
	R_STRATEGY = 1,
	R_WAVES,
	R_FIRST_BAKE,
	R_BAKE,
	R_BAKE_LAST,
	R_PAUSE_TIMEOUT,
	R_WAVE,
	R_BAKE_UNTIL,
	R_BAKE_LEFT,
	R_GATE,
	R_PROMOTED,
	R_HURRIED,
	R_HEALTH_TIMEOUT,
	R_CONFIDENCE,
	R_MORE, /* in the order of Metric */
	R_LOOKS = R_MORE + METRICS,
	R_ADAPTIVE,
	R_MIN_BAKE,
	R_REQUIRE_METRICS,
	R_LOOKED,
	R_FIRST_SHARE,
	R_SHARE_STEP,
	R_MEASURED,
	R_MAX_PARALLEL,
	R_FROZEN_WAVE
};

static DbStatement save_rollout = DB_STATEMENT(
	"INSERT INTO hotswap.rollout AS r (tenant_id, deployment_id, stage, strategy, waves, first_bake, bake,"
	" bake_last, pause_timeout, wave, bake_until, bake_left, gate, promoted, hurried, health_timeout, confidence,"
	" more_errors, more_latency, more_cpu, more_memory, looks, adaptive, min_bake, require_metrics, looked,"
	" first_share, share_step, measured, max_parallel,"
	" frozen_wave)"
	" VALUES ($1, $2, $3, $4::hotswap.strategy, $5, $6, $7, $8, $9, $10, $11,"
	" $12 * interval '1 microsecond', $13::hotswap.gate_result, $14, $15, $16, $17, $18, $19, $20,"
	" $21, $22, $23, $24, $25, $26, nullif($27, 0), nullif($28, 0), $29::hotswap.gate_result, $30,"
	" nullif($31, -1))"
	" ON CONFLICT (tenant_id, deployment_id, stage) DO UPDATE SET wave = excluded.wave,"
	" bake_until = excluded.bake_until, bake_left = excluded.bake_left, gate = excluded.gate,"
	" promoted = excluded.promoted, hurried = excluded.hurried, looked = excluded.looked,"
	" measured = excluded.measured, frozen_wave = excluded.frozen_wave",
	UUIDOID, UUIDOID, INT2OID, TEXTOID, INT4OID, INTERVALOID, INTERVALOID, BOOLOID, INTERVALOID,
	INT4OID, TIMESTAMPTZOID, INT8OID, TEXTOID, BOOLOID, BOOLOID, INTERVALOID, FLOAT8OID, FLOAT8OID,
	FLOAT8OID, FLOAT8OID, FLOAT8OID, INT4OID, BOOLOID, INTERVALOID, BOOLOID, INT4OID, INT4OID,
	INT4OID, TEXTOID, INT4OID, INT4OID);

static DbStatement insert_functions = DB_STATEMENT(
	"INSERT INTO hotswap.rollout_gate (tenant_id, deployment_id, stage, function, owner, digest)"
	" SELECT $1, $2, $3, e.function, e.owner::regrole, e.digest"
	" FROM unnest($4, $5, $6) e (function, owner, digest)",
	UUIDOID, UUIDOID, INT2OID, TEXTARRAYOID, OIDARRAYOID, BYTEAARRAYOID);

static DbStatement load_functions =
	DB_STATEMENT("SELECT function, owner::oid, digest FROM hotswap.rollout_gate"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 ORDER BY function",
				 UUIDOID, UUIDOID, INT2OID);

static DbStatement forget_functions = DB_STATEMENT(
	"DELETE FROM hotswap.rollout_gate WHERE tenant_id = $1 AND deployment_id = $2 AND stage >= $3",
	UUIDOID, UUIDOID, INT2OID);

static DbStatement forget_rollouts = DB_STATEMENT(
	"DELETE FROM hotswap.rollout WHERE tenant_id = $1 AND deployment_id = $2 AND stage >= $3",
	UUIDOID, UUIDOID, INT2OID);

static DbStatement load_pauses = DB_STATEMENT(
	"SELECT kind, since, ends_at, paused_by, reason,"
	" CASE WHEN reminded_at IS NULL THEN since + (ends_at - since) / 2 END FROM hotswap.pause"
	" WHERE tenant_id = $1 AND deployment_id = $2 ORDER BY kind",
	UUIDOID, UUIDOID);

static DbStatement insert_pause = DB_STATEMENT(
	"INSERT INTO hotswap.pause (tenant_id, deployment_id, kind, since, ends_at, paused_by, reason)"
	" VALUES ($1, $2, $3::hotswap.pause_kind, $4, $5, $6, $7)",
	UUIDOID, UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID);

static DbStatement note_reminder =
	DB_STATEMENT("UPDATE hotswap.pause SET reminded_at = pg_catalog.clock_timestamp()"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND kind = $3::hotswap.pause_kind",
				 UUIDOID, UUIDOID, TEXTOID);

static DbStatement delete_pauses =
	DB_STATEMENT("DELETE FROM hotswap.pause WHERE tenant_id = $1 AND deployment_id = $2"
				 " AND kind = ANY ($3::hotswap.pause_kind[]) RETURNING 1",
				 UUIDOID, UUIDOID, TEXTARRAYOID);

/* ---- rollouts ---- */

static Interval
read_interval(int column)
{
	bool isnull;

	return *DatumGetIntervalP(db_datum(0, column, &isnull));
}

static double
read_number(int column)
{
	bool isnull;
	Datum value = db_datum(0, column, &isnull);

	return isnull ? NAN : DatumGetFloat8(value);
}

/* What the analysis is told, from the row that was read; column: the first of them. */
void
rollout_read_analysis(RolloutRow *r, int column)
{
	r->analysis.confidence = read_number(column);
	/* of percent */
	for (int m = 0; m < METRICS; m++)
		r->analysis.threshold[m] = read_number(column + 1 + m) / 100;
	r->looks = db_int32(0, column + R_LOOKS - R_CONFIDENCE);
	r->adaptive = db_bool(0, column + R_ADAPTIVE - R_CONFIDENCE);
	r->min_bake = read_interval(column + R_MIN_BAKE - R_CONFIDENCE);
	r->require_metrics = db_bool(0, column + R_REQUIRE_METRICS - R_CONFIDENCE);
}

/* NULL: it was not asked. */
Gate
gate_parse(const char *name)
{
	if (name == NULL)
		return GATE_UNASKED;
	return 1 + label_parse(name, gate_names + 1, lengthof(gate_names) - 1);
}

/* NULL: the stage takes all of its nodes at once. */
RolloutRow *
rollout_load(const Deployment *d, int stage)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage) };
	RolloutRow *r;

	if (!d->has_rollout || db_run(&load_rollout, args, NULL) == 0)
		return NULL;
	r = palloc0(sizeof(RolloutRow));
	r->stage = stage;
	r->plan = strategy_plan(label_parse(db_text(0, R_STRATEGY), strategy_names, STRATEGIES));
	r->waves = db_int32(0, R_WAVES);
	r->first_bake = read_interval(R_FIRST_BAKE);
	r->bake = read_interval(R_BAKE);
	r->plan.bake_last = db_bool(0, R_BAKE_LAST);
	r->pause_timeout = read_interval(R_PAUSE_TIMEOUT);
	r->health_timeout = read_interval(R_HEALTH_TIMEOUT);
	rollout_read_analysis(r, R_CONFIDENCE);
	r->looked = db_int32(0, R_LOOKED);
	r->wave = db_int32(0, R_WAVE);
	r->bake_until = db_time(0, R_BAKE_UNTIL, TIME_NULL);
	r->bake_left = db_isnull(0, R_BAKE_LEFT) ? NO_BAKE_LEFT : db_int64(0, R_BAKE_LEFT);
	r->gate = gate_parse(db_text(0, R_GATE));
	r->measured = gate_parse(db_text(0, R_MEASURED));
	r->promoted = db_bool(0, R_PROMOTED);
	r->hurried = db_bool(0, R_HURRIED);
	r->first_share = db_int32(0, R_FIRST_SHARE);
	r->share_step = db_int32(0, R_SHARE_STEP);
	r->max_parallel = db_int32(0, R_MAX_PARALLEL);
	r->frozen_wave = db_int32(0, R_FROZEN_WAVE);
	return r;
}

/* Those of a row that is new. */
static void
save_functions(const Deployment *d, RolloutRow *r)
{
	static const Oid types[] = { TEXTOID, OIDOID, BYTEAOID };
	Columns *rows = columns_make(types, lengthof(types));
	DbArgs args = db_args(&insert_functions);
	ListCell *cell;

	if (r->functions == NIL)
		return;
	foreach (cell, r->functions)
	{
		const GateFunction *f = lfirst(cell);

		columns_add_row(rows);
		columns_put_text(rows, 0, f->name);
		columns_put(rows, 1, ObjectIdGetDatum(f->owner), false);
		columns_put(rows, 2, digest_datum(f->digest), !f->is_there);
	}
	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_int16(&args, r->stage);
	for (size_t i = 0; i < lengthof(types); i++)
		db_arg_datum(&args, get_array_type(types[i]), columns_array(rows, (int) i), false);
	(void) db_run_args(&args);
	r->functions = NIL;
}

void
rollout_save(const Deployment *d, RolloutRow *r)
{
	DbArgs args = db_args(&save_rollout);

	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_int16(&args, r->stage);
	db_arg_text(&args, strategy_names[r->plan.strategy]);
	db_arg_int32(&args, r->waves);
	db_arg_interval(&args, &r->first_bake);
	db_arg_interval(&args, &r->bake);
	db_arg_bool(&args, r->plan.bake_last);
	db_arg_interval(&args, &r->pause_timeout);
	db_arg_int32(&args, r->wave);
	db_arg_time(&args, r->bake_until);
	db_arg_datum(&args, INT8OID, Int64GetDatum(r->bake_left), r->bake_left == NO_BAKE_LEFT);
	db_arg_text(&args, gate_names[r->gate]);
	db_arg_bool(&args, r->promoted);
	db_arg_bool(&args, r->hurried);
	db_arg_interval(&args, &r->health_timeout);
	db_arg_datum(&args, FLOAT8OID, Float8GetDatum(r->analysis.confidence), false);
	for (int m = 0; m < METRICS; m++)
		db_arg_datum(&args, FLOAT8OID, Float8GetDatum(100 * r->analysis.threshold[m]),
					 isnan(r->analysis.threshold[m]));
	db_arg_int32(&args, r->looks);
	db_arg_bool(&args, r->adaptive);
	db_arg_interval(&args, &r->min_bake);
	db_arg_bool(&args, r->require_metrics);
	db_arg_int32(&args, r->looked);
	db_arg_int32(&args, r->first_share);
	db_arg_int32(&args, r->share_step);
	db_arg_text(&args, gate_names[r->measured]);
	db_arg_int32(&args, r->max_parallel);
	db_arg_int32(&args, r->frozen_wave);
	(void) db_run_args(&args);
	save_functions(d, r);
	r->is_changed = false;
}

/* The functions that a rollout asks, as they were when it began: of GateFunction. */
List *
rollout_functions(const Deployment *d, int stage)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(stage) };
	uint64 n = db_run(&load_functions, args, NULL);
	List *functions = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		GateFunction *f = palloc0(sizeof(GateFunction));

		f->name = db_text(i, 1);
		f->owner = db_oid(i, 2);
		f->is_there = db_digest(i, 3, f->digest);
		functions = lappend(functions, f);
	}
	return functions;
}

/* In small steps and many waves the product is more than all of them. */
int
rollout_share(const RolloutRow *r, int wave)
{
	return (int) Min(ROUTE_ALL, r->first_share + (int64) (wave - 1) * r->share_step);
}

/* A retry begins these stages anew. */
void
rollout_forget(const Deployment *d, int from_stage)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), Int16GetDatum(from_stage) };

	if (!d->has_rollout)
		return;
	(void) db_run(&forget_rollouts, args, NULL);
	(void) db_run(&forget_functions, args, NULL);
}

static const Interval *
bake_of(const RolloutRow *r)
{
	return r->wave == 1 ? &r->first_bake : &r->bake;
}

/* Of the present wave, in microseconds. */
int64
rollout_bake_length(const RolloutRow *r)
{
	TimestampTz now = GetCurrentTimestamp();

	return time_after(now, bake_of(r)) - now;
}

/* The bake of a wave counts from its last swap, however late somebody looks. */
void
rollout_begin_bake(RolloutRow *r, TimestampTz from)
{
	r->bake_until = time_after(from, bake_of(r));
	r->is_changed = true;
}

/* Time that is paused does not count. */
void
rollout_hold_bake(RolloutRow *r)
{
	if (r->bake_until == TIME_NULL)
		return;
	r->bake_left = Max(r->bake_until - GetCurrentTimestamp(), 0);
	r->bake_until = TIME_NULL;
	r->is_changed = true;
}

void
rollout_go_on(RolloutRow *r)
{
	if (r->bake_left == NO_BAKE_LEFT)
		return;
	r->bake_until = GetCurrentTimestamp() + r->bake_left;
	r->bake_left = NO_BAKE_LEFT;
	r->is_changed = true;
}

/* ---- pauses ---- */

static int
find_pause(Pause kind)
{
	int i = 0;

	while (pause_kinds[i].kind != kind)
		i++;
	return i;
}

/* Of PauseRow. */
List *
pauses_load(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };
	uint64 n = d->has_rollout ? db_run(&load_pauses, args, NULL) : 0;
	List *pauses = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		PauseRow *p = palloc0(sizeof(PauseRow));

		for (int k = 0; k < (int) lengthof(pause_kinds); k++)
			if (strcmp(pause_kinds[k].name, db_text(i, 1)) == 0)
				p->kind = pause_kinds[k].kind;
		p->since = db_time(i, 2, TIME_NULL);
		p->ends_at = db_time(i, 3, TIME_NULL);
		p->paused_by = db_text(i, 4);
		p->reason = db_text(i, 5);
		p->remind_at = db_time(i, 6, DT_NOEND);
		pauses = lappend(pauses, p);
	}
	return pauses;
}

/* deployment_save() must follow. */
void
pause_add(Deployment *d, const PauseRow *p)
{
	DbArgs args = db_args(&insert_pause);

	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_text(&args, pause_kinds[find_pause(p->kind)].name);
	db_arg_time(&args, p->since);
	db_arg_time(&args, p->ends_at);
	db_arg_text(&args, p->paused_by);
	db_arg_text(&args, p->reason);
	(void) db_run_args(&args);
	d->has_rollout = true;
}

void
pause_note_reminder(const Deployment *d, PauseRow *p)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 CStringGetTextDatum(pause_kinds[find_pause(p->kind)].name) };

	(void) db_run(&note_reminder, args, NULL);
	p->remind_at = DT_NOEND;
}

/* False: there was none of these kinds. */
bool
pauses_remove(const Deployment *d, unsigned kinds)
{
	DbArgs args = db_args(&delete_pauses);
	List *names = NIL;

	for (int i = 0; i < (int) lengthof(pause_kinds); i++)
		if (kinds & pause_kinds[i].kind)
			names = lappend(names, unconstify(char *, pause_kinds[i].name));
	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(names), false);
	return d->has_rollout && db_run_args(&args) > 0;
}
