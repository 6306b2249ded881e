/*
 * pipeline.h
 *		Advancing a deployment: what the dispatcher does at each visit.
 */
#ifndef HOTSWAP_PIPELINE_H
#define HOTSWAP_PIPELINE_H

#include "core/audit.h"
#include "nodes/pg_list.h"
#include "shm/executors.h"

/* A task whose start is part of the visit's transaction. */
typedef struct StartedTask
{
	TaskKey key;
	Oid role;
} StartedTask;

/* What the dispatcher tells the pipeline. */
typedef struct VisitContext
{
	AuditActor *actor;
	bool may_start; /* dispatching is not stopped, here and now */
	bool may_admit; /* and the deployment's lanes are free */
	bool suspended; /* its tenant is */
	bool leaving;   /* its tenant is being deprovisioned, or deleted */
	int capacity;   /* tasks that may still be started in this batch */
	Oid only_role;  /* start only this role's tasks; InvalidOid: all */
	bool (*in_flight)(const TaskKey *key);
	bool (*given_back)(const TaskKey *key); /* it was lost without having begun */
	MemoryContext results;                  /* where what a visit returns is kept */
	List *left_roles;                       /* out: roles whose tasks only_role excluded */
} VisitContext;

/* What the pipeline tells the dispatcher; to be acted on after the commit. */
typedef struct Visit
{
	pg_uuid_t tenant;
	pg_uuid_t deployment;
	bool locked;                 /* somebody else has the row: nothing was done */
	bool unrecorded;             /* it failed, and not even that could be recorded */
	bool ended;                  /* or it does not exist */
	bool running;                /* it holds its lanes */
	bool queued;                 /* it waits for its lanes */
	bool parked;                 /* it waits for an approval, and holds no lanes */
	bool starved;                /* a task is ready and there was no capacity for it */
	TimestampTz next_due;        /* DT_NOEND: nothing to do until something happens */
	List *started;               /* of StartedTask */
	List *cancelled;             /* of TaskKey: running tasks to be cancelled */
	bool end_executors;          /* of those: the grace period is over */
	List *finished_environments; /* whose lanes it does not need any more */
	int32 loaded_seq;            /* private to the pipeline */
} Visit;

extern void pipeline_visit(VisitContext *context, Visit *visit);
extern void pipeline_fail(const AuditActor *actor, Visit *visit, ErrorData *error);
extern List *pipeline_path(const pg_uuid_t *tenant, const char *target);
extern bool pipeline_path_has(List *names, const char *name);

#endif /* HOTSWAP_PIPELINE_H */
