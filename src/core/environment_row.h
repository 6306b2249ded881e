/*
 * environment_row.h
 *		The row of an environment: that it is there, locked, and what it says changed.
 */
#ifndef HOTSWAP_ENVIRONMENT_ROW_H
#define HOTSWAP_ENVIRONMENT_ROW_H

#include "core/call.h"

/* Inside a scope; each raises P0002 where there is no such environment. */

extern void environment_require(const pg_uuid_t *tenant, const char *name);

/* FOR NO KEY UPDATE */
extern void environment_lock(const pg_uuid_t *tenant, const char *name);

/* Settings as JSON, which is what lock returns, with the lock on their row. */
extern char *environment_settings(const pg_uuid_t *tenant, const char *name, DbStatement *lock);

/* Runs an update that returns the settings; when they are others than before, that is audited as event.  Are they? */
extern bool environment_change(const Call *c, const pg_uuid_t *tenant, const char *name,
							   const char *before, DbArgs *update, const char *event);

#endif /* HOTSWAP_ENVIRONMENT_ROW_H */
