/*
 * machine.c
 *		The transition tables, and state_diagram(), which prints them.
 *
 * Pure: who may cause a transition, and what is written with it, is the business of the callers;
 * that there is no other way from one state to another is the business of this file.
 */
#include "postgres.h"

#include "base/label.h"
#include "core/machine.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

static const char *const deployment_statuses[] = {
	"scheduled",    "pending_approval", "queued",         "running",   "paused",
	"rolling_back", "succeeded",        "failed",         "cancelled", "rejected",
	"expired",      "rolled_back",      "rollback_failed"
};

static const char *const deployment_events[] = {
	"release",        "start",   "succeed",       "fail",   "roll_back", "finish_rollback",
	"fail_rollback",  "cancel",  "finish_cancel", "expire", "retry",     "retry_rollback",
	"await_approval", "approve", "reject",        "pause",  "resume"
};

static const Transition deployment_transitions[] = {
	{ DEPLOYMENT_SCHEDULED, DEPLOYMENT_RELEASE, DEPLOYMENT_QUEUED },
	{ DEPLOYMENT_SCHEDULED, DEPLOYMENT_CANCEL, DEPLOYMENT_CANCELLED },
	{ DEPLOYMENT_SCHEDULED, DEPLOYMENT_EXPIRE, DEPLOYMENT_EXPIRED },
	{ DEPLOYMENT_SCHEDULED, DEPLOYMENT_REJECT, DEPLOYMENT_REJECTED },
	{ DEPLOYMENT_SCHEDULED, DEPLOYMENT_FAIL, DEPLOYMENT_FAILED },
	{ DEPLOYMENT_PENDING_APPROVAL, DEPLOYMENT_APPROVE, DEPLOYMENT_QUEUED },
	{ DEPLOYMENT_PENDING_APPROVAL, DEPLOYMENT_CANCEL, DEPLOYMENT_CANCELLED },
	{ DEPLOYMENT_PENDING_APPROVAL, DEPLOYMENT_REJECT, DEPLOYMENT_REJECTED },
	{ DEPLOYMENT_PENDING_APPROVAL, DEPLOYMENT_EXPIRE, DEPLOYMENT_EXPIRED },
	{ DEPLOYMENT_PENDING_APPROVAL, DEPLOYMENT_FAIL, DEPLOYMENT_FAILED },
	{ DEPLOYMENT_QUEUED, DEPLOYMENT_START, DEPLOYMENT_RUNNING },
	{ DEPLOYMENT_QUEUED, DEPLOYMENT_CANCEL, DEPLOYMENT_CANCELLED },
	{ DEPLOYMENT_QUEUED, DEPLOYMENT_EXPIRE, DEPLOYMENT_EXPIRED },
	{ DEPLOYMENT_QUEUED, DEPLOYMENT_REJECT, DEPLOYMENT_REJECTED },
	{ DEPLOYMENT_QUEUED, DEPLOYMENT_FAIL, DEPLOYMENT_FAILED },
	{ DEPLOYMENT_RUNNING, DEPLOYMENT_SUCCEED, DEPLOYMENT_SUCCEEDED },
	{ DEPLOYMENT_RUNNING, DEPLOYMENT_AWAIT_APPROVAL, DEPLOYMENT_PENDING_APPROVAL },
	{ DEPLOYMENT_RUNNING, DEPLOYMENT_REJECT, DEPLOYMENT_REJECTED },
	{ DEPLOYMENT_RUNNING, DEPLOYMENT_EXPIRE, DEPLOYMENT_EXPIRED },
	{ DEPLOYMENT_RUNNING, DEPLOYMENT_FAIL, DEPLOYMENT_FAILED },
	{ DEPLOYMENT_RUNNING, DEPLOYMENT_ROLL_BACK, DEPLOYMENT_ROLLING_BACK },
	{ DEPLOYMENT_RUNNING, DEPLOYMENT_CANCEL, DEPLOYMENT_RUNNING },
	{ DEPLOYMENT_RUNNING, DEPLOYMENT_FINISH_CANCEL, DEPLOYMENT_CANCELLED },
	{ DEPLOYMENT_RUNNING, DEPLOYMENT_PAUSE, DEPLOYMENT_PAUSED },
	{ DEPLOYMENT_PAUSED, DEPLOYMENT_RESUME, DEPLOYMENT_RUNNING },
	{ DEPLOYMENT_PAUSED, DEPLOYMENT_CANCEL, DEPLOYMENT_RUNNING },
	{ DEPLOYMENT_ROLLING_BACK, DEPLOYMENT_FINISH_ROLLBACK, DEPLOYMENT_ROLLED_BACK },
	{ DEPLOYMENT_ROLLING_BACK, DEPLOYMENT_FINISH_CANCEL, DEPLOYMENT_CANCELLED },
	{ DEPLOYMENT_ROLLING_BACK, DEPLOYMENT_FAIL_ROLLBACK, DEPLOYMENT_ROLLBACK_FAILED },
	{ DEPLOYMENT_SUCCEEDED, DEPLOYMENT_RETRY, DEPLOYMENT_QUEUED }, /* with nodes behind */
	{ DEPLOYMENT_FAILED, DEPLOYMENT_RETRY, DEPLOYMENT_QUEUED },
	{ DEPLOYMENT_ROLLED_BACK, DEPLOYMENT_RETRY, DEPLOYMENT_QUEUED },
	{ DEPLOYMENT_ROLLBACK_FAILED, DEPLOYMENT_RETRY_ROLLBACK, DEPLOYMENT_ROLLING_BACK }
};

static const char *const stage_statuses[] = { "pending",   "waiting_approval", "running",
											  "succeeded", "failed",           "skipped",
											  "cancelled" };

static const char *const stage_events[] = { "start",  "succeed", "fail",          "skip",
											"cancel", "reset",   "await_approval" };

static const Transition stage_transitions[] = {
	{ STAGE_PENDING, STAGE_START, STAGE_RUNNING },
	{ STAGE_PENDING, STAGE_AWAIT_APPROVAL, STAGE_WAITING_APPROVAL },
	{ STAGE_PENDING, STAGE_SKIP, STAGE_SKIPPED },
	{ STAGE_PENDING, STAGE_CANCEL, STAGE_CANCELLED },
	{ STAGE_WAITING_APPROVAL, STAGE_START, STAGE_RUNNING },
	{ STAGE_WAITING_APPROVAL, STAGE_CANCEL, STAGE_CANCELLED },
	{ STAGE_WAITING_APPROVAL, STAGE_RESET, STAGE_PENDING },
	{ STAGE_RUNNING, STAGE_SUCCEED, STAGE_SUCCEEDED },
	{ STAGE_RUNNING, STAGE_SKIP, STAGE_SKIPPED },
	{ STAGE_RUNNING, STAGE_FAIL, STAGE_FAILED },
	{ STAGE_RUNNING, STAGE_CANCEL, STAGE_CANCELLED },
	{ STAGE_SUCCEEDED, STAGE_RESET, STAGE_PENDING },
	{ STAGE_FAILED, STAGE_RESET, STAGE_PENDING },
	{ STAGE_SKIPPED, STAGE_RESET, STAGE_PENDING },
	{ STAGE_CANCELLED, STAGE_RESET, STAGE_PENDING }
};

static const char *const task_statuses[] = { "pending",   "ready",   "running", "retry_wait",
											 "succeeded", "failed",  "skipped", "cancelled",
											 "reverting", "reverted" };

static const char *const task_events[] = { "admit",         "start",       "succeed",
										   "fail",          "retry_later", "give_back",
										   "skip",          "cancel",      "revert",
										   "finish_revert", "fail_revert", "leave_failed" };

static const Transition task_transitions[] = {
	{ TASK_PENDING, TASK_ADMIT, TASK_READY },
	{ TASK_PENDING, TASK_SKIP, TASK_SKIPPED },
	{ TASK_PENDING, TASK_CANCEL, TASK_CANCELLED },
	{ TASK_READY, TASK_START, TASK_RUNNING },
	{ TASK_READY, TASK_CANCEL, TASK_CANCELLED },
	{ TASK_READY, TASK_FAIL, TASK_FAILED },
	{ TASK_RUNNING, TASK_SUCCEED, TASK_SUCCEEDED },
	{ TASK_RUNNING, TASK_FAIL, TASK_FAILED },
	{ TASK_RUNNING, TASK_RETRY_LATER, TASK_RETRY_WAIT },
	{ TASK_RUNNING, TASK_GIVE_BACK, TASK_READY },
	{ TASK_RUNNING, TASK_CANCEL, TASK_CANCELLED },
	{ TASK_RETRY_WAIT, TASK_START, TASK_RUNNING },
	{ TASK_RETRY_WAIT, TASK_CANCEL, TASK_CANCELLED },
	{ TASK_RETRY_WAIT, TASK_FAIL, TASK_FAILED },
	{ TASK_SUCCEEDED, TASK_BEGIN_REVERT, TASK_REVERTING },
	{ TASK_FAILED, TASK_BEGIN_REVERT, TASK_REVERTING },
	{ TASK_CANCELLED, TASK_BEGIN_REVERT, TASK_REVERTING },
	{ TASK_REVERTING, TASK_FINISH_REVERT, TASK_REVERTED },
	{ TASK_REVERTING, TASK_FAIL_REVERT, TASK_SUCCEEDED },
	{ TASK_REVERTING, TASK_LEAVE_FAILED, TASK_FAILED }
};

static const char *const approval_statuses[] = { "pending", "approved", "rejected",
												 "expired", "void",     "bypassed" };

static const char *const approval_events[] = { "approve", "reject", "expire", "invalidate",
											   "bypass" };

/*
 * One that was approved or bypassed can still lose its force until it is used; then nothing
 * changes.
 */
static const Transition approval_transitions[] = {
	{ APPROVAL_PENDING, APPROVAL_APPROVE, APPROVAL_APPROVED },
	{ APPROVAL_PENDING, APPROVAL_REJECT, APPROVAL_REJECTED },
	{ APPROVAL_PENDING, APPROVAL_EXPIRE, APPROVAL_EXPIRED },
	{ APPROVAL_PENDING, APPROVAL_INVALIDATE, APPROVAL_VOID },
	{ APPROVAL_PENDING, APPROVAL_BYPASS, APPROVAL_BYPASSED },
	{ APPROVAL_APPROVED, APPROVAL_EXPIRE, APPROVAL_EXPIRED },
	{ APPROVAL_APPROVED, APPROVAL_INVALIDATE, APPROVAL_VOID },
	{ APPROVAL_BYPASSED, APPROVAL_EXPIRE, APPROVAL_EXPIRED },
	{ APPROVAL_BYPASSED, APPROVAL_INVALIDATE, APPROVAL_VOID }
};

static const char *const tenant_statuses[] = { "provisioning", "active", "suspended",
											   "deprovisioning", "deleted" };

static const char *const tenant_events[] = { "activate", "suspend", "resume", "deprovision",
											 "delete" };

static const Transition tenant_transitions[] = {
	{ TENANT_PROVISIONING, TENANT_ACTIVATE, TENANT_ACTIVE },
	{ TENANT_ACTIVE, TENANT_SUSPEND, TENANT_SUSPENDED },
	{ TENANT_ACTIVE, TENANT_DEPROVISION, TENANT_DEPROVISIONING },
	{ TENANT_SUSPENDED, TENANT_RESUME, TENANT_ACTIVE },
	{ TENANT_SUSPENDED, TENANT_DEPROVISION, TENANT_DEPROVISIONING },
	{ TENANT_DEPROVISIONING, TENANT_DELETE, TENANT_DELETED }
};

#define MACHINE(name_, first, second)                                          \
	const Machine name_##_machine = { .name = #name_,                          \
									  .statuses = name_##_statuses,            \
									  .events = name_##_events,                \
									  .nstatuses = lengthof(name_##_statuses), \
									  .initial = { first, second },            \
									  .transitions = name_##_transitions,      \
									  .ntransitions = lengthof(name_##_transitions) }

MACHINE(deployment, DEPLOYMENT_SCHEDULED, DEPLOYMENT_QUEUED);
MACHINE(stage, STAGE_PENDING, -1);
MACHINE(task, TASK_PENDING, -1);
MACHINE(approval, APPROVAL_PENDING, -1);
MACHINE(tenant, TENANT_PROVISIONING, -1);

PG_FUNCTION_INFO_V1(hotswap_state_diagram);

static const Transition *
machine_find(const Machine *machine, int from, int event)
{
	for (int i = 0; i < machine->ntransitions; i++)
	{
		const Transition *t = &machine->transitions[i];

		if (t->from == from && t->event == event)
			return t;
	}
	return NULL;
}

bool
machine_allows(const Machine *machine, int from, int event)
{
	return machine_find(machine, from, event) != NULL;
}

/* Returns the state that an event leads to; raises 55000 when it is not legal. */
int
machine_next(const Machine *machine, int from, int event)
{
	const Transition *found = machine_find(machine, from, event);
	StringInfoData legal;
	int count = 0;

	if (found)
		return found->to;
	initStringInfo(&legal);
	for (int i = 0; i < machine->ntransitions; i++)
		if (machine->transitions[i].event == event)
			appendStringInfo(&legal, "%s\"%s\"", count++ > 0 ? ", " : "",
							 machine->statuses[machine->transitions[i].from]);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s in status \"%s\" does not allow event \"%s\"", machine->name,
					machine->statuses[from], machine->events[event]),
			 errdetail_plural("Status %s allows it.", "Statuses %s allow it.", count, legal.data)));
}

/* The event that has led from one state to another. */
const char *
machine_event_between(const Machine *machine, int from, int to)
{
	for (int i = 0; i < machine->ntransitions; i++)
		if (machine->transitions[i].from == from && machine->transitions[i].to == to)
			return machine->events[machine->transitions[i].event];
	elog(ERROR, "no event leads from %s to %s", machine->statuses[from], machine->statuses[to]);
}

/* The number of a status read from a table. */
int
machine_parse(const Machine *machine, const char *status)
{
	return label_parse(status, machine->statuses, machine->nstatuses);
}

/* A status of a machine as a value of the function's result type. */
Datum
status_datum(FunctionCallInfo fcinfo, const Machine *machine, int status)
{
	return status_value(get_func_rettype(fcinfo->flinfo->fn_oid), machine, status);
}

/* The same of the enum with this OID. */
Datum
status_value(Oid type, const Machine *machine, int status)
{
	return OidInputFunctionCall(F_ENUM_IN, unconstify(char *, machine->statuses[status]), type, -1);
}

/* Has the deployment ended? */
bool
deployment_is_final(DeploymentStatus status)
{
	return status >= DEPLOYMENT_SUCCEEDED;
}

/* Does it hold its lanes, and count as one of the tenant's that run? */
bool
deployment_has_started(DeploymentStatus status)
{
	const char *word = deployment_statuses[status];
	const char *found = strstr(STARTED_STATUSES, word);

	return found && found[-1] == '\'' && found[strlen(word)] == '\'';
}

static bool
is_end(const Machine *machine, int status)
{
	for (int i = 0; i < machine->ntransitions; i++)
		if (machine->transitions[i].from == status)
			return false;
	return true;
}

/*
 * state_diagram(machine text): Mermaid, from the tables above.
 *
 * Errors: 22023 unknown machine.
 */
Datum
hotswap_state_diagram(PG_FUNCTION_ARGS)
{
	const Machine *const machines[] = { &deployment_machine, &stage_machine, &task_machine,
										&approval_machine, &tenant_machine };
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const Machine *machine = NULL;
	StringInfoData out;

	for (int i = 0; i < (int) lengthof(machines); i++)
		if (strcmp(machines[i]->name, name) == 0)
			machine = machines[i];
	if (machine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("state machine \"%s\" does not exist", name),
				 errhint("The state machines are deployment, stage, task, approval and tenant.")));

	initStringInfo(&out);
	appendStringInfoString(&out, "stateDiagram-v2\n");
	for (int i = 0; i < (int) lengthof(machine->initial); i++)
		if (machine->initial[i] >= 0)
			appendStringInfo(&out, "    [*] --> %s\n", machine->statuses[machine->initial[i]]);
	for (int i = 0; i < machine->ntransitions; i++)
	{
		const Transition *t = &machine->transitions[i];

		appendStringInfo(&out, "    %s --> %s: %s\n", machine->statuses[t->from],
						 machine->statuses[t->to], machine->events[t->event]);
	}
	for (int i = 0; i < machine->nstatuses; i++)
		if (is_end(machine, i))
			appendStringInfo(&out, "    %s --> [*]\n", machine->statuses[i]);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
