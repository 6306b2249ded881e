/*
 * rehearsed.h
 *		Who waits for a rehearsal, and who is told of its end.
 */
#ifndef HOTSWAP_REHEARSED_H
#define HOTSWAP_REHEARSED_H

#include "pipeline/visit.h"

/* A rehearsal has succeeded. */
extern void rehearsed_tell(Visit *v);

#endif /* HOTSWAP_REHEARSED_H */
