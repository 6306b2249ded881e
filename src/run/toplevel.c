/*
 * toplevel.c
 *		Runs a script outside of a transaction: each statement is one, as psql would run it.
 *
 * A statement is recorded in the transaction that is open when it returns, so that an ordinary one is done and
 * recorded or neither.  Of those that begin others, a row says beforehand that they have begun: whoever
 * finds it without its end looks what there is (toplevel_rest.c), or, where that cannot be told, ends the
 * task in doubt.  A transaction of the script's own, from BEGIN to COMMIT, is recorded before its COMMIT.
 *
 * The session keeps what statements set; where a script goes on in another session, its settings are made
 * again.  What the statement waits for: lock_timeout counts for every lock, but not for CONCURRENTLY, which
 * waits for whoever may still see what was, and keeps nobody waiting.
 *
 * Locks: the lane and the task are the session's; each statement what it locks, and then what
 * toplevel_record.c does.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/guc.h"
#include "module/parse.h"
#include "pgstat.h"
#include "run/copy.h"
#include "run/script.h"
#include "run/session.h"
#include "run/toplevel.h"
#include "run/toplevel_execute.h"
#include "run/toplevel_record.h"
#include "run/toplevel_rest.h"
#include "shm/waiter.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

typedef struct Toplevel
{
	TaskRun *run;
	ParsedScript *script;
	StatementRecord *records; /* by number, from 1 */
	MemoryContext context;    /* of the script */
	MemoryContext statement;  /* of the present statement */
} Toplevel;

/* The statement whose error is being dealt with: it is asked what it has left. */
static const RawStmt *failed;
static List *failed_before;
static MemoryContext failed_context;

/* ---- the session ---- */

static void
set(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_USERSET, PGC_S_SESSION);
}

/* What holds for each statement, unless the script sets it, and whatever the role's settings are. */
static void
set_session(const TaskRun *run)
{
	set("default_transaction_isolation", "read committed");
	set("default_transaction_read_only", "off");
	set("default_transaction_deferrable", "off");
	set("standard_conforming_strings", "on");
	set("exit_on_error", "off");
	set("lock_timeout", psprintf("%d", hotswap_lock_timeout));
	if (run->search_path)
		set("search_path", run->search_path);
#ifdef HAVE_TRANSACTION_TIMEOUT
	set("transaction_timeout", "0");
#endif
}

static void
begin(Toplevel *t)
{
	session_begin_transaction();
	MemoryContextSwitchTo(t->statement);
}

static void
commit(Toplevel *t)
{
	CommitTransactionCommand();
	MemoryContextSwitchTo(t->statement);
}

/* ---- statements ---- */

static const RawStmt *
statement_of(const Toplevel *t, int number)
{
	return list_nth_node(RawStmt, t->script->statements, number - 1);
}

/* Its text, which goes when the next statement begins; notes where it stands in the script. */
static char *
take_text(Toplevel *t, int number)
{
	const ParsedScript *script = t->script;
	const RawStmt *raw = statement_of(t, number);
	int start = script_statement_offset(script->text, raw->stmt_location);
	int end = raw->stmt_len > 0 ? raw->stmt_location + raw->stmt_len : (int) strlen(script->text);
	char *text = MemoryContextAlloc(t->statement, end - start + 1);

	memcpy(text, script->text + start, end - start);
	text[end - start] = '\0';
	t->run->statement = text;
	t->run->statement_at = t->run->at = start;
	debug_query_string = text;
	pgstat_report_activity(STATE_RUNNING, text);
	return text;
}

/* Runs a statement in the transaction that has begun. */
static void
execute(Toplevel *t, int number)
{
	const RawStmt *raw = statement_of(t, number);
	char *text = take_text(t, number);

	if (script_copies_data(raw->stmt))
		run_copy(t->run, t->script, raw);
	else
		toplevel_execute(text);
	if (IsA(raw->stmt, VariableSetStmt) &&
		castNode(VariableSetStmt, raw->stmt)->kind == VAR_RESET_ALL)
		set_session(t->run);
	parse_require_setting(t->script->label);
}

/*
 * A statement that waits for the snapshots of others is about to begin: without lock_timeout, which it returns,
 * and without those who hold a snapshot while they wait for what may be this very script.
 */
static char *
begin_wait(Toplevel *t)
{
	char *lock_timeout = pstrdup(GetConfigOption("lock_timeout", false, false));

	set("lock_timeout", "0");
	t->run->tell_snapshot_wait(true);
	waiter_disturb();
	return lock_timeout;
}

static void
end_wait(Toplevel *t, const char *lock_timeout)
{
	t->run->tell_snapshot_wait(false);
	set("lock_timeout", lock_timeout);
}

/* Runs a statement that is not of the script, but for its sake. */
static void
execute_for(Toplevel *t, const char *sql)
{
	char *lock_timeout = begin_wait(t);
	bool armed;

	begin(t);
	armed = run_limit_begin();
	toplevel_execute(sql);
	run_limit_stop(armed);
	commit(t);
	end_wait(t, lock_timeout);
}

/* The last statement of the transaction that begins with one: mostly itself. */
static int
end_of_unit(const Toplevel *t, int number)
{
	int count = list_length(t->script->statements);

	if (!toplevel_begins_block(statement_of(t, number)))
		return number;
	while (number < count && !toplevel_ends_block(statement_of(t, number)))
		number++;
	return number;
}

/* A transaction of the script's own: recorded before its COMMIT, or after its ROLLBACK. */
static void
run_block(Toplevel *t, int first, int last)
{
	bool armed = run_limit_begin();
	const TransactionStmt *end = castNode(TransactionStmt, statement_of(t, last)->stmt);

	for (int number = first; number <= last; number++)
	{
		if (number == first)
			begin(t);
		else
			StartTransactionCommand();
		MemoryContextSwitchTo(t->statement);
		if (number == last)
			run_limit_end(armed);
		if (number == last && end->kind == TRANS_STMT_COMMIT)
		{
			XactReadOnly = false;
			toplevel_record_done(t->run);
		}
		execute(t, number);
		commit(t);
	}
	if (end->kind == TRANS_STMT_COMMIT)
		return;
	begin(t);
	toplevel_record_done(t->run);
	commit(t);
}

/* A statement that is a transaction of its own, or several. */
static void
run_alone(Toplevel *t, int number)
{
	TaskRun *run = t->run;
	bool armed;

	begin(t);
	run->statement_began_in = my_transaction_number();
	armed = run_limit_begin();
	execute(t, number);
	if (run->statement_kind == STATEMENT_PLAIN)
		run_limit_end(armed);
	else
		run_limit_stop(armed);
	toplevel_require_valid(statement_of(t, number));
	if (MyXactFlags & XACT_FLAGS_NEEDIMMEDIATECOMMIT)
	{
		commit(t);
		begin(t);
	}
	else
		CommandCounterIncrement();
	XactReadOnly = false;
	toplevel_record_done(run);
	commit(t);
}

/* Nobody can know what the statement has done. */
static void
refuse_doubt(Toplevel *t)
{
	TaskRun *run = t->run;

	run->in_doubt = true;
	ereport(ERROR,
			(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
			 errmsg("statement %d of the %s of version \"%s\" is in doubt", run->statement_number,
					t->script->label, run->outside->name),
			 errdetail("Its executor ended while it ran, and it may have committed a part."),
			 errhint("Find out what it has done, and call hotswap.retry() with in_doubt => 'run' or"
					 " 'skip'.")));
}

/*
 * Is a statement that has begun done?  If not, makes it ready to run again, or raises that it is in doubt.  What
 * an earlier attempt has left is taken away before the statement runs.
 */
static bool
settle(Toplevel *t, int number, const StatementRecord *r)
{
	const RawStmt *raw = statement_of(t, number);
	List *repairs;
	char *rest = NULL;
	bool done;
	ListCell *cell;

	if (r->in_doubt || (r->begun && t->run->statement_kind == STATEMENT_UNKNOWN))
		refuse_doubt(t);
	begin(t);
	done = r->begun && toplevel_is_done(raw, r->indexes);
	repairs = done ? NIL : toplevel_repairs(raw, r->indexes);
	if (!done && r->is_there)
		rest = toplevel_rest_of(raw);
	commit(t);
	foreach (cell, repairs)
		execute_for(t, lfirst(cell));
	if (rest)
		execute_for(t, rest);
	return done || rest;
}

static void
record_done(Toplevel *t)
{
	begin(t);
	toplevel_record_done(t->run);
	commit(t);
}

/* Notes which statement it is, and that it begins. */
static void
enter_statement(Toplevel *t, int number)
{
	TaskRun *run = t->run;
	StatementRecord *r = &t->records[number];
	const RawStmt *raw = statement_of(t, number);

	(void) take_text(t, number);
	run->statement_kind = toplevel_kind(raw);
	run->statement_number = number;
	run->statement_attempts = r->attempts;
	failed = raw;
	failed_before = r->indexes;
	begin(t);
	if (!r->is_there && run->statement_kind != STATEMENT_PLAIN)
	{
		MemoryContextSwitchTo(t->context);
		r->indexes = failed_before = toplevel_indexes(raw);
	}
	toplevel_record_begin(run, r, run->statement_kind != STATEMENT_PLAIN && !r->begun);
	commit(t);
}

static void
run_unit(Toplevel *t, int first, int last)
{
	char *lock_timeout;

	enter_statement(t, first);
	if (first != last)
		run_block(t, first, last);
	else if (t->run->statement_kind != STATEMENT_PLAIN && settle(t, first, &t->records[first]))
		record_done(t);
	else if (toplevel_waits_for_snapshots(statement_of(t, first)))
	{
		lock_timeout = begin_wait(t);
		run_alone(t, first);
		end_wait(t, lock_timeout);
	}
	else
		run_alone(t, first);
}

/* Settings of statements that another session has run. */
static void
repeat_setting(Toplevel *t, int number)
{
	begin(t);
	execute(t, number);
	commit(t);
}

static void
run_statements(Toplevel *t)
{
	int count = list_length(t->script->statements);
	int last;

	for (int first = 1; first <= count; first = last + 1)
	{
		last = end_of_unit(t, first);
		MemoryContextReset(t->statement);
		CHECK_FOR_INTERRUPTS();
		if (!t->records[first].done)
			run_unit(t, first, last);
		else if (first == last && toplevel_is_setting(statement_of(t, first)))
			repeat_setting(t, first);
		t->run->statement_number = 0;
	}
}

void
toplevel_run(TaskRun *run)
{
	Toplevel t = { .run = run };
	int script = strcmp(run->outside_of, "revert") == 0  ? SCRIPT_REVERT :
				 strcmp(run->outside_of, "install") == 0 ? SCRIPT_INSTALL :
														   SCRIPT_DEPLOY;

	t.context = failed_context =
		AllocSetContextCreate(CurrentMemoryContext, "hotswap toplevel", ALLOCSET_DEFAULT_SIZES);
	t.statement =
		AllocSetContextCreate(t.context, "hotswap toplevel statement", ALLOCSET_DEFAULT_SIZES);
	run->script = run->outside_of;
	begin(&t);
	MemoryContextSwitchTo(t.context);
	t.script = script_parse(psprintf("%s script", run->outside_of), run->outside->scripts[script]);
	run->sql = t.script->sql;
	set_session(run);
	t.records = toplevel_read(run, list_length(t.script->statements));
	commit(&t);
	run_statements(&t);
	begin(&t);
	session_clear();
	commit(&t);
	debug_query_string = NULL;
	pgstat_report_stat(false);
	run->script = run->statement = run->sql = NULL;
	failed = NULL;
	MemoryContextSwitchTo(MemoryContextGetParent(t.context));
	MemoryContextDelete(t.context);
}

/* ---- failures ---- */

void
toplevel_note_failure(TaskRun *run)
{
	if (run->statement_number > 0 && run->statement_kind == STATEMENT_UNKNOWN &&
		my_transaction_number() != run->statement_began_in)
		run->in_doubt = true;
}

/*
 * After an error: takes away what the statement has left, which nobody can use and which may refuse rows.  Not
 * after a cancel, whose caller waits.
 */
void
toplevel_clean(TaskRun *run, bool cancelled)
{
	List *repairs;
	ListCell *cell;

	if (run->statement_number == 0 || failed == NULL)
		return;
	session_begin_transaction();
	MemoryContextSwitchTo(failed_context);
	repairs = toplevel_repairs(failed, failed_before);
	CommitTransactionCommand();
	MemoryContextSwitchTo(failed_context);
	foreach (cell, repairs)
	{
		run->left = psprintf(" Left behind is what \"%s\" removes.", (char *) lfirst(cell));
		if (cancelled)
			continue;
		set("lock_timeout", psprintf("%d", hotswap_lock_timeout));
		session_begin_transaction();
		MemoryContextSwitchTo(failed_context);
		toplevel_execute(lfirst(cell));
		CommitTransactionCommand();
		MemoryContextSwitchTo(failed_context);
		run->left = NULL;
	}
}

char *
toplevel_state(const TaskRun *run)
{
	int done = run->statement_number - 1;
	const char *left = run->left ? run->left : "";

	if (run->statement_number == 0)
		return NULL;
	if (done == 0)
		return psprintf("No statement of the script is done.%s", left);
	if (done == 1)
		return psprintf("Statement 1 of the script is done.%s", left);
	return psprintf("Statements 1 to %d of the script are done.%s", done, left);
}
