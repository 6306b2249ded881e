/*
 * rehearsal.h
 *		A task that is run and leaves nothing but what was seen.
 */
#ifndef HOTSWAP_REHEARSAL_H
#define HOTSWAP_REHEARSAL_H

#include "run/record.h"

/* In the transaction of a task: runs what it is to run, body(run), and takes it back; raises what that raises. */
extern void rehearsal_run(TaskRun *run, void (*body)(void *));

/* In it: a step begins. */
extern void rehearsal_step(TaskRun *run, char *module, char *version, StepDirection direction);

/* After an error: where in a script it was; false if that is not known. */
extern bool rehearsal_place(const TaskRun *run, ScriptPlace *place);

/* In the transaction that records the task, or its failure: a row for each step. */
extern void rehearsal_record(const TaskRun *run);

#endif /* HOTSWAP_REHEARSAL_H */
