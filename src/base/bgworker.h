/*
 * bgworker.h
 *		What all background workers have in common.
 */
#ifndef HOTSWAP_BGWORKER_H
#define HOTSWAP_BGWORKER_H

#include "postmaster/bgworker.h"

extern void bgworker_describe(BackgroundWorker *worker, const char *type, const char *function);

#endif /* HOTSWAP_BGWORKER_H */
