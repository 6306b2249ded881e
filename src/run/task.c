/*
 * task.c
 *		Runs one task in a session of its role.
 *
 * The scripts and the record are one transaction: READ COMMITTED and read-write whatever the role's
 * settings say, under the lane's advisory lock, with lock_timeout and a limit for each script.  The
 * record is written as the owner of the extension, with pinned settings, after the session has been
 * checked: a script that leaves something behind (a cursor, a temporary table, another role or
 * search_path) has failed.  If anything fails, the transaction is rolled back and the failure is
 * recorded in a new one; if even that fails, the dispatcher finds a task that nobody runs.
 *
 * Locks: the task (session), the lane (transaction), whatever the scripts lock, and then what the
 * record locks (job_record.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/deployment.h"
#include "environment/task_role.h"
#include "lock/lock_tags.h"
#include "mb/pg_wchar.h"
#include "module/script.h"
#include "nodes/parsenodes.h"
#include "parser/parse_node.h"
#include "pgstat.h"
#include "run/record.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

/*
 * Each row by its whole key, and every part of the key a parameter: a join on tenant_id could be planned
 * as a walk through all versions of the tenant.
 */
static DbStatement load_task = DB_STATEMENT(
	"SELECT t.kind, t.attempt, t.reverts, t.node_id, t.hook, t.previous_version, d.module, d.version"
	" FROM hotswap.task t, hotswap.deployment d"
	" WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.stage = $3 AND t.ordinal = $4"
	" AND t.status = 'running' AND d.tenant_id = $1 AND d.id = $2",
	UUIDOID, UUIDOID, INT2OID, INT4OID);

static DbStatement load_version =
	DB_STATEMENT("SELECT deploy_sql, verify_sql, revert_sql, digest FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement load_node =
	DB_STATEMENT("SELECT name, schema FROM hotswap.node WHERE tenant_id = $1 AND id = $2", UUIDOID,
				 UUIDOID);

static DbStatement latest_swap = DB_STATEMENT(
	"SELECT deployment_id FROM hotswap.node_module"
	" WHERE tenant_id = $1 AND node_id = $2 AND module = $3 ORDER BY swap DESC LIMIT 1",
	UUIDOID, UUIDOID, TEXTOID);

static DbStatement open_cursor = DB_STATEMENT0(
	"SELECT name FROM pg_catalog.pg_cursor() WHERE name <> '' AND name !~ '^<unnamed portal' LIMIT 1");

static DbStatement temporary_object =
	DB_STATEMENT0("SELECT relname::text FROM pg_catalog.pg_class"
				  " WHERE relnamespace = pg_catalog.pg_my_temp_schema() LIMIT 1");

/* ---- loading ---- */

static TaskKind
kind_of(const char *name)
{
	for (int i = 0;; i++)
		if (strcmp(task_kind_names[i], name) == 0)
			return i;
}

static void
copy_digest(uint8 *to, uint64 row, int column)
{
	bool isnull;
	bytea *digest = DatumGetByteaPP(db_datum(row, column, &isnull));

	memcpy(to, VARDATA_ANY(digest), DIGEST_LENGTH);
}

static void
read_version(const Job *job, const char *version)
{
	Datum args[] = { UUIDPGetDatum(&job->key.tenant), CStringGetTextDatum(job->module),
					 CStringGetTextDatum(version) };

	if (db_run(&load_version, args, NULL) != 1)
		elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", version, job->module);
}

static void
read_node(Job *job)
{
	Datum args[] = { UUIDPGetDatum(&job->key.tenant), UUIDPGetDatum(&job->node) };

	if (db_run(&load_node, args, NULL) != 1)
		elog(ERROR, "the node has disappeared");
}

/* Inside a scope: reads the task, its scripts and its node into a context; false if it is not to be run. */
static bool
read_job(Job *job, MemoryContext context)
{
	Datum args[4];

	job_args(job, args);
	if (db_run(&load_task, args, NULL) == 0)
		return false;
	MemoryContextSwitchTo(context);
	job->kind = kind_of(db_text(0, 1));
	job->attempt = db_int32(0, 2);
	job->reverts = db_isnull(0, 3) ? -1 : db_int32(0, 3);
	job->has_node = !db_isnull(0, 4);
	if (job->has_node)
		job->node = db_uuid(0, 4);
	job->hook = db_text(0, 5);
	job->previous_version = db_text(0, 6);
	job->module = db_text(0, 7);
	job->version = db_text(0, 8);
	read_version(job, job->version);
	MemoryContextSwitchTo(context);
	job->deploy = db_text(0, 1);
	job->verify = db_text(0, 2);
	job->revert = db_text(0, 3);
	copy_digest(job->digest, 0, 4);
	if (job->kind == TASK_UNDO && job->previous_version)
	{
		read_version(job, job->previous_version);
		MemoryContextSwitchTo(context);
		job->previous_deploy = db_text(0, 1);
		copy_digest(job->previous_digest, 0, 4);
	}
	if (job->has_node)
	{
		read_node(job);
		MemoryContextSwitchTo(context);
		job->node_name = db_text(0, 1);
		job->schema = db_text(0, 2);
	}
	return true;
}

/* Loads the task into the current context and checks its scripts. */
static bool
load(Job *job)
{
	DbScope scope;
	uint8 digest[DIGEST_LENGTH];
	bool found;

	db_enter(&scope);
	found = read_job(job, scope.context);
	db_leave(&scope);
	if (!found)
		return false;
	digest_scripts(job->deploy, job->verify, job->revert, digest);
	if (memcmp(digest, job->digest, DIGEST_LENGTH) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg(
				 "the scripts of version \"%s\" of module \"%s\" are not those that were published",
				 job->version, job->module)));
	return true;
}

/* ---- scripts ---- */

/* A verify script fails when a query of it with one boolean column yields false or NULL. */
static void
require_true(const Job *job)
{
	TupleDesc desc = SPI_tuptable ? SPI_tuptable->tupdesc : NULL;

	if (desc == NULL || desc->natts != 1 || SPI_gettypeid(desc, 1) != BOOLOID)
		return;
	for (uint64 i = 0; i < SPI_processed; i++)
		if (db_isnull(i, 1) || !db_bool(i, 1))
			ereport(ERROR, (errcode(ERRCODE_ASSERT_FAILURE),
							errmsg("verification returned %s", db_isnull(i, 1) ? "null" : "false"),
							errdetail("Statement: %.*s",
									  pg_mbcliplen(job->statement, strlen(job->statement), 1000),
									  job->statement)));
}

/* How far a script has been counted: characters are found by counting, and only once. */
typedef struct Place
{
	int offset;     /* in bytes */
	int characters; /* before it */
} Place;

static void
run_statement(Job *job, const char *sql, const RawStmt *raw, Place *place, bool verify)
{
	int start = raw->stmt_location;
	int length = raw->stmt_len > 0 ? raw->stmt_len : (int) strlen(sql + start);
	int rc;

	while (length > 0 && isspace((unsigned char) sql[start]))
	{
		start++;
		length--;
	}
	job->statement = pnstrdup(sql + start, length);
	place->characters += pg_mbstrlen_with_len(sql + place->offset, start - place->offset);
	place->offset = start;
	job->statement_at = place->characters + 1;
	debug_query_string = job->statement;
	pgstat_report_activity(STATE_RUNNING, job->statement);
	rc = SPI_execute(job->statement, false, 0);
	if (rc < 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a script may not contain this statement"),
						errdetail("SPI reports %s.", SPI_result_code_string(rc))));
	if (verify && (rc == SPI_OK_SELECT || rc == SPI_OK_INSERT_RETURNING))
		require_true(job);
	SPI_freetuptable(SPI_tuptable);
}

/* Starts the time limit, unless the session of CALL work() has one of its own running. */
static bool
arm_limit(void)
{
	if (get_timeout_active(STATEMENT_TIMEOUT))
		return false;
	enable_timeout_after(STATEMENT_TIMEOUT, hotswap_statement_timeout);
	return true;
}

static void
disarm_limit(bool armed)
{
	if (armed)
		disable_timeout(STATEMENT_TIMEOUT, false);
}

/* Runs a script as the role, within its time limit. */
static void
run_script(Job *job, const char *name, const char *sql)
{
	bool verify = strcmp(name, "verify") == 0;
	const char *query = debug_query_string;
	bool armed = arm_limit();
	Place place = { 0 };
	ListCell *cell;

	job->script = name;
	foreach (cell, script_parse(psprintf("%s script", name), sql))
	{
		CHECK_FOR_INTERRUPTS();
		run_statement(job, sql, lfirst_node(RawStmt, cell), &place, verify);
	}
	disarm_limit(armed);
	job->script = job->statement = NULL;
	debug_query_string = query;
}

/*
 * The function of a hook and its result type.  Since the role of the task was found, another one may have
 * taken the name: it must still be that role's, and fit.
 */
static Oid
find_hook(const Job *job, Oid *type)
{
	Oid function = hook_function(job->hook);
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function %s(uuid) does not exist", job->hook)));
	form = (Form_pg_proc) GETSTRUCT(tuple);
	*type = form->prorettype;
	if (form->proowner != GetUserId() || !hook_fits(form))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("function %s(uuid) is not the one that was registered", job->hook)));
	ReleaseSysCache(tuple);
	return function;
}

static void
run_hook(Job *job)
{
	Oid type;
	Oid function = find_hook(job, &type);
	Datum id = UUIDPGetDatum(&job->key.deployment);
	Datum result;
	bool armed;
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo flinfo;

	job->script = "hook";
	pgstat_report_activity(STATE_RUNNING, job->hook);
	armed = arm_limit();
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = id;
	fcinfo->args[0].isnull = false;
	result = FunctionCallInvoke(fcinfo);
	disarm_limit(armed);
	if (type == BOOLOID && (fcinfo->isnull || !DatumGetBool(result)))
		ereport(ERROR,
				(errcode(ERRCODE_ASSERT_FAILURE),
				 errmsg("hook %s returned %s", job->hook, fcinfo->isnull ? "null" : "false")));
	job->script = NULL;
}

/*
 * After retry() of a failed rollback somebody else may have been there.  Under the lock of the lane, so
 * that nobody comes in between.
 */
static void
require_latest(const Job *job)
{
	Datum args[] = { UUIDPGetDatum(&job->key.tenant), UUIDPGetDatum(&job->node),
					 CStringGetTextDatum(job->module) };
	DbScope scope;
	pg_uuid_t latest;

	db_enter(&scope);
	if (db_run(&latest_swap, args, NULL) != 1)
		elog(ERROR, "the swap to be reverted is not there");
	latest = db_uuid(0, 1);
	db_leave(&scope);
	if (!uuid_equal(&latest, &job->key.deployment))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node \"%s\" runs what another deployment has swapped in since",
							   job->node_name),
						errdetail("It is deployment %s.", uuid_text(&latest))));
}

static void
run_revert(Job *job)
{
	require_latest(job);
	if (job->revert)
		run_script(job, "revert", job->revert);
	else if (job->previous_deploy)
		run_script(job, "deploy", job->previous_deploy);
	else
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version \"%s\" of module \"%s\" cannot be reverted", job->version,
						job->module),
				 errdetail("It has no revert script, and no version ran on the node before it.")));
}

/*
 * Runs what the scripts have deferred.  Now, since at the commit the trigger functions, which are
 * the role's own code, would run as whoever the effective user is then.
 */
static void
fire_deferred(void)
{
	bool armed = arm_limit();
	int rc = SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0);

	disarm_limit(armed);
	if (rc < 0)
		elog(ERROR, "SET CONSTRAINTS failed: %s", SPI_result_code_string(rc));
}

static void
run_scripts(Job *job)
{
	switch (job->kind)
	{
		case TASK_SWAP:
			run_script(job, "deploy", job->deploy);
			if (job->verify)
				run_script(job, "verify", job->verify);
			break;
		case TASK_VERIFY:
			run_script(job, "verify", job->verify);
			break;
		case TASK_HOOK:
			run_hook(job);
			break;
		case TASK_UNDO:
			run_revert(job);
			break;
	}
}

/* ---- the session afterwards ---- */

static void
refuse(const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the script %s", what), errhint("%s", hint)));
}

/* Refuses what a script may not leave behind. */
static void
check_session(Job *job, const char *search_path, const LOCKTAG *lock)
{
	DbScope scope;

	if (GetUserId() != job->role)
		refuse("changed the role", "End the script with RESET ROLE.");
	if (XactIsoLevel != XACT_READ_COMMITTED || XactReadOnly)
		refuse("changed the characteristics of the transaction", "Leave out SET TRANSACTION.");
	if (strcmp(GetConfigOption("search_path", false, false), search_path) != 0)
		refuse("changed search_path",
			   "Qualify the names, or use SET search_path in the definition of a function.");
	if (!lock_held_by_me(lock, ExclusiveLock))
		refuse("released advisory locks that are not its own",
			   "Use pg_advisory_unlock() in place of pg_advisory_unlock_all().");
	db_enter(&scope);
	if (db_run(&open_cursor, NULL, NULL) > 0)
		refuse(psprintf("left cursor \"%s\" open", db_text(0, 1)),
			   "Close it at the end of the script.");
	if ((MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE) &&
		db_run(&temporary_object, NULL, NULL) > 0)
		refuse(psprintf("left temporary relation \"%s\" behind", db_text(0, 1)),
			   "Drop it at the end of the script.");
	db_leave(&scope);
}

/* ---- running it ---- */

/* Adds the task to the context of errors. */
static void
describe(void *arg)
{
	Job *job = arg;

	errcontext("%s task of deployment %s%s%s", task_kind_names[job->kind],
			   uuid_text(&job->key.deployment), job->node_name ? " on node " : "",
			   job->node_name ? job->node_name : "");
}

/* Where in the script the error is, in characters from 1; 0 if that is not known. */
static int
find_position(const Job *job, const ErrorData *error)
{
	if (job->statement == NULL)
		/* the script did not parse: the position is in all of it */
		return job->script && error->internalpos > 0 ? error->internalpos : 0;
	if (error->internalpos > 0 && error->internalquery &&
		strcmp(error->internalquery, job->statement) == 0)
		return job->statement_at + error->internalpos - 1;
	return job->statement_at;
}

static void
set_option(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/* Runs the task in the current transaction, up to and including its record. */
static void
run(Job *job)
{
	int guc_level = NewGUCNestLevel();
	LOCKTAG task_lock;
	LOCKTAG lane_lock;
	char *search_path;
	struct
	{
		pg_uuid_t tenant;
		pg_uuid_t node;
		char module[64 * 4];
	} lane;

	set_option("lock_timeout", psprintf("%d", hotswap_lock_timeout));
	if (job->schema)
		set_option("search_path", quote_identifier(job->schema));
	search_path = pstrdup(GetConfigOption("search_path", false, false));

	lock_tag(&task_lock, LOCK_TASK, &job->key, sizeof(job->key));
	(void) LockAcquire(&task_lock, ExclusiveLock, true, false);
	if (job->has_node)
	{
		memset(&lane, 0, sizeof(lane));
		lane.tenant = job->key.tenant;
		lane.node = job->node;
		strlcpy(lane.module, job->module, sizeof(lane.module));
		lock_tag(&lane_lock, LOCK_LANE, &lane, sizeof(lane));
		(void) LockAcquire(&lane_lock, ExclusiveLock, false, false);
	}

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetTransactionSnapshot());
	run_scripts(job);
	fire_deferred();
	PopActiveSnapshot();
	SPI_finish();
	check_session(job, search_path, &task_lock);
	job_save_success(job);
	AtEOXact_GUC(false, guc_level);
	(void) LockRelease(&task_lock, ExclusiveLock, true);
}

static void
keep_failure(Job *job, Failure *failure)
{
	ErrorData *error = CopyErrorData();

	failure->sqlerrcode = error->sqlerrcode;
	failure->message = error->message;
	failure->detail = error->detail;
	failure->hint = error->hint;
	failure->context = error->context;
	failure->position = find_position(job, error);
	FlushErrorState();
}

static void
release_task_lock(const Job *job)
{
	LOCKTAG tag;

	lock_tag(&tag, LOCK_TASK, &job->key, sizeof(job->key));
	if (lock_held_by_me(&tag, ExclusiveLock))
		(void) LockRelease(&tag, ExclusiveLock, true);
}

static void
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	/* whatever the role's settings are */
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	XactDeferrable = false;
#ifdef HAVE_TRANSACTION_TIMEOUT
	disable_timeout(TRANSACTION_TIMEOUT, false);
#endif
}

/* After an error in an executor: what the main loop of a client's session would do. */
static void
recover(void)
{
	disable_all_timeouts(false);
	QueryCancelPending = false;
	/* the statement's memory goes with the transaction */
	debug_query_string = NULL;
	AbortCurrentTransaction();
	pgstat_report_activity(STATE_IDLE, NULL);
}

/*
 * Records a failure in a transaction of its own; gives up with a log line, and the dispatcher finds a
 * task that nobody runs.
 */
static void
report_failure(Job *job, Failure *failure, bool cancelled, MemoryContext context)
{
	PG_TRY();
	{
		begin_transaction();
		MemoryContextSwitchTo(context);
		job_save_failure(job, failure, cancelled);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		FlushErrorState();
		recover();
	}
	PG_END_TRY();
}

void
task_run_in_executor(const TaskKey *key, const TaskControl *control)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "hotswap task", ALLOCSET_DEFAULT_SIZES);
	ErrorContextCallback callback;
	ErrorContextCallback *outer = error_context_stack;
	Failure failure = { 0 };
	Job *job = MemoryContextAllocZero(context, sizeof(Job));
	volatile bool failed = false;

	job->key = *key;
	job->role = GetAuthenticatedUserId();
	PG_TRY();
	{
		bool wanted;

		begin_transaction();
		MemoryContextSwitchTo(context);
		wanted = load(job);
		callback.callback = describe;
		callback.arg = job;
		callback.previous = error_context_stack;
		error_context_stack = &callback;
		if (wanted && control->cancelled())
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED), errmsg("the deployment was cancelled")));
		if (wanted)
			run(job);
		error_context_stack = callback.previous;
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error_context_stack = outer;
		keep_failure(job, &failure);
		recover();
		failed = true;
	}
	PG_END_TRY();
	release_task_lock(job);
	if (failed)
		report_failure(job, &failure, control->hold_cancel(), context);
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextDelete(context);
}

/*
 * Was the session told to stop, by a cancel or its own statement_timeout?  Else a script was, by the limit
 * that we have set for it.
 */
static bool
session_was_cancelled(int sqlerrcode, bool limited)
{
	return sqlerrcode == ERRCODE_QUERY_CANCELED &&
		   (limited || GetCurrentTimestamp() < get_timeout_finish_time(STATEMENT_TIMEOUT));
}

/*
 * The same in the session of CALL work(): the scripts and their record are a subtransaction, and a
 * failure is recorded by the surrounding transaction.  False if the session is to stop after that.
 */
bool
task_run_in_session(const TaskKey *key)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Failure failure = { 0 };
	Job *job = palloc0(sizeof(Job));
	const char *query = debug_query_string;
	bool limited = get_timeout_active(STATEMENT_TIMEOUT);
	volatile bool failed = false;
	volatile bool cancelled = false;

	job->key = *key;
	job->role = GetSessionUserId();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		if (load(job))
			run(job);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		/* the memory of the script's statement goes with the subtransaction */
		debug_query_string = query;
		disarm_limit(!limited);
		keep_failure(job, &failure);
		cancelled = session_was_cancelled(failure.sqlerrcode, limited);
		RollbackAndReleaseCurrentSubTransaction();
		failed = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	release_task_lock(job);
	if (failed)
		job_save_failure(job, &failure, false);
	return !cancelled;
}
