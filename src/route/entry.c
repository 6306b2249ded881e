/*
 * entry.c
 *		The language hotswap: a function of it, an entry, passes the call on to the function of the
 *		version that the transaction gets.
 *
 * The same FunctionCallInfo goes on, with the target's FmgrInfo in it, so that result sets,
 * triggers, procedures that commit, polymorphic and variadic arguments work as they do there.  An
 * entry runs as its caller and gives it no right.
 *
 * As the server does for its own functions in front of functions (fmgr_security_definer), the
 * caller's FmgrInfo is put back when there is an error, and calls are counted for the target where
 * track_functions says so.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/defrem.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "route/lookup.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(hotswap_call_entry);
PG_FUNCTION_INFO_V1(hotswap_check_entry);

static bool
has_more(FunctionCallInfo fcinfo)
{
	return fcinfo->resultinfo && IsA(fcinfo->resultinfo, ReturnSetInfo) &&
		   ((ReturnSetInfo *) fcinfo->resultinfo)->isDone == ExprMultipleResult;
}

static bool
has_null(FunctionCallInfo fcinfo)
{
	for (int i = 0; i < fcinfo->nargs; i++)
		if (fcinfo->args[i].isnull)
			return true;
	return false;
}

/* What a STRICT function returns where an argument is NULL: NULL, or no rows. */
static Datum
return_nothing(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_retset && fcinfo->resultinfo && IsA(fcinfo->resultinfo, ReturnSetInfo))
		((ReturnSetInfo *) fcinfo->resultinfo)->isDone = ExprEndResult;
	fcinfo->isnull = true;
	return (Datum) 0;
}

/* By itself, so that calls that are not counted need less of the stack. */
static pg_noinline Datum
call_counted(FunctionCallInfo fcinfo)
{
	PgStat_FunctionCallUsage usage;
	Datum result;

	pgstat_init_function_usage(fcinfo, &usage);
	result = FunctionCallInvoke(fcinfo);
	pgstat_end_function_usage(&usage, !has_more(fcinfo));
	return result;
}

static Datum
pass_on(FunctionCallInfo fcinfo, CallSite *site)
{
	FmgrInfo *caller = fcinfo->flinfo;
	fmNodePtr context = fcinfo->context;
	CallContext atomic = { T_CallContext, true };
	Datum result;

	site->target->fn_expr = caller->fn_expr;
	/* as CALL has it for a procedure of the kind: it looks at the entry, which is none */
	if (site->atomic && context && IsA(context, CallContext))
		fcinfo->context = (fmNodePtr) &atomic;
	fcinfo->flinfo = site->target;
	site->depth++;
	PG_TRY();
	{
		if (pgstat_track_functions > site->target->fn_stats)
			result = call_counted(fcinfo);
		else
			result = FunctionCallInvoke(fcinfo);
	}
	PG_FINALLY();
	{
		site->depth--;
		fcinfo->flinfo = caller;
		fcinfo->context = context;
	}
	PG_END_TRY();
	return result;
}

/* What an operator class has functions for is not looked at when it is made. */
pg_noreturn static pg_noinline void
refuse_few(FunctionCallInfo fcinfo, const CallSite *site)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("an entry with %d arguments was called with %d", site->nargs, fcinfo->nargs),
			 errdetail("The caller is C that takes function %u for another one.",
					   fcinfo->flinfo->fn_oid)));
}

/* Handler: hotswap.call_entry() */
Datum
hotswap_call_entry(PG_FUNCTION_ARGS)
{
	CallSite *site = fcinfo->flinfo->fn_extra;
	Datum result;

	if (unlikely(site == NULL || !lookup_is_current(site)))
		site = lookup(fcinfo);
	/* more than there are is usual: an input function may take one of three */
	if (unlikely(fcinfo->nargs < site->nargs))
		refuse_few(fcinfo, site);
	if (unlikely(site->check_nulls) && has_null(fcinfo))
		return return_nothing(fcinfo);
	result = pass_on(fcinfo, site);
	if (fcinfo->flinfo->fn_retset)
		site->open_set = has_more(fcinfo) ? my_transaction_number() : InvalidLocalTransactionId;
	return result;
}

/* Validator: hotswap.check_entry(oid) */
Datum
hotswap_check_entry(PG_FUNCTION_ARGS)
{
	Oid entry = PG_GETARG_OID(0);
	EntryBody body;
	HeapTuple tuple;

	if (!CheckFunctionValidatorAccess(fcinfo->flinfo->fn_oid, entry))
		PG_RETURN_VOID();
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(entry));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", entry);
	lookup_read_entry(tuple, &body);
	ReleaseSysCache(tuple);
	PG_RETURN_VOID();
}
