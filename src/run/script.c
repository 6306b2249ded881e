/*
 * script.c
 *		Runs the statements of a script, one after the other, as whoever the session is.
 *
 * The caller has connected SPI and pushed a snapshot.  A script has hotswap.statement_timeout for all
 * of it: then it is cancelled, has failed even if it catches that and comes to its end, and in an executor
 * hotswap.cancel_grace later the process is ended.  A statement_timeout that it sets is for each statement
 * within that.  Locks whatever the script locks.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "module/parse.h"
#include "module/script.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "run/copy.h"
#include "run/script.h"
#include "run/session.h"
#include "run/session_mark.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/timeout.h"

/*
 * Where the rows of a statement go: nowhere.  A verify script fails when a query of it with one boolean
 * column yields false or NULL, so of that each row is looked at.
 */
typedef struct RowSink
{
	DestReceiver receiver;
	const TaskRun *run;
	bool verify;
	bool must_be_true; /* the rows of the present query */
} RowSink;

static void
sink_start(DestReceiver *self, int operation pg_attribute_unused(), TupleDesc desc)
{
	RowSink *sink = (RowSink *) self;

	sink->must_be_true =
		sink->verify && desc->natts == 1 && TupleDescAttr(desc, 0)->atttypid == BOOLOID;
}

static bool
sink_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowSink *sink = (RowSink *) self;
	const char *statement = sink->run->statement;
	bool isnull;

	if (sink->must_be_true && (!DatumGetBool(slot_getattr(slot, 1, &isnull)) || isnull))
		ereport(ERROR, (errcode(ERRCODE_ASSERT_FAILURE),
						isnull ? errmsg("verification returned null") :
								 errmsg("verification returned false"),
						errdetail("Statement: %.*s",
								  pg_mbcliplen(statement, strlen(statement), 1000), statement)));
	return true;
}

static void
sink_end(DestReceiver *self pg_attribute_unused())
{
}

/* Is it a query?  What a FETCH, an EXPLAIN or a CALL returns is of no interest to anybody. */
static bool
is_query(const RawStmt *raw)
{
	return IsA(raw->stmt, SelectStmt) || IsA(raw->stmt, InsertStmt);
}

/* Does what SPI says count the rows that were changed? */
static bool
changes_rows(int rc)
{
	return rc == SPI_OK_INSERT || rc == SPI_OK_UPDATE || rc == SPI_OK_DELETE ||
		   rc == SPI_OK_MERGE || rc == SPI_OK_INSERT_RETURNING || rc == SPI_OK_UPDATE_RETURNING ||
		   rc == SPI_OK_DELETE_RETURNING;
}

/* Runs one statement. */
static void
execute(TaskRun *run, bool verify)
{
	RowSink sink = { .receiver = { .receiveSlot = sink_row,
								   .rStartup = sink_start,
								   .rShutdown = sink_end,
								   .rDestroy = sink_end,
								   .mydest = DestNone },
					 .run = run,
					 .verify = verify };
	SPIExecuteOptions options = { .dest = &sink.receiver };
	int rc = SPI_execute_extended(run->statement, &options);

	if (rc < 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("statement is not allowed in a script"),
						errdetail("SPI reports %s.", SPI_result_code_string(rc))));
	if (changes_rows(rc))
		run->rows += SPI_processed;
}

static void
run_statement(TaskRun *run, const ParsedScript *script, const RawStmt *raw, bool verify)
{
	const char *text = script->text;
	int start = raw->stmt_location;
	int length = raw->stmt_len > 0 ? raw->stmt_len : (int) strlen(text + start);

	while (length > 0 && isspace((unsigned char) text[start]))
	{
		start++;
		length--;
	}
	run->statement = pnstrdup(text + start, length);
	run->statement_at = start;
	run->at = script_statement_offset(text, start);
	session_pin_errors();
	debug_query_string = run->statement;
	pgstat_report_activity(STATE_RUNNING, run->statement);
	if (script_copies_data(raw->stmt))
		run_copy(run, script, raw);
	else
		execute(run, verify && is_query(raw));
}

/* ---- the time limit ---- */

static TimestampTz deadline;                     /* of the present limit */
static TimestampTz ends_at;                      /* of the statement that runs: that, or sooner */
static TimeoutId overrun_timeout = MAX_TIMEOUTS; /* MAX_TIMEOUTS: there is none */

/* In an executor, once: what is called, in a signal handler, when the grace period after a limit is over. */
void
run_limit_on_overrun(timeout_handler_proc handler)
{
	overrun_timeout = RegisterTimeout(USER_TIMEOUT, handler);
}

/* In a signal handler: it is over in so many ms, whatever the limit is. */
void
run_limit_overrun_after(int ms)
{
	if (overrun_timeout != MAX_TIMEOUTS)
		enable_timeout_after(overrun_timeout, ms);
}

/* Starts the time limit, unless the session of CALL work() has one of its own running. */
bool
run_limit_begin(void)
{
	if (get_timeout_active(STATEMENT_TIMEOUT))
		return false;
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), hotswap_statement_timeout);
	ends_at = deadline;
	enable_timeout_at(STATEMENT_TIMEOUT, deadline);
	if (overrun_timeout != MAX_TIMEOUTS)
		enable_timeout_at(overrun_timeout,
						  TimestampTzPlusMilliseconds(deadline, hotswap_cancel_grace));
	return true;
}

/* What runs now ends by itself no later than so many ms from now, if they are any, and than the limit. */
static void
limit_by(int ms)
{
	TimestampTz end = deadline;

	if (ms > 0)
		end = Min(end, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms));
	if (end == ends_at)
		return;
	ends_at = end;
	enable_timeout_at(STATEMENT_TIMEOUT, end);
}

/* Is the time over that the limit, or the script itself, gave to what ran last? */
bool
run_limit_passed(void)
{
	return GetCurrentTimestamp() >= ends_at;
}

/* Ends the limit, after an error too. */
void
run_limit_stop(bool armed)
{
	if (!armed)
		return;
	disable_timeout(STATEMENT_TIMEOUT, false);
	if (overrun_timeout != MAX_TIMEOUTS)
		disable_timeout(overrun_timeout, false);
}

/* Ends the limit; what has caught the cancel and gone on has failed all the same. */
void
run_limit_end(bool armed)
{
	run_limit_stop(armed);
	if (armed && GetCurrentTimestamp() >= deadline)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("the script took longer than hotswap.statement_timeout"),
						errdetail("It has caught the cancel and gone on.")));
}

/* ---- scripts ---- */

/* A script whose statements are to be run. */
typedef struct Script
{
	TaskRun *run;
	const char *sql;
	const char *label;
	bool verify;
	bool armed; /* the time limit */
} Script;

static void
run_statements(void *arg)
{
	const Script *script = arg;
	ListCell *cell;
	ParsedScript *parsed = script->verify ? script_parse_verify(script->sql) :
											script_parse(script->label, script->sql);

	foreach (cell, parsed->statements)
	{
		CHECK_FOR_INTERRUPTS();
		if (script->armed)
			limit_by(StatementTimeout);
		run_statement(script->run, parsed, lfirst_node(RawStmt, cell), script->verify);
		parse_require_setting(script->label);
	}
	if (script->armed)
		limit_by(0);
}

/* Runs a script as the role, within its time limit.  A verify script leaves nothing. */
void
run_script(TaskRun *run, const char *name, const char *sql)
{
	const char *query = debug_query_string;
	bool armed = run_limit_begin();
	SessionMark mark;
	Script script = { .run = run,
					  .sql = sql,
					  .label = psprintf("%s script", name),
					  .verify = strcmp(name, "verify") == 0,
					  .armed = armed };

	run->script = name;
	run->sql = sql;
	session_mark(&mark);
	parse_fix_setting();
	/* whatever the role's settings are */
	guc_push("statement_timeout", "0");
	if (script.verify)
		subxact_undo(run_statements, &script);
	else
		run_statements(&script);
	run->statement = NULL;
	debug_query_string = query;
	session_tidy(&mark, &run->lock);
	run_limit_end(armed);
	run->script = run->sql = NULL;
}

/*
 * Runs what the scripts have deferred.  Now, since at the commit the trigger functions, which are
 * the role's own code, would run as whoever the effective user is then.
 */
void
run_deferred(const TaskRun *run)
{
	bool armed = run_limit_begin();
	SessionMark mark;
	int rc;

	session_mark(&mark);
	rc = SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0);
	session_tidy(&mark, &run->lock);
	run_limit_end(armed);
	if (rc < 0)
		elog(ERROR, "SET CONSTRAINTS failed: %s", SPI_result_code_string(rc));
}

/*
 * Runs the triggers that a step has deferred, as the end of its transaction would: the next step finds nothing
 * pending, and its constraints are as deferred as ever.
 */
void
run_deferred_triggers(const TaskRun *run)
{
	bool armed = run_limit_begin();
	SessionMark mark;

	session_mark(&mark);
	AfterTriggerFireDeferred();
	session_tidy(&mark, &run->lock);
	run_limit_end(armed);
}
