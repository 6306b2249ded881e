/*
 * toplevel_execute.h
 *		Running one statement at top level.
 */
#ifndef HOTSWAP_TOPLEVEL_EXECUTE_H
#define HOTSWAP_TOPLEVEL_EXECUTE_H

extern void toplevel_execute(const char *sql);

#endif /* HOTSWAP_TOPLEVEL_EXECUTE_H */
