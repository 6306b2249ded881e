/*
 * steps.h
 *		The stages of a deployment and the tasks of one of them, in memory while it is advanced.
 */
#ifndef HOTSWAP_STEPS_H
#define HOTSWAP_STEPS_H

#include "base/digest.h"
#include "core/deployment.h"
#include "nodes/pg_list.h"
#include "shm/executors.h"

typedef enum StageKind
{
	STAGE_BUILD,
	STAGE_SCAN,
	STAGE_TEST,
	STAGE_DEPLOY,
	STAGE_VALIDATE
} StageKind;

typedef enum TaskKind
{
	TASK_SWAP,
	TASK_VERIFY,
	TASK_HOOK,
	TASK_REVERT,
	TASK_PREPARE, /* before the first wave */
	TASK_GATE     /* after one: a function of users is asked */
} TaskKind;

/* What the stage says of the environment whose approval it waits for. */
#define WAITS_FOR_APPROVAL "waits for the approval of %s"

/* hotswap.agent_action */
typedef enum AgentAction
{
	AGENT_NONE, /* the task is an executor's */
	AGENT_ACTIVATE,
	AGENT_VERIFY,
	AGENT_REVERT,
	AGENT_REMOVE,
	AGENT_INSTALL, /* beside what runs */
	AGENT_UNINSTALL
} AgentAction;

#define TASK_KIND_COUNT (TASK_GATE + 1)

/* How many tasks there are, as the audit log has them. */
typedef struct TaskCounts
{
	int32 by[TASK_KIND_COUNT][TASK_STATUS_COUNT];
	int32 idle; /* swaps of nodes that had nothing to run: they were skipped from the beginning */
} TaskCounts;

typedef struct Stage
{
	int32 ordinal;
	StageKind kind;
	StageStatus status;
	StageStatus saved_status; /* as in the table */
	char *environment;
	TimestampTz started_at;
	TimestampTz finished_at;
	char *message;
	const char *event; /* last event, NULL: unchanged */
	bool is_new;
	bool is_noted; /* its message has changed, and nothing else */
	/* of one that has many tasks, so that a visit need not read them all */
	bool is_counted;
	TaskCounts counts;
	List *
		open; /* ordinals of those that have begun and are an executor's, or wait for another attempt */
	int32 next_task; /* those that have not begun are not before this one */
} Stage;

typedef struct Task
{
	int32 stage;
	int32 ordinal;
	TaskKind kind;
	TaskStatus status;
	TaskStatus saved_status; /* that the audit log has */
	int32 wave;
	int32 attempt;
	int32 reverts; /* -1: NULL */
	bool has_node;
	pg_uuid_t node;
	char *hook; /* the function of users that it calls */
	TimestampTz due_at;
	TimestampTz started_at;
	TimestampTz finished_at;
	char *previous_version;
	char *sqlstate;
	char *message;
	int32 steps; /* of its plan; 0: it has none */
	uint8 plan_digest[DIGEST_LENGTH];
	int64 swap_from; /* what is later on the node is the task's */
	char *verdict;   /* hotswap.gate_result, of a gate that has said something */
	/* of an agent's */
	AgentAction action;
	char *version_after;     /* what the node runs after it; NULL: nothing */
	TimestampTz lease_until; /* TIME_NULL: it is not given out */
	bool is_claimed;         /* since it was given out */
	bool was_claimed;        /* ever: the node may have been changed */
	bool is_installed;       /* its agent has said so */
	char *claimed_by;        /* the role that it was */
	const char *event;
	bool is_new;
	bool is_recorded; /* by its executor, and not in the audit log yet */
	bool is_lost;     /* it is running, and nobody has it in hand */
} Task;

extern const char *const stage_kind_names[];
extern const char *const task_kind_names[TASK_KIND_COUNT];
extern const char *const agent_action_names[AGENT_UNINSTALL + 1];

extern List *steps_load_stages(const Deployment *d);
extern char *steps_gate(const Deployment *d);
extern void steps_await_approval(Deployment *d, const char *environment);
extern List *steps_load_tasks(const Deployment *d, int stage);
extern List *steps_load_some(const Deployment *d, int stage, List *ordinals);
extern List *steps_load_ready(const Deployment *d, int stage, int from, int limit);
extern List *steps_load_wave(const Deployment *d, int stage, int from, int limit);
extern List *steps_reported_tasks(const Deployment *d, int stage);
extern List *steps_overdue_tasks(const Deployment *d, int stage);
extern List *steps_unclaimed_tasks(const Deployment *d, int stage);
extern void steps_save_counts(const Deployment *d, const Stage *stage);
extern void steps_forget_counts(const Deployment *d, int from_stage);
extern void steps_audit_recorded(Deployment *d, List *tasks);
extern Stage *steps_add_stage(List **stages, StageKind kind, const char *environment);
extern Task *steps_add_task(List **tasks, const Stage *stage, TaskKind kind);
extern void stage_apply(Stage *stage, StageEvent event, const char *message);
extern void stage_note(Stage *stage, const char *message);
extern void task_apply(Task *task, TaskEvent event);
extern void steps_save_stages(Deployment *d, List *stages);
extern void steps_save_tasks(Deployment *d, List *tasks);
extern void steps_cancel_unfinished(List *stages, const char *message);
extern void steps_cancel_stages(Deployment *d, const char *message);
extern void steps_forget_tasks(const Deployment *d, int from_stage);
extern TaskKey task_key(const Deployment *d, const Task *task);

#endif /* HOTSWAP_STEPS_H */
