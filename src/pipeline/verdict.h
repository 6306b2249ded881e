/*
 * verdict.h
 *		What nodes report decides about a wave.
 */
#ifndef HOTSWAP_VERDICT_H
#define HOTSWAP_VERDICT_H

#include "pipeline/visit.h"
#include "rollout/rollout.h"

/*
 * Looks at the nodes of the current stage, of which those with the version were swapped by a time, and records what
 * is seen.  Out: reason.  Unmeasured: nobody reports anything, and nothing is recorded.
 */
extern Gate verdict_look(Visit *v, TimestampTz swapped, int look, int looks, char **reason);

/* What was said last of a wave, by nodes and by functions; NULL: nothing. */
extern char *verdict_reason(const Deployment *d, int stage, int wave);

/* How long a bake of so many microseconds is not looked at: caches are cold at first. */
extern int64 verdict_settle(int64 bake);

#endif /* HOTSWAP_VERDICT_H */
