/*
 * script.h
 *		Running a script, within its time limit.
 */
#ifndef HOTSWAP_RUN_SCRIPT_H
#define HOTSWAP_RUN_SCRIPT_H

#include "run/record.h"
#include "utils/timeout.h"

extern void run_script(TaskRun *run, const char *name, const char *sql);
extern void run_deferred(const TaskRun *run);
extern void run_deferred_triggers(const TaskRun *run);

/*
 * The time limit, for whatever else is run; what run_limit_begin() returns is for those that end it, and
 * run_limit_end() raises 57014 when it is over.
 */
extern void run_limit_on_overrun(timeout_handler_proc handler);
extern void run_limit_overrun_after(int ms);
extern bool run_limit_begin(void);
extern bool run_limit_passed(void);
extern void run_limit_stop(bool armed);
extern void run_limit_end(bool armed);

#endif /* HOTSWAP_RUN_SCRIPT_H */
