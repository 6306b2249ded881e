/*
 * dispatching.c
 *		Whether this database dispatches: adopt(), stop_dispatching(), start_dispatching().
 *
 * Locks: the installation row.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "core/call.h"
#include "core/completeness.h"
#include "core/installation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_adopt);
PG_FUNCTION_INFO_V1(hotswap_stop_dispatching);
PG_FUNCTION_INFO_V1(hotswap_start_dispatching);

static DbStatement update_owner =
	DB_STATEMENT("UPDATE hotswap.installation SET system_identifier = $1, database_oid = $2",
				 INT8OID, OIDOID);

static DbStatement update_stop = DB_STATEMENT(
	"UPDATE hotswap.installation SET stop_reason = $1, stopped_by = $2, stopped_at = pg_catalog.now()",
	TEXTOID, TEXTOID);

static DbStatement clear_stop = DB_STATEMENT0(
	"UPDATE hotswap.installation SET stop_reason = NULL, stopped_by = NULL, stopped_at = NULL"
	" WHERE stop_reason IS NOT NULL");

/* adopt(): this database may dispatch what it contains. */
Datum
hotswap_adopt(PG_FUNCTION_ARGS)
{
	Datum here[] = { Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId) };
	Call c;

	call_begin_installation(&c, CAPABILITY_ADMIN, "adopt the deployments of this database");
	if (installation_dispatch_state() == DISPATCH_FOREIGN)
	{
		completeness_require();
		(void) db_run(&update_owner, here, NULL);
		installation_audit(&c.actor, "adopt", NULL, NULL, NULL, NULL);
		wake_reload();
	}
	call_end(&c);
	PG_RETURN_VOID();
}

/*
 * stop_dispatching(reason text)
 *
 * In: reason of 1 to 10,000 characters. Counts at commit and survives a restart. Errors: 22023
 * reason blank or NULL, 42501. Writes installation and the audit log.
 */
Datum
hotswap_stop_dispatching(PG_FUNCTION_ARGS)
{
	char *reason = arg_text(fcinfo, 0, "reason", REASON_LIMIT);
	Call c;
	DbArgs args = db_args(&update_stop);

	call_begin_installation(&c, CAPABILITY_OPERATOR, "stop dispatching");
	db_arg_text(&args, reason);
	db_arg_text(&args, c.actor.person);
	(void) db_run_args(&args);
	installation_audit(&c.actor, "stop_dispatching", NULL, NULL, reason, NULL);
	wake_reload();
	call_end(&c);
	PG_RETURN_VOID();
}

/*
 * start_dispatching()
 *
 * Errors: 55000 it was not stopped, 42501. Writes installation and the audit log; wakes the
 * dispatcher at commit.
 */
Datum
hotswap_start_dispatching(PG_FUNCTION_ARGS)
{
	Call c;

	call_begin_installation(&c, CAPABILITY_OPERATOR, "start dispatching");
	if (db_run(&clear_stop, NULL, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("dispatching is not stopped in database \"%s\"",
							   get_database_name(MyDatabaseId))));
	installation_audit(&c.actor, "start_dispatching", NULL, NULL, NULL, NULL);
	wake_reload();
	call_end(&c);
	PG_RETURN_VOID();
}
