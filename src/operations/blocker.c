/*
 * blocker.c
 *		Who stands in somebody's way, in words: processes and prepared transactions.
 *
 * Waits for nothing.  What it says may be over when it is read.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/multixact.h"
#include "access/subtrans.h"
#include "access/table.h"
#include "base/db.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "operations/blocker.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/* A prepared transaction has no process, and its locks have its number instead. */
static DbStatement process_blockers = DB_STATEMENT(
	"SELECT pg_catalog.string_agg(b.who, ', ') FROM ("
	"SELECT 'process ' || p || coalesce(' (' || a.usename || ', '"
	" || coalesce(nullif(a.application_name, '') || ', ', '') || a.state || ', for '"
	" || pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start)"
	" || CASE WHEN $2 OR a.usesysid = $3 THEN ': ' || pg_catalog.left(a.query, 200) ELSE '' END || ')', '')"
	" FROM unnest(pg_catalog.pg_blocking_pids($1)) p"
	" LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = p WHERE p <> 0"
	" UNION SELECT 'prepared transaction ' || pg_catalog.quote_literal(x.gid)"
	" FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks h ON h.pid IS NULL AND h.granted"
	" AND h.locktype = w.locktype"
	" AND ROW(h.database, h.relation, h.page, h.tuple, h.virtualxid, h.classid, h.objid, h.objsubid)"
	" IS NOT DISTINCT FROM"
	" ROW(w.database, w.relation, w.page, w.tuple, w.virtualxid, w.classid, w.objid, w.objsubid)"
	" AND h.transactionid::text IS NOT DISTINCT FROM w.transactionid::text"
	" JOIN pg_catalog.pg_prepared_xacts x ON h.virtualtransaction = '-1/' || x.transaction::text"
	" WHERE w.pid = $1 AND NOT w.granted) b (who)",
	INT4OID, BOOLOID, OIDOID);

static DbStatement transaction_owner = DB_STATEMENT(
	"SELECT coalesce((SELECT 'prepared transaction ' || pg_catalog.quote_literal(x.gid)"
	" FROM pg_catalog.pg_prepared_xacts x WHERE x.transaction = $1),"
	" (SELECT 'process ' || l.pid FROM pg_catalog.pg_locks l WHERE l.locktype = 'transactionid'"
	" AND l.transactionid = $1 AND l.granted AND l.pid IS NOT NULL LIMIT 1))",
	XIDOID);

static DbStatement find_row =
	DB_STATEMENT("SELECT tableoid, ctid FROM hotswap.deployment WHERE tenant_id = $1 AND id = $2",
				 UUIDOID, UUIDOID);

/*
 * Who holds the lock or the snapshot that a process waits for, and what runs there, if the reader may see that;
 * NULL: it waits for none.
 */
char *
blocker_of_process(int pid, Oid reader)
{
	Datum args[] = { Int32GetDatum(pid),
					 BoolGetDatum(OidIsValid(reader) &&
								  has_privs_of_role(reader, ROLE_PG_READ_ALL_STATS)),
					 ObjectIdGetDatum(reader) };

	(void) db_run(&process_blockers, args, NULL);
	return db_text(0, 1);
}

/* Whoever would make FOR NO KEY UPDATE of a row wait: transactions that may have ended by now. */
static List *
lockers_of(Oid table, ItemPointer place)
{
	Relation relation = table_open(table, AccessShareLock);
	HeapTupleData tuple = { .t_self = *place };
	Buffer buffer;
	List *result = NIL;

	if (heap_fetch(relation, GetActiveSnapshot(), &tuple, &buffer, false))
	{
		uint16 mask;
		TransactionId xmax;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		mask = tuple.t_data->t_infomask;
		xmax = HeapTupleHeaderGetRawXmax(tuple.t_data);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		ReleaseBuffer(buffer);
		if (mask & HEAP_XMAX_IS_MULTI)
		{
			MultiXactMember *members;
			int n =
				mask & HEAP_XMAX_INVALID ?
					0 :
					GetMultiXactIdMembers(xmax, &members, false, HEAP_XMAX_IS_LOCKED_ONLY(mask));

			for (int i = 0; i < n; i++)
				if (members[i].status != MultiXactStatusForKeyShare)
					result = lappend_oid(result, members[i].xid);
		}
		else if (!(mask & HEAP_XMAX_INVALID) && !HEAP_XMAX_IS_KEYSHR_LOCKED(mask))
			result = list_make1_oid(xmax);
	}
	table_close(relation, AccessShareLock);
	return result;
}

/* Who has the row of a deployment; NULL: nobody. */
char *
blocker_of_deployment(const pg_uuid_t *tenant, const pg_uuid_t *id)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(id) };
	ItemPointerData place;
	bool isnull;
	ListCell *cell;

	if (db_run(&find_row, args, NULL) == 0)
		return NULL;
	place = *(ItemPointer) DatumGetPointer(db_datum(0, 2, &isnull));
	foreach (cell, lockers_of(db_oid(0, 1), &place))
	{
		TransactionId xid = lfirst_oid(cell);
		Datum owner[1];

		if (!TransactionIdIsInProgress(xid))
			continue;
		owner[0] = TransactionIdGetDatum(SubTransGetTopmostTransaction(xid));
		(void) db_run(&transaction_owner, owner, NULL);
		if (!db_isnull(0, 1))
			return db_text(0, 1);
	}
	return NULL;
}
