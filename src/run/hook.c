/*
 * hook.c
 *		Calls a function that users have registered for a stage, as whoever the session is.
 *
 * It has hotswap.statement_timeout.  Locks whatever the function locks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "environment/task_role.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "run/hook.h"
#include "run/script.h"
#include "run/session_mark.h"
#include "utils/syscache.h"

/*
 * The function of a hook and its result type.  Since the role of the task was found, another one may have
 * taken the name: it must still be that role's, and fit.  Who calls it is whoever the settings of the role
 * say.
 */
static Oid
find_hook(const TaskRun *run, Oid *type)
{
	Oid function = hook_function(run->hook);
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function %s(uuid) does not exist", run->hook)));
	form = (Form_pg_proc) GETSTRUCT(tuple);
	*type = form->prorettype;
	if (form->proowner != run->role || !hook_fits(form))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("function %s(uuid) is not the one that was registered", run->hook)));
	ReleaseSysCache(tuple);
	return function;
}

/* Calls the hook with the id of the deployment; one that says false has failed. */
void
run_hook(TaskRun *run)
{
	Oid type;
	Oid function = find_hook(run, &type);
	Datum id = UUIDPGetDatum(&run->key.deployment);
	Datum result;
	SessionMark mark;
	bool armed;
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo flinfo;

	run->script = "hook";
	pgstat_report_activity(STATE_RUNNING, run->hook);
	armed = run_limit_begin();
	session_mark(&mark);
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = id;
	fcinfo->args[0].isnull = false;
	result = FunctionCallInvoke(fcinfo);
	session_tidy(&mark, &run->lock);
	run_limit_end(armed);
	if (type == BOOLOID && (fcinfo->isnull || !DatumGetBool(result)))
		ereport(ERROR, (errcode(ERRCODE_ASSERT_FAILURE),
						fcinfo->isnull ? errmsg("hook \"%s\" returned null", run->hook) :
										 errmsg("hook \"%s\" returned false", run->hook)));
	run->script = NULL;
}
