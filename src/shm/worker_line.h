/*
 * worker_line.h
 *		Who waits for one of the server's worker slots, and whose turn it is.
 */
#ifndef HOTSWAP_WORKER_LINE_H
#define HOTSWAP_WORKER_LINE_H

#include "postgres_ext.h"

#define LINE_LAUNCHER InvalidOid /* the launcher, for a dispatcher; everybody else is a database */

extern Size worker_line_size(void);
extern void worker_line_startup(void);

#define WORKER_LINE_LONG_MS 5000 /* who waits longer is worth a word to the administrator */

/* The caller holds shared->lock exclusively. */
extern bool worker_line_turn(Oid who);
extern void worker_line_enter(Oid who);
extern void worker_line_leave(Oid who);

/* These take the lock, and do without the preload. */
extern long worker_line_waits(Oid who);

#endif /* HOTSWAP_WORKER_LINE_H */
