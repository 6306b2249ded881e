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
 * Locks: the task (session), the lanes (transaction), whatever the scripts lock, and then what the
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
#include "core/release.h"
#include "run/hook.h"
#include "run/lane.h"
#include "run/place.h"
#include "run/record.h"
#include "run/rehearsal.h"
#include "run/routed.h"
#include "run/script.h"
#include "run/session.h"
#include "run/session_mark.h"
#include "run/task.h"
#include "run/toplevel.h"
#include "run/toplevel_record.h"
#include "shm/advisory.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

/*
 * After retry() of a failed rollback somebody else may have been there.  Under the lock of the
 * lane, so that nobody comes in between.
 */
static void
require_latest(const TaskRun *run)
{
	pg_uuid_t latest;

	if (!record_latest(run, &latest))
		elog(ERROR, "the swap to be reverted is not there");
	if (!uuid_equal(&latest, &run->key.deployment))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node \"%s\" runs what another deployment has swapped in since",
							   run->node_name),
						errdetail("It is deployment \"%s\".", uuid_text(&latest))));
}

/* The script that takes back a complete version, and which version's it is. */
static Version *
revert_script(TaskRun *run, const char **script)
{
	if (run->version->scripts[SCRIPT_REVERT])
	{
		*script = "revert";
		return run->version;
	}
	if (run->previous == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version \"%s\" of module \"%s\" cannot be reverted", run->version->name,
						run->module),
				 errdetail("It has no revert script, and no version ran on the node before it.")));
	*script = "deploy";
	return run->previous;
}

/* The script of a task or step that is about to run. */
static char *
script_of(const Version *version, const char *script)
{
	if (strcmp(script, "revert") == 0)
		return version->scripts[SCRIPT_REVERT];
	return version->scripts[strcmp(script, "install") == 0 ? SCRIPT_INSTALL : SCRIPT_DEPLOY];
}

/* ---- outside of a transaction ---- */

/* The version whose script comes next, and which script; NULL: there is none, or it is no version's. */
static Version *
next_script(TaskRun *run, const char **script)
{
	*script = "deploy";
	if (run->has_path)
	{
		const Step *step = run->path != NIL ? linitial(run->path) : NULL;

		if (step == NULL || step->transactional)
			return NULL;
		*script = step_script_names[step->direction];
		return record_read_step(run, step);
	}
	if (run->kind == TASK_REVERT)
		return revert_script(run, script);
	return run->kind == TASK_SWAP ? run->version : NULL;
}

/*
 * Is there a script to be run outside of a transaction before what is left of the piece?  Then the session keeps
 * the lane until the task is over.
 */
static bool
leaves_transaction(TaskRun *run)
{
	Version *version = run->is_outside_done ? NULL : next_script(run, &run->outside_of);

	if (version == NULL || version->transactional || version->is_routed)
		return false;
	if (run->tell_snapshot_wait == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("version \"%s\" of module \"%s\" cannot run in a transaction",
						version->name, run->module),
				 errdetail("CALL hotswap.work() runs scripts in transactions of its own session."),
				 errhint("Add hotswap to shared_preload_libraries: executors can run it.")));
	run->outside = version;
	lane_lock(run, true);
	return true;
}

/* The script has run, unless it is one for a transaction; versions for agents have none. */
static void
run_piece_script(TaskRun *run, const Version *version, const char *script)
{
	if (!run->is_outside_done && script_of(version, script))
		run_script(run, script, script_of(version, script));
}

/* ---- paths ---- */

/* A step of a routed module: a version that comes, or the last one goes. */
static void
run_routed_step(TaskRun *run, const Step *step, const Version *version)
{
	if (step->direction == STEP_DOWN)
		routed_remove(run, version);
	else
		routed_bring(run, version);
}

/* A step: its script, and how it is verified. */
static void
run_step(TaskRun *run, const Step *step)
{
	Version *version = record_read_step(run, step);

	if (version->is_routed && step->direction != STEP_DECLARED)
	{
		run_routed_step(run, step, version);
		return;
	}
	/* what is declared is verified alone */
	if (step->direction != STEP_DECLARED)
		run_piece_script(run, version, step_script_names[step->direction]);
	if (step->direction != STEP_DOWN && version->scripts[SCRIPT_VERIFY])
		run_script(run, "verify", version->scripts[SCRIPT_VERIFY]);
	run_deferred_triggers(run);
}

/* The name of a step in reports: of a release as it names its versions. */
static const char *
step_name(const TaskRun *run, const Step *step)
{
	return run->release ? psprintf("%s=%s", step->module, step->version) : step->version;
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
		run->step = step_name(run, step);
		if (run->rehearsal)
			rehearsal_step(run, step->module, step->version, step->direction);
		run_step(run, step);
		run->step = NULL;
		MemoryContextSwitchTo(outer);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}

/* ---- scripts ---- */

/* Takes back a version of a routed module: the one before comes again. */
static void
routed_take_back(TaskRun *run)
{
	if (run->previous)
		routed_bring(run, run->previous);
	else
		routed_remove(run, run->version);
}

static void
run_scripts(TaskRun *run)
{
	char **scripts = run->version->scripts;
	const char *script;
	Version *version;

	switch (run->kind)
	{
		case TASK_PREPARE: /* of a module that is not routed, it comes as a swap that is rehearsed */
		case TASK_SWAP:
			if (run->rehearsal)
				rehearsal_step(run, run->module, run->target, STEP_UP);
			if (run->version->is_routed)
			{
				routed_bring(run, run->version);
				break;
			}
			run_piece_script(run, run->version, "deploy");
			if (scripts[SCRIPT_VERIFY])
				run_script(run, "verify", scripts[SCRIPT_VERIFY]);
			break;
		case TASK_VERIFY:
			run_script(run, "verify", scripts[SCRIPT_VERIFY]);
			break;
		case TASK_HOOK:
			run_hook(run);
			break;
		case TASK_GATE:
			run_gate(run);
			break;
		case TASK_REVERT:
			if (run->version->is_routed)
			{
				routed_take_back(run);
				break;
			}
			version = revert_script(run, &script);
			run_piece_script(run, version, script);
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

/* What comes after a transaction of a task. */
typedef enum TaskProgress
{
	TASK_DONE,
	TASK_HAS_MORE,   /* the next piece is for another transaction */
	TASK_HAS_OUTSIDE /* a script is to run outside of one first */
} TaskProgress;

/* Records what has run; is it all? */
static bool
record(TaskRun *run)
{
	bool is_last = run->piece == list_length(run->path);

	if (is_last)
		record_success(run);
	if (run->rehearsal)
		rehearsal_record(run);
	if (!is_last)
		record_piece(run);
	if (run->is_outside_done)
		toplevel_forget(run);
	run->is_outside_done = false;
	return is_last;
}

/* All scripts of the task, or of its piece. */
static void
run_all(void *arg)
{
	TaskRun *run = arg;

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
}

/*
 * Does it bring something that is to be looked at beside the node's other modules?  A rollback, a
 * declaration or a release is when it is planned; what has run outside of a transaction was before.
 */
static bool
brings_version(const TaskRun *run)
{
	return run->kind == TASK_SWAP && !run->is_rollback && run->heads == NIL && !run->release &&
		   !run->is_outside_done;
}

/* Runs the task in the current transaction, up to and including its record, or that of its next piece. */
static TaskProgress
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
		lane_lock(run, false);
	if (run->kind == TASK_REVERT && run->release == NULL && !record_is_partial(run))
		require_latest(run);
	if (run->has_path)
		record_plan(run);
	if (brings_version(run))
		lane_require_met(run);
	if (leaves_transaction(run))
	{
		AtEOXact_GUC(false, guc_level);
		return TASK_HAS_OUTSIDE;
	}

	if (run->is_rehearsal)
		rehearsal_run(run, run_all);
	else
		run_all(run);
	is_last = record(run);
	AtEOXact_GUC(false, guc_level);
	(void) LockRelease(&run->lock, ExclusiveLock, true);
	return is_last ? TASK_DONE : TASK_HAS_MORE;
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

	if (run->rehearsal == NULL || !rehearsal_place(run, &failure.place))
		(void) place_find(run, error, &failure.place);
	return failure;
}

/* Releases what the session has locked for the task, as often as it has. */
static void
release_locks(const TaskRun *run)
{
	LOCKTAG tag;

	lock_tag(&tag, LOCK_TASK, &run->key, sizeof(run->key));
	while (lock_held_by_me(&tag, ExclusiveLock))
		(void) LockRelease(&tag, ExclusiveLock, true);
	if (run->outside)
		lane_release(run);
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
		session_begin_transaction();
		MemoryContextSwitchTo(context);
		record_failure(run, failure, cancelled);
		if (run->rehearsal)
			rehearsal_record(run);
		if (run->statement_number > 0)
			toplevel_record_failure(run);
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

/* Takes away what a statement outside of transactions has left; what fails in that stays left. */
static void
clean(TaskRun *run, bool cancelled, MemoryContext context)
{
	PG_TRY();
	{
		toplevel_clean(run, cancelled);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		session_recover();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

/* Says of such a script how far it is. */
static void
add_state(const TaskRun *run, Failure *failure)
{
	char *state = toplevel_state(run);

	if (state)
		failure->detail = failure->detail ? psprintf("%s %s", failure->detail, state) : state;
}

/* The transactions of a task, and what is outside of them. */
static void
run_transactions(TaskRun *run, MemoryContext context)
{
	TaskProgress progress;

	while ((progress = run_task(run)) != TASK_DONE)
	{
		session_commit_soon();
		CommitTransactionCommand();
		if (progress == TASK_HAS_OUTSIDE)
		{
			MemoryContextSwitchTo(context);
			toplevel_run(run);
			run->is_outside_done = true;
		}
		session_begin_transaction();
		MemoryContextSwitchTo(context);
	}
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
	run->tell_snapshot_wait = control->wait_for_snapshots;
	PG_TRY();
	{
		bool wanted;

		session_begin_transaction();
		MemoryContextSwitchTo(context);
		stale = session_is_stale();
		wanted = !stale && record_load(run);
		callback.callback = describe_task;
		callback.arg = run;
		callback.previous = error_context_stack;
		error_context_stack = &callback;
		if (wanted && control->cancelled())
			ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("deployment was cancelled")));
		if (wanted)
			run_transactions(run, context);
		error_context_stack = callback.previous;
		session_commit_soon();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error_context_stack = outer;
		failure = failure_of(run, error_copy());
		FlushErrorState();
		toplevel_note_failure(run);
		session_recover();
		failed = true;
	}
	PG_END_TRY();
	if (failed)
	{
		bool cancelled;

		clean(run, control->cancelled(), context);
		control->wait_for_snapshots(false);
		cancelled = control->hold_cancel();
		add_state(run, &failure);
		release_locks(run);
		report_failure(run, &failure, cancelled, context);
	}
	release_locks(run);
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
			while (run_task(t->run) != TASK_DONE)
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
	release_locks(run);
	if (error)
	{
		session_close(true);
		record_failure(run, &t.failure, false);
	}
	if (error && run->rehearsal)
		rehearsal_record(run);
	return !t.cancelled;
}
