/*
 * deployment.h
 *		A deployment's row: locked, and changed through its state machine.
 *
 * Lock order everywhere: the deployment's row first, then its stages, tasks and work item.
 */
#ifndef HOTSWAP_DEPLOYMENT_H
#define HOTSWAP_DEPLOYMENT_H

#include "base/compat.h"
#include "base/db.h"
#include "core/audit.h"
#include "core/machine.h"
#include "fmgr.h"
#include "utils/timestamp.h"

/* hotswap.deployment_kind */
typedef enum DeploymentKind
{
	KIND_DEPLOY,
	KIND_ROLLBACK,
	KIND_REHEARSAL,
	KIND_BRING_UP,
	KIND_DECLARE
} DeploymentKind;

extern const char *const deployment_kind_names[];

/* hotswap.failure_action */
typedef enum FailureAction
{
	ON_FAILURE_BACK,
	ON_FAILURE_STAY,
	ON_FAILURE_UNSAID
} FailureAction;

extern const char *const failure_action_names[];
extern const char *failure_action_label(FailureAction action);

typedef struct Deployment
{
	pg_uuid_t tenant;
	pg_uuid_t id;
	DeploymentStatus status;
	DeploymentStatus loaded_status;
	DeploymentStatus queued_status; /* what its work item says, if it has one */
	DeploymentKind kind;
	pg_uuid_t rolls_back; /* of a rollback: the deployment that it takes back */
	FailureAction on_failure;
	int32 priority;
	char *release; /* NULL: it is about one version */
	char *module;  /* of a release its name */
	char *version; /* of a release its digest */
	char *environment;
	Datum nodes;        /* uuid[]: of the target these alone */
	bool all_nodes;     /* nodes is not set */
	bool allow_revert;  /* what the version does not build on is taken back in the target */
	bool only_target;   /* environments of lower rank are not passed through */
	bool reapply;       /* held versions may come again */
	int32 nodes_behind; /* that stayed at their version when it last succeeded */
	List *heads;        /* of char *: of a declaration, what its node is declared to run */
	TimestampTz requested_at;
	TimestampTz run_at;
	TimestampTz start_by;
	TimestampTz started_at;
	TimestampTz cancel_requested_at;
	char *cancel_reason;
	char *sqlstate;
	char *message;
	char *rollback_sqlstate;
	char *rollback_message;
	bool gated;         /* it has approvals */
	bool has_rollout;   /* it has had rollouts or pauses */
	char *requested_by; /* the person */
	char *login;        /* who was logged in */
	Oid requester;      /* the role that it was; InvalidOid: none */
	Oid login_role;
	bool tell_waiters; /* something that is waited for has been decided */
	AuditChain chain;
	AuditBatch *batch;
} Deployment;

typedef enum DeploymentFound
{
	DEPLOYMENT_FOUND,
	DEPLOYMENT_MISSING,
	DEPLOYMENT_LOCKED /* only with skip_locked */
} DeploymentFound;

extern DeploymentFound deployment_lock(Deployment *d, const pg_uuid_t *tenant, const pg_uuid_t *id,
									   const AuditActor *actor, bool skip_locked);
extern void deployment_lock_existing(Deployment *d, const pg_uuid_t *id, const AuditActor *actor);
extern void deployment_apply(Deployment *d, DeploymentEvent event, const char *reason);
pg_noreturn extern void deployment_refuse_missing(const pg_uuid_t *id);

/* An expression: the status of a work item's deployment, which is looked up where the item does not say it. */
#define WORK_ITEM_STATUS(w)                                                            \
	"CASE WHEN " w ".status IS NULL THEN (SELECT wd.status FROM hotswap.deployment wd" \
	" WHERE wd.tenant_id = " w ".tenant_id AND wd.id = " w ".deployment_id) ELSE " w ".status END"

/* A condition: may its deployment be about one of these modules? That of a release has to be looked up. */
#define WORK_ITEM_MAY_BE_ABOUT(w, modules) \
	"(" w ".module IS NULL OR " w ".module = ANY (" modules "))"

#define deployment_status_datum(fcinfo, status) status_datum(fcinfo, &deployment_machine, status)

#endif /* HOTSWAP_DEPLOYMENT_H */
