/*
 * agent_task.h
 *		A task in the hands of an agent: its name, its token and its lease.
 */
#ifndef HOTSWAP_AGENT_TASK_H
#define HOTSWAP_AGENT_TASK_H

#include "core/steps.h"
#include "fmgr.h"

/* What an agent calls a task by, and shows to be the one that has it. */
typedef struct AgentToken
{
	int64 counter; /* larger than that of any token before */
	pg_uuid_t secret;
} AgentToken;

/* A task whose row is locked, of an agent with the right to it. */
typedef struct AgentTask
{
	TaskKey key;
	pg_uuid_t node;
	TimestampTz lease_until; /* as it was */
	TimestampTz lease_end;   /* of a lease that begins now */
	bool is_cancelled;       /* the deployment is, or its tenant's going */
	AgentAction action;
	bool has_digest; /* of what is to run after it */
	uint8 digest[DIGEST_LENGTH];
} AgentTask;

/* The arguments "task" and "token" of a function; 22023. */
extern TaskKey agent_task_argument(FunctionCallInfo fcinfo, int n);
extern AgentToken agent_token_argument(FunctionCallInfo fcinfo, int n);

extern char *agent_task_text(const TaskKey *key);
extern char *agent_token_text(const AgentToken *token);

/* All inside a scope. */

/* Raises P0002, or 42501 unless the caller is the agent of the node. */
extern void agent_require_node(const pg_uuid_t *tenant, const pg_uuid_t *node, Oid caller);

/* Locks a task; 42501, and YH002 where the token is not, or not any more, that of the task. */
extern void agent_task_lock(AgentTask *task, const TaskKey *key, const AgentToken *token,
							Oid caller);

/* A task that is not being cancelled belongs to its agent for longer. */
extern void agent_task_extend(AgentTask *task);

/*
 * Tells of the deployments with tasks whose time is over; returns when that of the next one is, DT_NOEND: there is
 * none.
 */
extern TimestampTz agent_leases_over(void (*tell)(const pg_uuid_t *deployment));

#endif /* HOTSWAP_AGENT_TASK_H */
