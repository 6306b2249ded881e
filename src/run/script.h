/*
 * script.h
 *		Running a script, within its time limit.
 */
#ifndef HOTSWAP_RUN_SCRIPT_H
#define HOTSWAP_RUN_SCRIPT_H

#include "run/record.h"

extern void run_script(TaskRun *run, const char *name, const char *sql);
extern void run_deferred(void);

/* The time limit, for whatever else is run; what the first returns is for the second. */
extern bool run_limit_begin(void);
extern void run_limit_end(bool armed);

#endif /* HOTSWAP_RUN_SCRIPT_H */
