/*
 * freeze.h
 *		Does an environment let a deployment start now, by its windows and by who has overridden them?
 */
#ifndef HOTSWAP_FREEZE_H
#define HOTSWAP_FREEZE_H

#include "core/deployment.h"
#include "core/window.h"

#define OVERRIDE_LIMIT (4 * USECS_PER_HOUR) /* how long an override holds at most */

typedef struct Freeze
{
	List *closing;        /* of TimeWindow: that do not let it start; NIL: none */
	TimestampTz opens;    /* the first time when it may; DT_NOEND: never */
	bool is_overridden;   /* it may, all the same */
	pg_uuid_t overridden; /* by this one */
} Freeze;

/* All inside a scope. */
extern List *freeze_windows(const pg_uuid_t *tenant, const char *environment, const char *module);
extern bool freeze_holds(const Deployment *d, const char *environment, Freeze *f);
extern void freeze_use_override(Deployment *d, const char *environment, const Freeze *f);
extern Datum freeze_window_ids(List *windows);
extern char *freeze_words(const Freeze *f);

#endif /* HOTSWAP_FREEZE_H */
