/*
 * toplevel.h
 *		Running a script outside of a transaction.
 */
#ifndef HOTSWAP_RUN_TOPLEVEL_H
#define HOTSWAP_RUN_TOPLEVEL_H

#include "run/record.h"

/*
 * In an executor, outside a transaction: runs what is left of run->outside, whose lane the session has locked.
 * Raises the error of the statement that failed.
 */
extern void toplevel_run(TaskRun *run);

/* After an error of it, before its transaction is rolled back; and after that. */
extern void toplevel_note_failure(TaskRun *run);
extern void toplevel_clean(TaskRun *run, bool cancelled);

/* What is done and what is left, in words; NULL: no such script was running. */
extern char *toplevel_state(const TaskRun *run);

#endif /* HOTSWAP_RUN_TOPLEVEL_H */
