/*
 * routed.h
 *		Tasks of modules that are called through entries.
 */
#ifndef HOTSWAP_ROUTED_H
#define HOTSWAP_ROUTED_H

#include "run/record.h"

/* In a task's transaction: the version is there for callers from the commit on. */
extern void routed_bring(TaskRun *run, const Version *version);

/* What brought the module to the node is taken back: it runs no version any more. */
extern void routed_remove(TaskRun *run, const Version *version);

#endif /* HOTSWAP_ROUTED_H */
