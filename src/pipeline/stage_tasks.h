/*
 * stage_tasks.h
 *		The tasks of a stage.
 */
#ifndef HOTSWAP_STAGE_TASKS_H
#define HOTSWAP_STAGE_TASKS_H

#include "pipeline/visit.h"

/* How far the tasks of a stage are. */
typedef struct Tally
{
	int unfinished; /* pending, ready, retry_wait */
	int running;
	int failed;
	int succeeded;
	int current_wave;   /* lowest with something unfinished or running; 0: none */
	bool begun;         /* that wave has */
	Task *first_failed; /* of those that were read */
} Tally;

extern void stage_tasks_load(Visit *v, Stage *stage);
extern void stage_tasks_settle_lost(Visit *v);
extern void stage_tasks_break_off(Visit *v);
extern Tally stage_tasks_tally(Visit *v, bool reverts);
extern Tally stage_tasks_tally_all(Visit *v);
extern int stage_tasks_left_out(const Visit *v);
extern void stage_tasks_cancel_unfinished(Visit *v);
extern void stage_tasks_start_due(Visit *v, bool reverts, int wave, int room);

#endif /* HOTSWAP_STAGE_TASKS_H */
