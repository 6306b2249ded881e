/*
 * approval.h
 *		Approvals of a deployment: opened, counted, decided.
 *
 * The caller is inside a scope and holds the lock on the deployment's row, and calls
 * deployment_save() afterwards.
 */
#ifndef HOTSWAP_APPROVAL_H
#define HOTSWAP_APPROVAL_H

#include "base/digest.h"
#include "core/approval_scope.h"
#include "core/deployment.h"
#include "core/person.h"

/* A condition of SQL: a stage started with the approval, and votes decided it, or its bypass was looked at since. */
#define APPROVAL_COUNTS(a)                                                               \
	a ".used_at IS NOT NULL AND (" a ".status = 'approved' OR " a ".status = 'bypassed'" \
	  " AND " a ".review_closed_at IS NOT NULL)"

/* What an environment asks for. */
typedef struct ApprovalPolicy
{
	int32 min_approvals;
	bool restricted; /* to these roles; else to those with the capability approver */
	List *approvers; /* of Oid: the named ones, or those that have the capability */
	Interval expires_after;
	bool allow_self;
	bool require_comment;
	int32 max_open_reviews; /* -1: any number */
} ApprovalPolicy;

/* A round of the approval of an environment. */
typedef struct Approval
{
	char *environment;
	int32 round;
	ApprovalStatus status;
	bool extra;
	uint8 digest[DIGEST_LENGTH];
	TimestampTz expires_at;
	TimestampTz remind_at; /* half of its time; DT_NOEND: they have been reminded */
	TimestampTz used_at;
	char *decided_by;
	char *reason;
} Approval;

typedef struct Vote
{
	char *person;
	Oid person_role; /* the role that it was; InvalidOid: none */
	Oid role;
	Oid delegator; /* InvalidOid: own right */
	bool approves;
} Vote;

extern bool approval_policy_load(const pg_uuid_t *tenant, const char *environment,
								 ApprovalPolicy *policy);
extern bool approval_policy_allows(const ApprovalPolicy *policy, Oid role);
extern int approval_quorum(const ApprovalPolicy *policy, const Approval *a);

extern List *approval_load(const Deployment *d);
extern Approval *approval_find(List *approvals, const char *environment);
extern Approval *approval_choose(const Deployment *d, const char *environment);
extern bool approval_is_live(const Approval *a);
extern List *approval_votes(const Deployment *d, const Approval *a);
extern bool vote_uses_right_of(const Vote *vote, const char *name, Oid role);
extern int approval_count(const Deployment *d, const Approval *a, const ApprovalPolicy *policy);

extern void approval_digest(const Deployment *d, List *path, const char *environment, List *steps,
							uint8 *result);
extern Approval *approval_open(Deployment *d, const char *environment, bool extra, int32 round,
							   const ApprovalPolicy *policy, List *path,
							   const ApprovalScope *scope);
extern void approval_open_path(Deployment *d, List *path, List *extra, List *approvals);
extern void approval_apply(Deployment *d, Approval *a, ApprovalEvent event, const char *by,
						   const char *reason, const char *ticket);
extern void approval_remind(Deployment *d, Approval *a);
extern void approval_use(Deployment *d, Approval *a);
extern void approval_close(Deployment *d);

#define approval_status_datum(fcinfo, status) status_datum(fcinfo, &approval_machine, status)

#endif /* HOTSWAP_APPROVAL_H */
