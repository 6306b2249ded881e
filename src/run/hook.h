/*
 * hook.h
 *		Running a hook.
 */
#ifndef HOTSWAP_RUN_HOOK_H
#define HOTSWAP_RUN_HOOK_H

#include "run/record.h"

extern void run_hook(TaskRun *run);

#endif /* HOTSWAP_RUN_HOOK_H */
