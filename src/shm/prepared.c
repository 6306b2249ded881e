/*
 * prepared.c
 *		Wake-ups of prepared transactions: README.md has the protocol.
 *
 * Every transaction that is prepared enters its name here, with whether it has anything to
 * announce; COMMIT PREPARED takes it out and announces.  There is room for as many as can be
 * prepared at a time.
 *
 * Locks: shared->prepared_lock, alone.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "shm/prepared.h"
#include "shm/shmem.h"
#include "shm/wakeup.h"
#include "storage/shmem.h"
#include "tcop/utility.h"

typedef struct Prepared
{
	char gid[GIDSIZE]; /* empty: free */
	bool news;         /* for the dispatcher, the waiters or the launcher */
	bool databases;    /* databases made or changed */
} Prepared;

static Prepared *entries; /* max_prepared_xacts of them */
static char gid[GIDSIZE]; /* of the last PREPARE TRANSACTION of this session */
static ProcessUtility_hook_type previous_utility = NULL;

Size
prepared_size(void)
{
	return mul_size(max_prepared_xacts, sizeof(Prepared));
}

/* Called at the start of the postmaster and of each process, under AddinShmemInitLock. */
void
prepared_startup(void)
{
	bool found;

	entries = ShmemInitStruct("hotswap prepared transactions", prepared_size(), &found);
	if (!found)
		memset(entries, 0, prepared_size());
}

static Prepared *
find(const char *name)
{
	for (int i = 0; i < max_prepared_xacts; i++)
		if (strcmp(entries[i].gid, name) == 0)
			return &entries[i];
	return NULL;
}

/* The session's transaction has just been prepared, and nobody can commit it yet.  Cannot fail. */
static void
enter(bool news, bool databases)
{
	Prepared *entry;

	LWLockAcquire(shared->prepared_lock, LW_EXCLUSIVE);
	entry = find(gid);
	if (entry == NULL)
		entry = find("");
	if (entry)
	{
		strlcpy(entry->gid, gid, sizeof(entry->gid));
		entry->news = news;
		entry->databases = databases;
	}
	LWLockRelease(shared->prepared_lock);
	gid[0] = '\0';
}

/*
 * What the transaction that is about to end has to announce.  Forgets it before that happens, since
 * then the name may be used again; if it does not happen, the name is one that is not here.
 */
static Prepared
take(const char *name)
{
	Prepared result = { .news = true, .databases = true };
	Prepared *entry;

	LWLockAcquire(shared->prepared_lock, LW_EXCLUSIVE);
	entry = find(name);
	if (entry)
	{
		result = *entry;
		entry->gid[0] = '\0';
	}
	LWLockRelease(shared->prepared_lock);
	return result;
}

static void
transaction_ended(XactEvent event, void *arg pg_attribute_unused())
{
	bool news;
	bool databases;

	if (event != XACT_EVENT_PREPARE)
		return;
	news = wake_put_off(&databases);
	if (shared)
		enter(news, databases);
}

static void
utility(PlannedStmt *pstmt, const char *query, bool read_only, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *qc)
{
	TransactionStmt *statement = NULL;
	Prepared ended = { .news = false };

	if (IsA(pstmt->utilityStmt, TransactionStmt))
		statement = (TransactionStmt *) pstmt->utilityStmt;
	if (statement && statement->kind == TRANS_STMT_PREPARE)
		strlcpy(gid, statement->gid, sizeof(gid));
	else if (statement && (statement->kind == TRANS_STMT_COMMIT_PREPARED ||
						   statement->kind == TRANS_STMT_ROLLBACK_PREPARED))
		ended = take(statement->gid);
	if (previous_utility)
		previous_utility(pstmt, query, read_only, context, params, environment, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only, context, params, environment, dest, qc);
	if (ended.news && statement->kind == TRANS_STMT_COMMIT_PREPARED)
		wake_all(ended.databases);
}

/* Called by _PG_init; the hook only where there are workers to tell. */
void
prepared_init(void)
{
	RegisterXactCallback(transaction_ended, NULL);
	if (process_shared_preload_libraries_in_progress)
	{
		previous_utility = ProcessUtility_hook;
		ProcessUtility_hook = utility;
	}
}
