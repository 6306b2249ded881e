/*
 * machine.h
 *		The states of deployments, stages, tasks, approvals and tenants, and the only transitions
 *		between them.
 */
#ifndef HOTSWAP_MACHINE_H
#define HOTSWAP_MACHINE_H

#include "fmgr.h"

typedef enum DeploymentStatus
{
	DEPLOYMENT_SCHEDULED,
	DEPLOYMENT_PENDING_APPROVAL,
	DEPLOYMENT_QUEUED,
	DEPLOYMENT_RUNNING,
	DEPLOYMENT_PAUSED,
	DEPLOYMENT_ROLLING_BACK,
	DEPLOYMENT_SUCCEEDED,
	DEPLOYMENT_FAILED,
	DEPLOYMENT_CANCELLED,
	DEPLOYMENT_REJECTED,
	DEPLOYMENT_EXPIRED,
	DEPLOYMENT_ROLLED_BACK,
	DEPLOYMENT_ROLLBACK_FAILED
} DeploymentStatus;

typedef enum DeploymentEvent
{
	DEPLOYMENT_RELEASE, /* run_at has come */
	DEPLOYMENT_START,
	DEPLOYMENT_SUCCEED,
	DEPLOYMENT_FAIL,
	DEPLOYMENT_ROLL_BACK,
	DEPLOYMENT_FINISH_ROLLBACK,
	DEPLOYMENT_FAIL_ROLLBACK,
	DEPLOYMENT_CANCEL,
	DEPLOYMENT_FINISH_CANCEL, /* what was running has been broken off */
	DEPLOYMENT_EXPIRE,        /* start_by has passed, or an approval has expired */
	DEPLOYMENT_RETRY,
	DEPLOYMENT_RETRY_ROLLBACK,
	DEPLOYMENT_AWAIT_APPROVAL,
	DEPLOYMENT_APPROVE,
	DEPLOYMENT_REJECT,
	DEPLOYMENT_PAUSE, /* the tenant is suspended */
	DEPLOYMENT_RESUME
} DeploymentEvent;

typedef enum StageStatus
{
	STAGE_PENDING,
	STAGE_WAITING_APPROVAL,
	STAGE_RUNNING,
	STAGE_SUCCEEDED,
	STAGE_FAILED,
	STAGE_SKIPPED,
	STAGE_CANCELLED
} StageStatus;

typedef enum StageEvent
{
	STAGE_START,
	STAGE_SUCCEED,
	STAGE_FAIL,
	STAGE_SKIP,
	STAGE_CANCEL,
	STAGE_RESET, /* retry */
	STAGE_AWAIT_APPROVAL
} StageEvent;

typedef enum TaskStatus
{
	TASK_PENDING,
	TASK_READY,
	TASK_RUNNING,
	TASK_RETRY_WAIT,
	TASK_SUCCEEDED,
	TASK_FAILED,
	TASK_SKIPPED,
	TASK_CANCELLED,
	TASK_REVERTING,
	TASK_REVERTED
} TaskStatus;

#define TASK_STATUS_COUNT (TASK_REVERTED + 1)

typedef enum TaskEvent
{
	TASK_ADMIT, /* its wave has come */
	TASK_START,
	TASK_SUCCEED,
	TASK_FAIL,
	TASK_RETRY_LATER,
	TASK_GIVE_BACK, /* the attempt does not count: shutdown, or it never began */
	TASK_SKIP,
	TASK_CANCEL,
	TASK_BEGIN_REVERT,
	TASK_FINISH_REVERT,
	TASK_FAIL_REVERT,
	TASK_LEAVE_FAILED /* the same of a swap that had not succeeded */
} TaskEvent;

typedef enum ApprovalStatus
{
	APPROVAL_PENDING,
	APPROVAL_APPROVED,
	APPROVAL_REJECTED,
	APPROVAL_EXPIRED,
	APPROVAL_VOID,
	APPROVAL_BYPASSED
} ApprovalStatus;

typedef enum ApprovalEvent
{
	APPROVAL_APPROVE, /* the quorum is there */
	APPROVAL_REJECT,
	APPROVAL_EXPIRE,
	APPROVAL_INVALIDATE, /* it is not about what will run any more, or its votes are gone */
	APPROVAL_BYPASS
} ApprovalEvent;

typedef enum TenantStatus
{
	TENANT_PROVISIONING,
	TENANT_ACTIVE,
	TENANT_SUSPENDED,
	TENANT_DEPROVISIONING,
	TENANT_DELETED
} TenantStatus;

typedef enum TenantEvent
{
	TENANT_ACTIVATE,
	TENANT_SUSPEND,
	TENANT_RESUME,
	TENANT_DEPROVISION,
	TENANT_DELETE
} TenantEvent;

typedef struct Transition
{
	int from;
	int event;
	int to;
} Transition;

typedef struct Machine
{
	const char *name;
	const char *const *statuses;
	const char *const *events;
	int nstatuses;
	int initial[2]; /* where it begins; -1 where there is no second */
	const Transition *transitions;
	int ntransitions;
} Machine;

extern const Machine deployment_machine;
extern const Machine stage_machine;
extern const Machine task_machine;
extern const Machine approval_machine;
extern const Machine tenant_machine;

extern int machine_next(const Machine *machine, int from, int event);
extern bool machine_allows(const Machine *machine, int from, int event);
extern const char *machine_event_between(const Machine *machine, int from, int to);
extern int machine_parse(const Machine *machine, const char *status);
extern Datum status_datum(FunctionCallInfo fcinfo, const Machine *machine, int status);
extern Datum status_value(Oid type, const Machine *machine, int status);
extern bool deployment_is_final(DeploymentStatus status);
extern bool deployment_has_started(DeploymentStatus status);

/* What deployment_has_started() says yes to, for statements. */
#define STARTED_STATUSES "('running', 'paused', 'rolling_back')"

#endif /* HOTSWAP_MACHINE_H */
