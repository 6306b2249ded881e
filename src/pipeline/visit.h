/*
 * visit.h
 *		A visit of the dispatcher to a deployment: what it is told, what it holds, what it returns.
 *
 * pipeline.c decides what comes next; gate.c holds a stage back; stage.c starts one; stage_tasks.c
 * starts, counts and settles the tasks of one; waves.c takes them in waves; behind.c says how many
 * may fail; rollback.c takes back what was swapped.
 */
#ifndef HOTSWAP_VISIT_H
#define HOTSWAP_VISIT_H

#include "core/steps.h"
#include "module/version.h"
#include "nodes/pg_list.h"
#include "shm/executors.h"

/* A task whose start is part of the visit's transaction. */
typedef struct StartedTask
{
	TaskKey key;
	Oid role;
} StartedTask;

/* What the dispatcher tells the pipeline. */
typedef struct VisitRequest
{
	AuditActor *actor;
	bool may_start;    /* dispatching is not stopped, here and now */
	bool may_admit;    /* and the deployment's lanes are free */
	bool suspended;    /* its tenant is */
	bool leaving;      /* its tenant is being deprovisioned, or deleted */
	int capacity;      /* tasks that may still be started in this batch */
	Oid only_role;     /* start only this role's tasks; InvalidOid: all */
	TimestampTz began; /* tasks of what was requested before that have their start on disk first */
	bool (*in_flight)(void *tasks, const TaskKey *key);
	bool (*given_back)(void *tasks, const TaskKey *key); /* it was lost without having begun */
	bool (*overran)(void *tasks, const TaskKey *key);    /* because it did not end in time */
	void *tasks;                                         /* what these know the tasks by */
	MemoryContext results;                               /* where what a visit returns is kept */
	List *left_roles; /* out: roles whose tasks only_role excluded */
} VisitRequest;

/* What the pipeline tells the dispatcher; to be acted on after the commit. */
typedef struct VisitResult
{
	pg_uuid_t tenant;
	pg_uuid_t deployment;
	bool locked;                 /* somebody else has the row: nothing was done */
	bool unrecorded;             /* it failed, and not even that could be recorded */
	bool ended;                  /* or it does not exist */
	bool running;                /* it holds its lanes */
	bool queued;                 /* it waits for its lanes */
	bool parked;                 /* it waits for an approval, and holds no lanes */
	bool is_behind;              /* or rather for another deployment, at its gate */
	pg_uuid_t behind;            /* which is this one */
	bool durable;                /* the commit has to be on disk before it is acted on */
	bool starved;                /* a task is ready and there was no capacity for it */
	TimestampTz next_due;        /* DT_NOEND: nothing to do until something happens */
	List *started;               /* of StartedTask */
	List *cancelled;             /* of TaskKey: running tasks to be cancelled */
	bool end_executors;          /* of those: the grace period is over */
	List *waited_for_it;         /* of pg_uuid_t: to be visited, for what it has become */
	List *finished_environments; /* whose lanes it does not need any more */
	int32 loaded_seq;            /* private to the pipeline */
} VisitResult;

/* A deployment during a visit. */
typedef struct Visit
{
	Deployment d;
	VisitRequest *request;
	VisitResult *result;
	List *stages;
	Stage *stage; /* the current one */
	List
		*tasks; /* of the current stage, or of the one that is reverted: those that are looked at */
	Stage *tasks_of;   /* which stage that is; NULL: none were read */
	TaskCounts others; /* how many that stage has besides */
	int32 frontier;    /* what has not begun is before this ordinal, or not among them */
	List *approvals;
	List *versions;       /* of Version: those that it is about; NIL: not read during this visit */
	bool was_rehearsed;   /* the gate has found so, or does not ask */
	bool without_nodes;   /* the environment of the current stage, when the gate looked */
	bool without_windows; /* nor are there any times at which nothing starts there */
	List *plans;          /* of NodePlan: what is to run in one environment */
	char *planned;        /* which; NULL: not asked for yet */
	List *scanned;        /* those plans whose versions were scanned in this visit */
	struct RolloutRow *rollout; /* of the current stage; NULL: it takes its nodes at once */
	List *pauses;               /* of PauseRow */
} Visit;

extern void visit_report(Visit *v, List **list, const void *data, size_t size);
extern List *visit_path(const Visit *v);
extern List *visit_plan(Visit *v);
extern List *visit_plan_of(Visit *v, char *environment);

#endif /* HOTSWAP_VISIT_H */
