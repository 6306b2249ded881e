/*
 * session_mark.c
 *		What a script has left behind in the session is put back, dropped or refused.
 *
 * The transaction goes on after it with the next script and the record, and the session with the next task.
 * Put back is what it has set, however it did that; dropped is what is temporary or prepared, as the end of a
 * session would; refused is what cannot be undone, or would be by mistake: another role, a cursor, a lock.  In the
 * session of CALL work() what was there before the script stays.
 *
 * Nothing of this is done as the owner of the extension but the look at cursors and what is prepared, and
 * no code of anybody's is called, event triggers neither.  The exception are triggers that the script has
 * deferred: they run as its role before something is dropped, since a table that has some pending cannot
 * go.
 *
 * Locks the temporary objects.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/db.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "commands/prepare.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "run/session_mark.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"

/* All that scripts do is part of one statement of the session. */
static DbStatement open_query =
	DB_STATEMENT0("SELECT name, false FROM pg_catalog.pg_prepared_statement()"
				  " WHERE from_sql AND prepare_time >= pg_catalog.statement_timestamp()"
				  " UNION ALL SELECT name, true FROM pg_catalog.pg_cursor()"
				  " WHERE name <> '' AND name !~ '^<unnamed portal'"
				  " AND creation_time >= pg_catalog.statement_timestamp()");

/* ---- temporary objects ---- */

static bool
is_listed(List *objects, Oid class, Oid object)
{
	for (int i = 0; i < list_length(objects); i += 2)
		if (list_nth_oid(objects, i) == class && list_nth_oid(objects, i + 1) == object)
			return true;
	return false;
}

/* What is in the temporary schema of the session and not in that list. */
static List *
temporary_objects(List *known)
{
	List *objects = NIL;
	Oid schema;
	Oid toast_schema;
	Relation rel;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;

	GetTempNamespaceState(&schema, &toast_schema);
	if (!OidIsValid(schema))
		return NIL;
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(NamespaceRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(schema));
	rel = table_open(DependRelationId, AccessShareLock);
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);

		if (!is_listed(known, row->classid, row->objid))
			objects = lappend_oid(lappend_oid(objects, row->classid), row->objid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return objects;
}

/*
 * Drops them, unless something that would stay depends on them.  Not by DROP, which would call event triggers.
 */
static void
drop(List *objects)
{
	ObjectAddresses *addresses = new_object_addresses();

	for (int i = 0; i < list_length(objects); i += 2)
	{
		ObjectAddress address = { list_nth_oid(objects, i), list_nth_oid(objects, i + 1), 0 };

		add_exact_object_address(&address, addresses);
	}
	performMultipleDeletions(addresses, DROP_RESTRICT,
							 PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY);
	free_object_addresses(addresses);
}

/* ---- what is refused ---- */

static void
refuse(const char *message, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg_internal("%s", message), errhint("%s", hint)));
}

/* No role is as good as the one from before, which settings of the role may give to each login. */
static void
check_role(const SessionMark *mark)
{
	if (GetSessionUserId() != mark->session_user)
		refuse("script changed the session authorization",
			   "End the script with RESET SESSION AUTHORIZATION.");
	if (GetUserId() != mark->user && GetUserId() != mark->session_user)
		refuse("script changed the role", "End the script with RESET ROLE.");
}

static void
refuse_cursor(const char *name)
{
	refuse(psprintf("script left cursor \"%s\" open", name), "Close it at the end of the script.");
}

/* ---- what has a name in the session ---- */

/* Deallocates what was prepared, which no failure does; where there was none, no cursor may be open. */
void
session_close(bool failed)
{
	DbScope scope;
	uint64 n;

	db_enter(&scope);
	n = db_run(&open_query, NULL, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		if (!db_bool(i, 2))
			DropPreparedStatement(db_text(i, 1), false);
		else if (!failed)
			refuse_cursor(db_text(i, 1));
	}
	db_leave(&scope);
}

/* ---- interface ---- */

/* Before a script. */
void
session_mark(SessionMark *mark)
{
	mark->guc_level = NewGUCNestLevel();
	mark->user = GetUserId();
	mark->session_user = GetSessionUserId();
	mark->temporary = temporary_objects(NIL);
}

/* After it.  task_lock: the lock of the task, which the script cannot have released. */
void
session_tidy(const SessionMark *mark, const LOCKTAG *task_lock)
{
	List *temporary;

	CommandCounterIncrement();
	temporary = temporary_objects(mark->temporary);
	if (temporary != NIL)
		AfterTriggerFireDeferred();
	check_role(mark);
	if (!lock_held_by_me(task_lock, ExclusiveLock))
		refuse("script released advisory locks that are not its own",
			   "Use pg_advisory_unlock() in place of pg_advisory_unlock_all().");
	session_close(false);
	if (temporary != NIL)
		drop(temporary);
	AtEOXact_GUC(false, mark->guc_level);
}
