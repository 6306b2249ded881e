/*
 * record.h
 *		A task while it runs: what is read before, and how its end is recorded.
 */
#ifndef HOTSWAP_RECORD_H
#define HOTSWAP_RECORD_H

#include "base/db.h"
#include "core/plan.h"
#include "core/steps.h"
#include "module/toplevel.h"
#include "module/version.h"
#include "route/ring.h"
#include "storage/lock.h"

/* Told while a statement runs that waits for the snapshots of others. */
typedef void (*SnapshotWait)(bool waits);

/* What callers of a module get from the commit on. */
typedef struct RouteChange
{
	char *module;
	RingSlot *slot; /* NULL: nothing */
} RouteChange;

/* The task and everything its scripts need; strings live in the caller's context. */
typedef struct TaskRun
{
	TaskKey key;
	LOCKTAG lock; /* that tells others that it runs */
	TaskKind kind;
	int32 attempt;
	int32 reverts;
	AgentAction action; /* AGENT_NONE: it runs in this session */
	bool has_node;
	pg_uuid_t node;
	char *node_name;
	char *hook;        /* the function of users that it calls */
	int32 wave;        /* of a gate */
	char *verdict;     /* hotswap.gate_result: what a gate has said */
	char *search_path; /* of its scripts; NULL: as the role has it */
	Oid role;          /* that it belongs to: the login of the session */
	List *targets;     /* of PlanTarget: of a release, its modules in the order of their names */
	char *release;     /* NULL: it is about one module */
	char *environment; /* of the node */
	bool is_target;    /* the deployment ends there */
	char *module;      /* of a release its name */
	List *asked_for;   /* of char *: the modules that its versions ask for, or to be without */
	bool is_graph;     /* the module's versions build on each other */
	char *target;      /* the version that is deployed */
	List *heads;       /* of char *: of a declaration */
	TimestampTz requested_at; /* of the deployment */
	bool is_rollback;
	pg_uuid_t rolls_back; /* then: this deployment */
	/* of what is done in steps: a swap or a revert of such a module, a rollback, and all of a release but hooks */
	bool has_path;
	uint8 plan_digest[DIGEST_LENGTH];
	int64 swap_from; /* what is later on the node is this deployment's */
	bool take_down;  /* versions that the target does not build on */
	List *path;      /* of Step: what is still to be done */
	int piece;       /* so many of them are done in this transaction */
	List *
		routes; /* of RouteChange: of modules that are called through entries, what is to be recorded */
	/* else */
	Version *version;
	Version *previous; /* of a revert: what ran before, NULL: nothing */
	bool is_rehearsal;
	int max_lock;                /* then: ms that an AccessExclusive lock may be held */
	struct Rehearsal *rehearsal; /* what it has seen; NULL: it has not begun */
	int64 rows;                  /* that statements of its scripts have changed */
	/* of a piece that runs outside of a transaction */
	SnapshotWait tell_snapshot_wait; /* NULL: it is no executor, and cannot */
	Version *outside;                /* whose script it is; NULL: there is none, or it has run */
	const char *outside_of;          /* which: deploy, revert, install */
	bool is_outside_done;            /* what is left of the piece is a transaction */
	int statement_number;            /* in that script, from 1; 0: none runs */
	int statement_attempts;          /* that failed before */
	StatementKind statement_kind;
	uint32 statement_began_in; /* the number of the transaction */
	bool in_doubt;             /* the statement may have committed a part */
	char *left;                /* what it has left, in words */
	/* how far it is, for the report of an error */
	const char *step;      /* the version whose script it is, or NULL */
	const char *script;    /* deploy, verify, revert, install, hook, or NULL */
	const char *sql;       /* the text of the script */
	const char *statement; /* the statement that runs */
	int statement_at;      /* its first byte in the script */
	int at;                /* the byte that it is at: behind comments, or of its data */
} TaskRun;

/* Where in a script something is. */
typedef struct ScriptPlace
{
	int position; /* in characters from 1, as all of these; 0: unknown */
	int line;
	int column;
	char *excerpt; /* the lines around it */
} ScriptPlace;

/* What an agent says at the end of a task. */
typedef struct AgentReport
{
	bool is_installed; /* something is */
	uint8 digest[DIGEST_LENGTH];
	Jsonb *details; /* or NULL */
} AgentReport;

/* How a task failed. */
typedef struct Failure
{
	int sqlerrcode;
	char *message;
	char *detail;
	char *hint;
	char *context;
	char *step;
	ScriptPlace place;
	bool collided; /* with somebody who has changed the same object of the catalog */
} Failure;

extern bool record_load(TaskRun *run);
extern bool record_is_partial(const TaskRun *run);
extern bool record_latest(const TaskRun *run, pg_uuid_t *deployment);
/* The modules that the task changes. */
extern List *record_modules(const TaskRun *run);

extern void record_refuse_blocked(const NodePlan *plan);
extern void record_plan(TaskRun *run);
extern Version *record_read_step(const TaskRun *run, const Step *step);
extern void record_require_running(const TaskRun *run, bool cancel);
extern void record_piece(TaskRun *run);
extern void record_success(TaskRun *run);
extern void record_failure(TaskRun *run, const Failure *failure, bool cancelled);
extern void record_agent_success(TaskRun *run, const AgentReport *report);
extern void record_agent_failure(TaskRun *run, char *message, const AgentReport *report);

#endif /* HOTSWAP_RECORD_H */
