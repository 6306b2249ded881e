/*
 * hook.h
 *		Running functions of users: hooks, and those that are asked by gates.
 */
#ifndef HOTSWAP_RUN_HOOK_H
#define HOTSWAP_RUN_HOOK_H

#include "run/record.h"

extern void run_hook(TaskRun *run);

/* Writes what it says to the verdict of the run. */
extern void run_gate(TaskRun *run);

#endif /* HOTSWAP_RUN_HOOK_H */
