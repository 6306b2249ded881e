/*
 * progress.c
 *		task_progress(): how far the statement is that a task runs now, where the server knows it.
 *
 * The server tells the progress of a session only to its own role and to those that may read all statistics;
 * it is asked as the owner of the extension.  Locks nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/steps.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "shm/executors.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_task_progress);

static DbStatement progress_query = DB_STATEMENT(
	"SELECT p.command || ': ' || p.phase || CASE WHEN p.total > 0 THEN ', ' || p.done || ' of '"
	" || p.total || ' blocks' ELSE '' END || CASE WHEN p.locker > 0 THEN ', for process '"
	" || p.locker || ', ' || p.lockers_done || ' of ' || p.lockers_total || ' are gone' ELSE '' END"
	" FROM (SELECT command, phase, blocks_done, blocks_total, lockers_done, lockers_total,"
	" current_locker_pid FROM pg_catalog.pg_stat_progress_create_index WHERE pid = $1"
	" UNION ALL SELECT 'VACUUM', phase, heap_blks_scanned, heap_blks_total, 0, 0, 0"
	" FROM pg_catalog.pg_stat_progress_vacuum WHERE pid = $1"
	" UNION ALL SELECT 'ANALYZE', phase, sample_blks_scanned, sample_blks_total, 0, 0, 0"
	" FROM pg_catalog.pg_stat_progress_analyze WHERE pid = $1"
	" UNION ALL SELECT command, phase, heap_blks_scanned, heap_blks_total, 0, 0, 0"
	" FROM pg_catalog.pg_stat_progress_cluster WHERE pid = $1)"
	" p (command, phase, done, total, lockers_done, lockers_total, locker)",
	INT4OID);

/*
 * task_progress(deployment uuid, stage integer, ordinal integer, tenant uuid) returns text
 *
 * Out: NULL for a task that does not run, or runs what the server tells no progress of; NULL too for those who
 * do not see the tenant.
 */
Datum
hotswap_task_progress(PG_FUNCTION_ARGS)
{
	TaskKey key = { .deployment = arg_uuid(fcinfo, 0, "deployment"),
					.stage = (int16) arg_int32(fcinfo, 1, "stage", 0, PG_INT16_MAX),
					.ordinal = arg_int32(fcinfo, 2, "ordinal", 0, PG_INT32_MAX),
					.tenant = tenant_argument(fcinfo, 3) };
	int pid = executor_of(&key);
	Datum args[] = { Int32GetDatum(pid) };
	DbScope scope;
	char *words;

	if (pid == 0 || !access_has(&key.tenant, GetUserId(), CAPABILITY_VIEWER))
		PG_RETURN_NULL();
	db_enter(&scope);
	words = db_run(&progress_query, args, NULL) > 0 ? db_text(0, 1) : NULL;
	if (words)
		words = MemoryContextStrdup(scope.context, words);
	db_leave(&scope);
	if (words == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(words));
}
