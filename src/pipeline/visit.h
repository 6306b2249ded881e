/*
 * visit.h
 *		A deployment during a visit of the dispatcher: what the files of the pipeline share.
 *
 * pipeline.c decides what comes next; gate.c holds a stage back; stage.c starts one; stage_tasks.c starts, counts and
 * settles the tasks of one; rollback.c takes back what was swapped.
 */
#ifndef HOTSWAP_VISIT_H
#define HOTSWAP_VISIT_H

#include "core/steps.h"
#include "module/scan.h"
#include "pipeline/pipeline.h"

/* A deployment during a visit. */
typedef struct Walk
{
	Deployment d;
	VisitContext *context;
	Visit *visit;
	List *stages;
	Stage *stage; /* the current one */
	List *tasks;  /* of the current stage, or of the one that is reverted */
	List *approvals;
	VersionScripts *scripts; /* NULL: not read during this visit */
} Walk;

/* How far the tasks of a stage are. */
typedef struct Tally
{
	int unfinished; /* pending, ready, retry_wait */
	int running;
	int failed;
	int current_wave; /* lowest with something unfinished or running; 0: none */
	bool begun;       /* that wave has */
	Task *first_failed;
} Tally;

/* pipeline.c */
extern void walk_finish(Walk *w, DeploymentEvent event, const char *reason);
extern void walk_end(Walk *w, DeploymentEvent event, const char *message);
extern void walk_report(Walk *w, List **list, const void *data, size_t size);

/* stage.c */
extern ErrorData *stage_start(Walk *w);

/* stage_tasks.c */
extern void stagetask_settle_lost(Walk *w);
extern Tally stagetask_tally(Walk *w, bool reverts);
extern void stagetask_cancel_unfinished(List *tasks);
extern void stagetask_start_due(Walk *w, bool reverts, int wave);

/* rollback.c */
extern Stage *rollback_stage(Walk *w);
extern void rollback_or_end(Walk *w, DeploymentEvent event, const char *reason);
extern void rollback_advance(Walk *w);

#endif /* HOTSWAP_VISIT_H */
