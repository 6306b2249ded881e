/*
 * hook.c
 *		Calls a function that users have registered, as whoever the session is: a hook of a stage, or what a gate asks.
 *
 * It has hotswap.statement_timeout.  Locks whatever the function locks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/db.h"
#include "base/subxact.h"
#include "catalog/pg_type.h"
#include "core/gate_function.h"
#include "environment/user_function.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "run/hook.h"
#include "run/script.h"
#include "run/session_mark.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#define MOST_ARGUMENTS 3

/* Is a gate defined as it was when the rollout began? */
static DbStatement same_query = DB_STATEMENT(
	"SELECT FROM hotswap.rollout_gate WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3"
	" AND function = $4 AND digest = " GATE_DIGEST("$4"),
	UUIDOID, UUIDOID, INT2OID, TEXTOID);

/* A call of a function of users. */
typedef struct FunctionCall
{
	TaskRun *run;
	UserFunction kind;
	Datum arguments[MOST_ARGUMENTS];
	int count;
	Oid type; /* of the result */
	Datum result;
	bool isnull;
} FunctionCall;

/*
 * The function and its result type.  Since the role of the task was found, another one may have
 * taken the name: it must still be that role's, and fit.  Who calls it is whoever the settings of the role
 * say.
 */
static Oid
find_function(FunctionCall *call)
{
	const TaskRun *run = call->run;
	const char *arguments = user_function_arguments[call->kind];
	Oid function = user_function_find(call->kind, run->hook);
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function %s%s does not exist", run->hook, arguments)));
	form = (Form_pg_proc) GETSTRUCT(tuple);
	call->type = form->prorettype;
	if (form->proowner != run->role || !user_function_fits(call->kind, form))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s%s is not the one that was registered", run->hook, arguments)));
	ReleaseSysCache(tuple);
	return function;
}

/* Calls it, within the time limit of scripts. */
static void
call_function(FunctionCall *call)
{
	Oid function = find_function(call);
	SessionMark mark;
	bool armed;
	LOCAL_FCINFO(fcinfo, MOST_ARGUMENTS);
	FmgrInfo flinfo;

	call->run->script = user_function_words[call->kind];
	pgstat_report_activity(STATE_RUNNING, call->run->hook);
	armed = run_limit_begin();
	session_mark(&mark);
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, call->count, InvalidOid, NULL, NULL);
	for (int i = 0; i < call->count; i++)
	{
		fcinfo->args[i].value = call->arguments[i];
		fcinfo->args[i].isnull = false;
	}
	call->result = FunctionCallInvoke(fcinfo);
	call->isnull = fcinfo->isnull;
	session_tidy(&mark, &call->run->lock);
	run_limit_end(armed);
}

/* Calls the hook with the id of the deployment; one that says false has failed. */
void
run_hook(TaskRun *run)
{
	FunctionCall call = { .run = run,
						  .kind = FUNCTION_HOOK,
						  .arguments = { UUIDPGetDatum(&run->key.deployment) },
						  .count = 1 };

	call_function(&call);
	if (call.type == BOOLOID && (call.isnull || !DatumGetBool(call.result)))
		ereport(ERROR, (errcode(ERRCODE_ASSERT_FAILURE),
						call.isnull ? errmsg("hook \"%s\" returned null", run->hook) :
									  errmsg("hook \"%s\" returned false", run->hook)));
	run->script = NULL;
}

/* Who has replaced it meanwhile does not decide. */
static void
require_same(const TaskRun *run)
{
	DbArgs args = db_args(&same_query);
	DbScope scope;
	bool same;

	db_enter(&scope);
	db_arg_uuid(&args, &run->key.tenant);
	db_arg_uuid(&args, &run->key.deployment);
	db_arg_int16(&args, run->key.stage);
	db_arg_text(&args, run->hook);
	same = db_run_args(&args) > 0;
	db_leave(&scope);
	if (!same)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("function %s%s was changed after the rollout had begun", run->hook,
							   user_function_arguments[FUNCTION_GATE])));
}

/* It can look at everything and write nothing: the end of the subtransaction is the end of that, too. */
static void
call_read_only(void *arg)
{
	XactReadOnly = true;
	call_function(arg);
}

void
run_gate(TaskRun *run)
{
	FunctionCall call = { .run = run,
						  .kind = FUNCTION_GATE,
						  .arguments = { UUIDPGetDatum(&run->key.deployment),
										 Int32GetDatum(run->key.stage), Int32GetDatum(run->wave) },
						  .count = 3 };

	require_same(run);
	subxact_undo(call_read_only, &call);
	if (call.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_ASSERT_FAILURE), errmsg("gate \"%s\" returned null", run->hook)));
	run->verdict = DatumGetCString(DirectFunctionCall1(enum_out, call.result));
	run->script = NULL;
}
