/*
 * window.c
 *		Times at which deployments to an environment may or may not start: set_window(),
 *		remove_window(), next_opening().
 *
 * A row is never changed: a window that is set again is a new one, so that what was overridden is what
 * somebody has seen.  The dispatcher loads everything anew when a change commits, and looks again at
 * what waits.
 *
 * Locks: tenant row, then the window's row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/environment_row.h"
#include "core/freeze.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/rangetypes.h"

PG_FUNCTION_INFO_V1(hotswap_set_window);
PG_FUNCTION_INFO_V1(hotswap_remove_window);
PG_FUNCTION_INFO_V1(hotswap_next_opening);

static const char *const window_kind_names[] = { "allow", "deny" };

/* What a window says, as JSON: the before and after of its audit events. */
#define WINDOW_JSON                                                                         \
	"pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('kind', w.kind, 'reason', " \
	"w.reason, 'during', w.during, 'days', w.days, 'starts', w.starts, 'ends', w.ends,"     \
	" 'time_zone', w.time_zone, 'modules', w.modules))::text"

static DbStatement lock_window =
	DB_STATEMENT("SELECT w.id, " WINDOW_JSON " FROM hotswap.environment_window w"
				 " WHERE w.tenant_id IS NOT DISTINCT FROM $1 AND w.environment = $2 AND w.name = $3"
				 " AND w.removed_at IS NULL FOR NO KEY UPDATE",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement retire_window =
	DB_STATEMENT("UPDATE hotswap.environment_window SET removed_at = pg_catalog.clock_timestamp()"
				 " WHERE tenant_id IS NOT DISTINCT FROM $1 AND id = $2",
				 UUIDOID, UUIDOID);

#define WINDOW_TYPES                                                                           \
	UUIDOID, TEXTOID, TEXTOID, UUIDOID, TEXTOID, TEXTOID, TSTZRANGEOID, TEXTARRAYOID, TIMEOID, \
		TIMEOID, TEXTOID, TEXTARRAYOID, TEXTOID

static DbStatement insert_window = DB_STATEMENT(
	"INSERT INTO hotswap.environment_window (tenant_id, environment, name, id, kind, reason, during, days,"
	" starts, ends, time_zone, modules, created_by, created_at) VALUES ($1, $2, $3, $4,"
	" $5::hotswap.window_kind, $6, $7, $8, $9, $10, $11, $12, $13, pg_catalog.now())",
	WINDOW_TYPES);

/* What the same parameters would make. */
static DbStatement describe_window =
	DB_STATEMENT("SELECT " WINDOW_JSON
				 " FROM (VALUES ($5::hotswap.window_kind, $6, $7, $8, $9, $10, $11, $12))"
				 " w (kind, reason, during, days, starts, ends, time_zone, modules)",
				 WINDOW_TYPES);

enum
{
	ARG_ENVIRONMENT,
	ARG_NAME,
	ARG_KIND,
	ARG_REASON,
	ARG_DURING,
	ARG_DAYS,
	ARG_STARTS,
	ARG_ENDS,
	ARG_ZONE,
	ARG_MODULES,
	ARG_TENANT,
	ARG_ALL_TENANTS
};

/* Which window: its environment, name, and tenant or all of them. */
typedef struct WindowKey
{
	char *environment;
	char *name;
	pg_uuid_t tenant; /* the default one where it is of all */
	bool everywhere;
} WindowKey;

static void
read_key(FunctionCallInfo fcinfo, int tenant, WindowKey *k)
{
	k->environment = arg_text(fcinfo, ARG_ENVIRONMENT, "environment", NAME_LIMIT);
	k->name = arg_text(fcinfo, ARG_NAME, "name", NAME_LIMIT);
	k->everywhere = arg_bool(fcinfo, tenant + 1, "all_tenants");
	if (k->everywhere && !PG_ARGISNULL(tenant))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"tenant\" must be null where \"all_tenants\" is true")));
	k->tenant = k->everywhere ? tenant_default() : tenant_argument(fcinfo, tenant);
}

static void
begin_call(Call *c, const WindowKey *k)
{
	if (k->everywhere)
	{
		call_begin_installation(c, CAPABILITY_ADMIN, "change the windows of all tenants");
		return;
	}
	call_begin_change(c, &k->tenant, CAPABILITY_ADMIN, "change a window");
	environment_require(&k->tenant, k->environment);
}

static void
bind_key(DbArgs *args, const WindowKey *k)
{
	db_arg_uuid(args, k->everywhere ? NULL : &k->tenant);
	db_arg_text(args, k->environment);
	db_arg_text(args, k->name);
}

/* Locks the window of that name; false if there is none. */
static bool
find_window(const WindowKey *k, pg_uuid_t *id, char **before)
{
	DbArgs args = db_args(&lock_window);

	bind_key(&args, k);
	if (db_run_args(&args) == 0)
		return false;
	*id = db_uuid(0, 1);
	*before = db_text(0, 2);
	return true;
}

static void
retire(const WindowKey *k, const pg_uuid_t *id)
{
	DbArgs args = db_args(&retire_window);

	db_arg_uuid(&args, k->everywhere ? NULL : &k->tenant);
	db_arg_uuid(&args, id);
	(void) db_run_args(&args);
}

static void
write_event(const Call *c, const WindowKey *k, const char *event, const char *before,
			const char *after)
{
	audit_tenant(&c->actor, &k->tenant, event, before, after, NULL,
				 audit_detail("environment", k->environment, "name", k->name, "tenants",
							  k->everywhere ? "all" : NULL, NULL));
	wake_reload();
}

/* ---- set_window() ---- */

/* Raises 22023 unless the window is either once or every week, and complete. */
static void
require_one_form(FunctionCallInfo fcinfo)
{
	bool is_once = !PG_ARGISNULL(ARG_DURING);

	for (int n = ARG_DAYS; n <= ARG_ZONE; n++)
		if (PG_ARGISNULL(n) != is_once && n != ARG_DAYS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a window must be either once or every week"),
					 errdetail("The first has \"during\", the second \"starts\", \"ends\" and "
							   "\"time_zone\", and days or every day.")));
	if (is_once && !PG_ARGISNULL(ARG_DAYS))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"days\" must be null where \"during\" is not")));
}

static void
require_span(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(ARG_DURING) && RangeIsEmpty(PG_GETARG_RANGE_P(ARG_DURING)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"during\" must not be empty")));
	if (!PG_ARGISNULL(ARG_STARTS) &&
		PG_GETARG_TIMEADT(ARG_STARTS) % USECS_PER_DAY == PG_GETARG_TIMEADT(ARG_ENDS))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"starts\" and \"ends\" must not be the same"),
						errhint("A whole day is from 00:00 to 24:00.")));
}

/* The days of the week in their order, all of them for NULL. */
static List *
read_days(FunctionCallInfo fcinfo)
{
	bool wanted[WEEKDAY_COUNT] = { false };
	List *given = arg_names(fcinfo, ARG_DAYS, "days", NAME_LIMIT);
	List *days = NIL;
	ListCell *cell;

	foreach (cell, given)
	{
		int day = 0;

		while (day < WEEKDAY_COUNT && strcmp(weekday_names[day], lfirst(cell)) != 0)
			day++;
		if (day == WEEKDAY_COUNT)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid value for \"days\": \"%s\"", (char *) lfirst(cell)),
							errdetail("It must be one of mon, tue, wed, thu, fri, sat, sun.")));
		wanted[day] = true;
	}
	for (int day = 0; day < WEEKDAY_COUNT; day++)
		if (given == NIL || wanted[day])
			days = lappend(days, unconstify(char *, weekday_names[day]));
	return days;
}

static char *
read_zone(FunctionCallInfo fcinfo)
{
	char *zone = arg_text(fcinfo, ARG_ZONE, "time_zone", NAME_LIMIT);

	if (pg_tzset(zone) == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for \"time_zone\": \"%s\"", zone),
						errhint("See the view pg_timezone_names.")));
	return zone;
}

static List *
read_modules(FunctionCallInfo fcinfo)
{
	List *modules = arg_names(fcinfo, ARG_MODULES, "modules", MODULE_LIMIT);
	ListCell *cell;

	foreach (cell, modules)
		if (!arg_is_module(lfirst(cell)))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid value for \"modules\": \"%s\"", (char *) lfirst(cell)),
							errdetail("It cannot be the name of a module.")));
	return modules;
}

/* The parameters of insert_window after its key. */
static void
bind_window(FunctionCallInfo fcinfo, DbArgs *args, const pg_uuid_t *id, const char *person)
{
	bool is_weekly = PG_ARGISNULL(ARG_DURING);
	List *modules = read_modules(fcinfo);

	db_arg_uuid(args, id);
	db_arg_text(args, window_kind_names[arg_label(fcinfo, ARG_KIND, "kind", window_kind_names,
												  lengthof(window_kind_names))]);
	db_arg_text(args, arg_text_or_null(fcinfo, ARG_REASON, "reason", REASON_LIMIT));
	db_arg_datum(args, TSTZRANGEOID, PG_GETARG_DATUM(ARG_DURING), is_weekly);
	db_arg_datum(args, TEXTARRAYOID, is_weekly ? db_text_array(read_days(fcinfo)) : (Datum) 0,
				 !is_weekly);
	db_arg_datum(args, TIMEOID, PG_GETARG_DATUM(ARG_STARTS), !is_weekly);
	db_arg_datum(args, TIMEOID, PG_GETARG_DATUM(ARG_ENDS), !is_weekly);
	db_arg_text(args, is_weekly ? read_zone(fcinfo) : NULL);
	db_arg_datum(args, TEXTARRAYOID, modules ? db_text_array(modules) : (Datum) 0, modules == NIL);
	db_arg_text(args, person);
}

/*
 * set_window(environment text, name text, kind text, reason text, during tstzrange, days text[],
 *		starts time, ends time, time_zone text, modules text[], tenant uuid, all_tenants boolean)
 *		returns the window's id
 *
 * In: kind allow or deny; during, or starts, ends and time_zone, with days or for every day; ends not later
 * than starts is that of the day after; modules NULL: all; all_tenants: of all, with admin for all.
 * Errors: 22023, P0002 no such environment or tenant, 42501, YH003.  Locks the tenant row, or that of the
 * installation, and the window of that name; writes environment_window and, when something has changed, the
 * audit log; wakes the dispatcher.
 */
Datum
hotswap_set_window(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id = palloc(sizeof(pg_uuid_t));
	WindowKey key;
	Call c;
	pg_uuid_t old;
	char *before = NULL;
	char *after;
	DbArgs args = db_args(&insert_window);

	read_key(fcinfo, ARG_TENANT, &key);
	require_one_form(fcinfo);
	require_span(fcinfo);
	uuid7_generate(id);
	begin_call(&c, &key);
	bind_key(&args, &key);
	bind_window(fcinfo, &args, id, c.actor.person);
	(void) db_run(&describe_window, args.values, args.nulls);
	after = db_text(0, 1);
	if (find_window(&key, &old, &before) && strcmp(before, after) == 0)
		*id = old;
	else
	{
		if (before)
			retire(&key, &old);
		(void) db_run_args(&args);
		write_event(&c, &key, "set_window", before, after);
	}
	call_end(&c);
	PG_RETURN_UUID_P(id);
}

/* ---- remove_window() ---- */

/*
 * remove_window(environment text, name text, tenant uuid, all_tenants boolean)
 *
 * Errors: 22023, P0002 no such window, environment or tenant, 42501, YH003.  Locks as set_window(); writes
 * environment_window and the audit log; wakes the dispatcher.
 */
Datum
hotswap_remove_window(PG_FUNCTION_ARGS)
{
	WindowKey key;
	Call c;
	pg_uuid_t id;
	char *before;

	read_key(fcinfo, 2, &key);
	begin_call(&c, &key);
	if (!find_window(&key, &id, &before))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 key.everywhere ?
					 errmsg("environment \"%s\" of all tenants has no window \"%s\"",
							key.environment, key.name) :
					 errmsg("environment \"%s\" has no window \"%s\"", key.environment, key.name)));
	retire(&key, &id);
	write_event(&c, &key, "remove_window", before, NULL);
	call_end(&c);
	PG_RETURN_VOID();
}

/* ---- next_opening() ---- */

/*
 * next_opening(environment text, module text, at timestamptz, tenant uuid) returns a time
 *
 * Errors: 22023, P0002 no such environment, 42501.  Locks nothing.
 */
Datum
hotswap_next_opening(PG_FUNCTION_ARGS)
{
	char *environment = arg_text(fcinfo, 0, "environment", NAME_LIMIT);
	char *module = PG_ARGISNULL(1) ? NULL : arg_module(fcinfo, 1);
	TimestampTz at = arg_time(fcinfo, 2, "at");
	pg_uuid_t tenant = tenant_argument(fcinfo, 3);
	DbScope scope;

	arg_require(fcinfo, 2, "at");
	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_VIEWER, "look at the windows");
	environment_require(&tenant, environment);
	at = windows_opening(freeze_windows(&tenant, environment, module), at);
	db_leave(&scope);
	PG_RETURN_TIMESTAMPTZ(at);
}
