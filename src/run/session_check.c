/*
 * session_check.c
 *		Has a script left anything behind in the session?  Then it has failed.
 *
 * The transaction goes on after it with the record, and the session with the next task.  Locks
 * nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/db.h"
#include "miscadmin.h"
#include "run/session_check.h"
#include "utils/builtins.h"
#include "utils/guc.h"

static DbStatement open_cursor = DB_STATEMENT0(
	"SELECT name FROM pg_catalog.pg_cursor() WHERE name <> '' AND name !~ '^<unnamed portal' LIMIT 1");

static DbStatement temporary_object =
	DB_STATEMENT0("SELECT relname::text FROM pg_catalog.pg_class"
				  " WHERE relnamespace = pg_catalog.pg_my_temp_schema() LIMIT 1");

static void
refuse(const char *message, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg_internal("%s", message), errhint("%s", hint)));
}

/*
 * Refuses what a script may not leave behind.  user and search_path: as they were before it; lock: the lock
 * of the task.
 */
void
session_check(Oid user, const char *search_path, const LOCKTAG *lock)
{
	DbScope scope;

	if (GetUserId() != user)
		refuse("script changed the role", "End the script with RESET ROLE.");
	if (XactIsoLevel != XACT_READ_COMMITTED || XactReadOnly)
		refuse("script changed the characteristics of the transaction",
			   "Leave out SET TRANSACTION.");
	if (strcmp(GetConfigOption("search_path", false, false), search_path) != 0)
		refuse("script changed search_path",
			   "Qualify the names, or use SET search_path in the definition of a function.");
	if (!lock_held_by_me(lock, ExclusiveLock))
		refuse("script released advisory locks that are not its own",
			   "Use pg_advisory_unlock() in place of pg_advisory_unlock_all().");
	db_enter(&scope);
	if (db_run(&open_cursor, NULL, NULL) > 0)
		refuse(psprintf("script left cursor \"%s\" open", db_text(0, 1)),
			   "Close it at the end of the script.");
	if ((MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE) &&
		db_run(&temporary_object, NULL, NULL) > 0)
		refuse(psprintf("script left temporary relation \"%s\" behind", db_text(0, 1)),
			   "Drop it at the end of the script.");
	db_leave(&scope);
}
