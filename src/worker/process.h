/*
 * process.h
 *		Mains of the background workers, and what they have in common.
 */
#ifndef HOTSWAP_PROCESS_H
#define HOTSWAP_PROCESS_H

#include "postmaster/bgworker.h"

extern PGDLLEXPORT void hotswap_launcher_main(Datum arg);
extern PGDLLEXPORT void hotswap_dispatcher_main(Datum arg);
extern PGDLLEXPORT void hotswap_executor_main(Datum arg);

extern void launcher_register(void);
extern void evict_init(void);

/* Fills in what all workers have in common. */
extern void process_describe(BackgroundWorker *worker, const char *type, const char *function);

#endif /* HOTSWAP_PROCESS_H */
