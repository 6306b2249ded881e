/*
 * session.c
 *		The session of an executor: as a login makes it, after an error, and between two tasks.
 *
 * Some of what a role is, a session learns when it logs in: whether it is a superuser (for SET SESSION
 * AUTHORIZATION), and the settings of the role and the database.  So an executor asks before each task
 * whether a login would still be the same, inside the transaction of the task, which has just accepted all
 * invalidations: what was committed before the task was requested is seen.  The catalog of settings has no
 * invalidations of its own, so the rows are compared: by the transactions that have written them, and with
 * what they were before the login.
 *
 * A client's session has a main loop that puts it in order after an error (PostgresMain); an executor has to
 * do that by itself.  In the order of that loop:
 *
 *		the stack of error contexts		whoever catches the error restores his own
 *		timeouts, a cancel that is late	here
 *		the report to the client, the log	not wanted: the failure of a task is recorded
 *		debug_query_string				here, before the memory of the statement goes
 *		the transaction					here: locks, portals, SPI, snapshots, settings, the user, pending
 *										notifies and temporary files go with it
 *		portals held by procedures		here; a script runs atomically and should have none
 *		replication slots				here: the one in use, and the temporary ones
 *		the JIT compiler				here
 *		the state of the error			whoever catches it has copied and flushed it
 *		pg_stat_activity				here
 *		the protocol, idle timeouts, walsenders	there is no client
 *
 * In the session of CALL work() an error ends a subtransaction, and the main loop never sees it: of the list
 * above, the abort of the subtransaction does what belongs to transactions, and what does not is done here.
 * Temporary slots stay there, since the session may have some of its own.
 *
 * Locks nothing but, for a moment, the slots and the catalogs that it reads.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/namespace.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_db_role_setting.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "jit/jit.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "run/session.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

/* The session as the login has made it. */
typedef struct Login
{
	uint64 rows; /* fingerprint of the rows that it comes from, or of older ones */
	Oid session_user;
	Oid user;
} Login;

static Login login;

/* What caches may have grown to, in bytes: some tens of thousands of relations. */
#define BLOATED (64 * 1024 * 1024)

/* ---- the login ---- */

/* Adds a row to a fingerprint, in any order. */
static void
add_row(uint64 *rows, HeapTuple tuple, Oid subject)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);

	*rows += DatumGetUInt64(hash_uint32_extended(xmin, subject));
}

static void
add_settings(uint64 *rows, Relation rel, Oid database, Oid role)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(role));
	scan = systable_beginscan(rel, DbRoleSettingDatidRolidIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		add_row(rows, tuple, database ^ role);
	systable_endscan(scan);
}

/* Adds the roles that a role is a member of, and those that these are. */
static void
add_memberships(uint64 *rows, Oid role)
{
	List *roles = list_make1_oid(role);

	/* the list grows in the loop */
	for (int i = 0; i < list_length(roles); i++)
	{
		CatCList *memberships =
			SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(list_nth_oid(roles, i)));

		for (int m = 0; m < memberships->n_members; m++)
		{
			HeapTuple tuple = &memberships->members[m]->tuple;
			Oid of = ((Form_pg_auth_members) GETSTRUCT(tuple))->roleid;

			add_row(rows, tuple, of);
			roles = list_append_unique_oid(roles, of);
		}
		ReleaseSysCacheList(memberships);
	}
	list_free(roles);
}

/* In a transaction: a fingerprint of the rows that a login of a role in this database comes from. */
static uint64
login_rows(Oid role)
{
	uint64 rows = 0;
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	Relation rel = table_open(DbRoleSettingRelationId, AccessShareLock);

	if (HeapTupleIsValid(tuple))
	{
		add_row(&rows, tuple, role);
		ReleaseSysCache(tuple);
	}
	add_settings(&rows, rel, MyDatabaseId, role);
	add_settings(&rows, rel, InvalidOid, role);
	add_settings(&rows, rel, MyDatabaseId, InvalidOid);
	add_settings(&rows, rel, InvalidOid, InvalidOid);
	table_close(rel, AccessShareLock);
	add_memberships(&rows, role);
	return rows;
}

/* Locks the catalogs that a login comes from until the end of the transaction, if nobody has them. */
static bool
try_lock_catalogs(void)
{
	return ConditionalLockRelationOid(DbRoleSettingRelationId, AccessShareLock) &&
		   ConditionalLockRelationOid(AuthIdRelationId, AccessShareLock) &&
		   ConditionalLockRelationOid(AuthMemRelationId, AccessShareLock);
}

/*
 * Outside a transaction, before an executor of the role logs in: what it is to be compared with.  Whoever
 * has a catalog keeps the executor from its login, but not the dispatcher from its work: such an executor is
 * compared with nothing, and gives back what it was to do.
 */
uint64
session_prepare(Oid role)
{
	MemoryContext context = CurrentMemoryContext;
	uint64 rows = 0;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (try_lock_catalogs())
		rows = login_rows(role);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return rows;
}

/* After the login; rows: what session_prepare() has returned. */
void
session_begin(uint64 rows)
{
	login = (Login){ .rows = rows, .session_user = GetSessionUserId(), .user = GetUserId() };
}

/* In a transaction that has just begun: is the session another one than a login would make now? */
bool
session_is_stale(void)
{
	return login_rows(GetAuthenticatedUserId()) != login.rows ||
		   GetSessionUserId() != login.session_user || GetUserId() != login.user;
}

/* ---- afterwards ---- */

/* An error does not release the slot that a function was reading from, not even one that is caught. */
static void
release_slot(void)
{
	if (MyReplicationSlot)
		ReplicationSlotRelease();
}

/*
 * An error is to end the statement, not the process, whatever the role's settings or the script say: until
 * the end of the transaction.
 */
void
session_pin_errors(void)
{
	if (ExitOnAnyError)
		(void) set_config_option("exit_on_error", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

/* Whatever the role's settings are. */
void
session_begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	XactDeferrable = false;
	session_pin_errors();
#ifdef HAVE_TRANSACTION_TIMEOUT
	disable_timeout(TRANSACTION_TIMEOUT, false);
#endif
}

/*
 * The transaction of a task is about to commit: nobody waits for the disk, as far as that is this server's own.
 * Whoever builds on what was swapped commits later, and with that it is on disk; who is told of the end by wait()
 * is told after that.  What other servers are to have first, they have.
 */
void
session_commit_soon(void)
{
	bool waits_for_standbys =
		SyncRepRequested() && SyncRepStandbyNames && SyncRepStandbyNames[0] != '\0';

	if (!waits_for_standbys)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

/* After an error in an executor. */
void
session_recover(void)
{
	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	debug_query_string = NULL;
	AbortOutOfAnyTransaction();
	PortalErrorCleanup();
	release_slot();
	replication_slot_cleanup();
	jit_reset_after_error();
	pgstat_report_activity(STATE_IDLE, NULL);
	RESUME_INTERRUPTS();
}

/* After a task in the session of CALL work(), whose subtransaction has ended. */
void
session_recover_subtransaction(void)
{
	release_slot();
	jit_reset_after_error();
}

/*
 * What DISCARD ALL does but for the locks, and the role, which it leaves, is what the login has made it.  Plans
 * are kept: nearly all of them are our own.
 */
void
session_clear(void)
{
	/* may run code of the role's */
	PortalHashTableDeleteAll();
	SetPGVariable("session_authorization", NIL, false);
	SetPGVariable("role", NIL, false);
	ResetAllOptions();
	DropAllPreparedStatements();
	Async_UnlistenAll();
	ResetTempTableNamespace();
	ResetSequenceCaches();
}

/* Between two tasks. */
void
session_reset(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	session_clear();
	LockReleaseAll(USER_LOCKMETHOD, true);
	CommitTransactionCommand();
	release_slot();
	replication_slot_cleanup();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/*
 * Have the caches of the session grown so much that another one had better take its place?  What a script
 * has used itself goes with its transaction.
 */
bool
session_is_bloated(void)
{
	return MemoryContextMemAllocated(TopMemoryContext, true) > BLOATED;
}
