/*
 * process.h
 *		Mains of the background workers, and what _PG_init calls.
 */
#ifndef HOTSWAP_PROCESS_H
#define HOTSWAP_PROCESS_H

#include "postmaster/bgworker.h"

extern PGDLLEXPORT void hotswap_launcher_main(Datum arg);
extern PGDLLEXPORT void hotswap_dispatcher_main(Datum arg);
extern PGDLLEXPORT void hotswap_executor_main(Datum arg);

extern void launcher_register(void);
extern void make_way_init(void);
extern bool database_is_held(Oid database);

#endif /* HOTSWAP_PROCESS_H */
