/*
 * script.c
 *		Runs the statements of a script, one after the other, as whoever the session is.
 *
 * The caller has connected SPI and pushed a snapshot.  A script has hotswap.statement_timeout for
 * all of it.  Locks whatever the script locks.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/guc.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "module/parse.h"
#include "module/script.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "run/script.h"
#include "tcop/tcopprot.h"
#include "utils/timeout.h"

/* A verify script fails when a query of it with one boolean column yields false or NULL. */
static void
require_true(const TaskRun *run)
{
	TupleDesc desc = SPI_tuptable ? SPI_tuptable->tupdesc : NULL;

	if (desc == NULL || desc->natts != 1 || SPI_gettypeid(desc, 1) != BOOLOID)
		return;
	for (uint64 i = 0; i < SPI_processed; i++)
		if (db_isnull(i, 1) || !db_bool(i, 1))
			ereport(ERROR, (errcode(ERRCODE_ASSERT_FAILURE),
							db_isnull(i, 1) ? errmsg("verification returned null") :
											  errmsg("verification returned false"),
							errdetail("Statement: %.*s",
									  pg_mbcliplen(run->statement, strlen(run->statement), 1000),
									  run->statement)));
}

/* How far a script has been counted: characters are found by counting, and only once. */
typedef struct Place
{
	int offset;     /* in bytes */
	int characters; /* before it */
} Place;

static void
run_statement(TaskRun *run, const char *sql, const RawStmt *raw, Place *place, bool verify)
{
	int start = raw->stmt_location;
	int length = raw->stmt_len > 0 ? raw->stmt_len : (int) strlen(sql + start);
	int rc;

	while (length > 0 && isspace((unsigned char) sql[start]))
	{
		start++;
		length--;
	}
	run->statement = pnstrdup(sql + start, length);
	place->characters += pg_mbstrlen_with_len(sql + place->offset, start - place->offset);
	place->offset = start;
	run->statement_at = place->characters + 1;
	debug_query_string = run->statement;
	pgstat_report_activity(STATE_RUNNING, run->statement);
	rc = SPI_execute(run->statement, false, 0);
	if (rc < 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("statement is not allowed in a script"),
						errdetail("SPI reports %s.", SPI_result_code_string(rc))));
	if (verify && (rc == SPI_OK_SELECT || rc == SPI_OK_INSERT_RETURNING))
		require_true(run);
	SPI_freetuptable(SPI_tuptable);
}

/* Starts the time limit, unless the session of CALL work() has one of its own running. */
bool
run_limit_begin(void)
{
	if (get_timeout_active(STATEMENT_TIMEOUT))
		return false;
	enable_timeout_after(STATEMENT_TIMEOUT, hotswap_statement_timeout);
	return true;
}

void
run_limit_end(bool armed)
{
	if (armed)
		disable_timeout(STATEMENT_TIMEOUT, false);
}

/* Runs a script as the role, within its time limit. */
void
run_script(TaskRun *run, const char *name, const char *sql)
{
	bool verify = strcmp(name, "verify") == 0;
	const char *query = debug_query_string;
	bool armed = run_limit_begin();
	Place place = { 0 };
	char *label = psprintf("%s script", name);
	ListCell *cell;

	run->script = name;
	parse_fix_setting();
	foreach (cell, script_parse(label, sql))
	{
		CHECK_FOR_INTERRUPTS();
		run_statement(run, sql, lfirst_node(RawStmt, cell), &place, verify);
		parse_require_setting(label);
	}
	run_limit_end(armed);
	run->script = run->statement = NULL;
	debug_query_string = query;
}

/*
 * Runs what the scripts have deferred.  Now, since at the commit the trigger functions, which are
 * the role's own code, would run as whoever the effective user is then.
 */
void
run_deferred(void)
{
	bool armed = run_limit_begin();
	int rc = SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0);

	run_limit_end(armed);
	if (rc < 0)
		elog(ERROR, "SET CONSTRAINTS failed: %s", SPI_result_code_string(rc));
}
