/*
 * task.c
 *		Runs one task in a session of its role.
 *
 * The scripts and the record are one transaction: READ COMMITTED and read-write whatever the role's
 * settings say, under the lane's advisory lock, with lock_timeout and a limit for each script.  The
 * record is written as the owner of the extension, with pinned settings, after what each script has left
 * behind was put back, dropped or refused (session_mark.c).  If anything fails, the transaction is rolled
 * back and the failure is recorded in a new one; if even that fails, the dispatcher finds a task that
 * nobody runs.
 *
 * Locks: the task (session), the lane (transaction), whatever the scripts lock, and then what the
 * record locks (record.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/args.h"
#include "base/backoff.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/error_text.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "run/hook.h"
#include "run/place.h"
#include "run/record.h"
#include "run/script.h"
#include "run/session.h"
#include "run/task.h"
#include "shm/advisory.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

static DbStatement latest_swap = DB_STATEMENT(
	"SELECT deployment_id FROM hotswap.node_module"
	" WHERE tenant_id = $1 AND node_id = $2 AND module = $3 ORDER BY swap DESC LIMIT 1",
	UUIDOID, UUIDOID, TEXTOID);

/*
 * After retry() of a failed rollback somebody else may have been there.  Under the lock of the
 * lane, so that nobody comes in between.
 */
static void
require_latest(const TaskRun *run)
{
	DbArgs args = db_args(&latest_swap);
	DbScope scope;
	pg_uuid_t latest;

	db_enter(&scope);
	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->node);
	db_arg_text(&args, run->module);
	if (db_run_args(&args) != 1)
		elog(ERROR, "the swap to be reverted is not there");
	latest = db_uuid(0, 1);
	db_leave(&scope);
	if (!uuid_equal(&latest, &run->key.deployment))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node \"%s\" runs what another deployment has swapped in since",
							   run->node_name),
						errdetail("It is deployment \"%s\".", uuid_text(&latest))));
}

static void
require_transactional(const Version *v)
{
	if (!v->transactional)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("version \"%s\" of module \"%s\" cannot run in a transaction",
							   v->name, v->module)));
}

static void
run_revert(TaskRun *run)
{
	if (run->version->scripts[SCRIPT_REVERT])
		run_script(run, "revert", run->version->scripts[SCRIPT_REVERT]);
	else if (run->previous)
		run_script(run, "deploy", run->previous->scripts[SCRIPT_DEPLOY]);
	else
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version \"%s\" of module \"%s\" cannot be reverted", run->version->name,
						run->module),
				 errdetail("It has no revert script, and no version ran on the node before it.")));
}

/* ---- paths ---- */

/* A step: its script, and how it is verified. */
static void
run_step(TaskRun *run, const Step *step)
{
	Version *version = record_read_step(run, step);

	if (step->direction != STEP_DECLARED)
		require_transactional(version);
	if (step->direction == STEP_DOWN)
		run_script(run, "revert", version->scripts[SCRIPT_REVERT]);
	else if (step->direction == STEP_INSTALL)
		run_script(run, "install", version->scripts[SCRIPT_INSTALL]);
	else if (step->direction == STEP_UP)
		run_script(run, "deploy", version->scripts[SCRIPT_DEPLOY]);
	if (step->direction != STEP_DOWN && version->scripts[SCRIPT_VERIFY])
		run_script(run, "verify", version->scripts[SCRIPT_VERIFY]);
	run_deferred_triggers(run);
}

/* The steps of the present piece.  Each has its memory. */
static void
run_steps(TaskRun *run)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(outer, "hotswap step", ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < run->piece; i++)
	{
		const Step *step = list_nth(run->path, i);

		MemoryContextSwitchTo(context);
		run->step = step->version;
		run_step(run, step);
		run->step = NULL;
		MemoryContextSwitchTo(outer);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}

/* ---- scripts ---- */

static void
run_scripts(TaskRun *run)
{
	char **scripts = run->version->scripts;

	switch (run->kind)
	{
		case TASK_SWAP:
			require_transactional(run->version);
			run_script(run, "deploy", scripts[SCRIPT_DEPLOY]);
			if (scripts[SCRIPT_VERIFY])
				run_script(run, "verify", scripts[SCRIPT_VERIFY]);
			break;
		case TASK_VERIFY:
			run_script(run, "verify", scripts[SCRIPT_VERIFY]);
			break;
		case TASK_HOOK:
			run_hook(run);
			break;
		case TASK_REVERT:
			run_revert(run);
			break;
	}
}

/* ---- running it ---- */

/* Adds the task to the context of errors. */
static void
describe_task(void *arg)
{
	TaskRun *run = arg;

	if (run->node_name)
		errcontext("%s task of deployment \"%s\" on node \"%s\"", task_kind_names[run->kind],
				   uuid_text(&run->key.deployment), run->node_name);
	else
		errcontext("%s task of deployment \"%s\"", task_kind_names[run->kind],
				   uuid_text(&run->key.deployment));
}

/* Nobody else changes the module on the node until the transaction ends. */
static void
lock_lane(const TaskRun *run)
{
	LOCKTAG tag;
	struct
	{
		pg_uuid_t tenant;
		pg_uuid_t node;
		char module[128 * 4];
	} lane;

	memset(&lane, 0, sizeof(lane));
	lane.tenant = run->key.tenant;
	lane.node = run->node;
	strlcpy(lane.module, run->module, sizeof(lane.module));
	lock_tag(&tag, LOCK_LANE, &lane, sizeof(lane));
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/*
 * Runs the task in the current transaction, up to and including its record; false: only a piece of it, and the
 * next one is for another transaction.
 */
static bool
run_task(TaskRun *run)
{
	int guc_level = NewGUCNestLevel();
	bool is_last;

	session_pin_errors();
	guc_push("lock_timeout", psprintf("%d", hotswap_lock_timeout));
	if (run->search_path)
		guc_push("search_path", run->search_path);

	lock_tag(&run->lock, LOCK_TASK, &run->key, sizeof(run->key));
	(void) LockAcquire(&run->lock, ExclusiveLock, true, false);
	if (run->has_node)
		lock_lane(run);
	if (run->kind == TASK_REVERT)
		require_latest(run);
	if (run->has_path)
		record_plan(run);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetTransactionSnapshot());
	if (run->has_path)
		run_steps(run);
	else
		run_scripts(run);
	run_deferred(run);
	PopActiveSnapshot();
	SPI_finish();
	is_last = run->piece == list_length(run->path);
	if (is_last)
		record_success(run);
	else
		record_piece(run);
	AtEOXact_GUC(false, guc_level);
	(void) LockRelease(&run->lock, ExclusiveLock, true);
	return is_last;
}

/* The server's hint, unless it is known better what to do about it here. */
static char *
hint_of(const ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_UNSAFE_NEW_ENUM_VALUE_USAGE)
		return "New enum values must be committed before they can be used. Add the value in an earlier version that is deployed by itself, or published with transactional => false.";
	return error->hint;
}

static Failure
failure_of(const TaskRun *run, const ErrorData *error)
{
	Failure failure = { .sqlerrcode = error->sqlerrcode,
						.message = error->message,
						.detail = error->detail,
						.hint = hint_of(error),
						.context = error->context,
						.step = run->step ? pstrdup(run->step) : NULL,
						.collided = backoff_is_collision(error) };

	(void) place_find(run, error, &failure.place);
	return failure;
}

static void
release_task_lock(const TaskRun *run)
{
	LOCKTAG tag;

	lock_tag(&tag, LOCK_TASK, &run->key, sizeof(run->key));
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
	session_pin_errors();
#ifdef HAVE_TRANSACTION_TIMEOUT
	disable_timeout(TRANSACTION_TIMEOUT, false);
#endif
}

/*
 * Records a failure in a transaction of its own; gives up with a log line, and the dispatcher finds
 * a task that nobody runs.
 */
static void
report_failure(TaskRun *run, Failure *failure, bool cancelled, MemoryContext context)
{
	PG_TRY();
	{
		begin_transaction();
		MemoryContextSwitchTo(context);
		record_failure(run, failure, cancelled);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		FlushErrorState();
		session_recover();
	}
	PG_END_TRY();
}

bool
task_run_in_executor(const TaskKey *key, const TaskControl *control)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "hotswap task", ALLOCSET_DEFAULT_SIZES);
	ErrorContextCallback callback;
	ErrorContextCallback *outer = error_context_stack;
	Failure failure = { 0 };
	TaskRun *run = MemoryContextAllocZero(context, sizeof(TaskRun));
	volatile bool failed = false;
	volatile bool stale = false;

	run->key = *key;
	run->role = GetAuthenticatedUserId();
	PG_TRY();
	{
		bool wanted;

		begin_transaction();
		MemoryContextSwitchTo(context);
		stale = session_is_stale();
		wanted = !stale && record_load(run);
		callback.callback = describe_task;
		callback.arg = run;
		callback.previous = error_context_stack;
		error_context_stack = &callback;
		if (wanted && control->cancelled())
			ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("deployment was cancelled")));
		while (wanted && !run_task(run))
		{
			CommitTransactionCommand();
			begin_transaction();
			MemoryContextSwitchTo(context);
		}
		error_context_stack = callback.previous;
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error_context_stack = outer;
		failure = failure_of(run, error_copy());
		FlushErrorState();
		session_recover();
		failed = true;
	}
	PG_END_TRY();
	release_task_lock(run);
	if (failed)
		report_failure(run, &failure, control->hold_cancel(), context);
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextDelete(context);
	return !stale;
}

/*
 * Was the session told to stop, by a cancel or its own statement_timeout?  Else a script was, by
 * the limit that we have set for it.
 */
static bool
session_was_cancelled(int sqlerrcode, bool limited)
{
	return sqlerrcode == ERRCODE_QUERY_CANCELED && (limited || !run_limit_passed());
}

/* A task that runs in the session of CALL work(). */
typedef struct SessionTask
{
	TaskRun *run;
	MemoryContext context; /* of the caller */
	const char *query;     /* that the session runs */
	Failure failure;
	bool limited;   /* the session has a time limit of its own */
	bool cancelled; /* it is to stop */
} SessionTask;

static void
run_in_session(void *arg)
{
	SessionTask *t = arg;

	PG_TRY();
	{
		if (record_load(t->run))
			while (!run_task(t->run))
				CHECK_FOR_INTERRUPTS();
	}
	PG_CATCH();
	{
		/* the memory of the script's statement goes with the subtransaction */
		debug_query_string = t->query;
		run_limit_stop(!t->limited);
		t->cancelled = session_was_cancelled(geterrcode(), t->limited);
		/* now, since the statement that failed goes with the subtransaction */
		MemoryContextSwitchTo(t->context);
		t->failure = failure_of(t->run, error_copy());
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * The same in the session of CALL work(): the scripts and their record are a subtransaction, and a
 * failure is recorded by the surrounding transaction.  False if the session is to stop after that.
 */
bool
task_run_in_session(const TaskKey *key)
{
	TaskRun *run = palloc0(sizeof(TaskRun));
	SessionTask t = { .run = run,
					  .context = CurrentMemoryContext,
					  .query = debug_query_string,
					  .limited = get_timeout_active(STATEMENT_TIMEOUT) };
	ErrorData *error;

	run->key = *key;
	run->role = GetSessionUserId();
	error = subxact_run(run_in_session, &t);
	session_recover_subtransaction();
	release_task_lock(run);
	if (error)
		record_failure(run, &t.failure, false);
	return !t.cancelled;
}
