/*
 * copy.h
 *		COPY ... FROM STDIN in a script.
 */
#ifndef HOTSWAP_RUN_COPY_H
#define HOTSWAP_RUN_COPY_H

#include "module/script.h"
#include "run/record.h"

extern void run_copy(TaskRun *run, const ParsedScript *script, const RawStmt *raw);

#endif /* HOTSWAP_RUN_COPY_H */
