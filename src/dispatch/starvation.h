/*
 * starvation.h
 *		Tasks that are ready and do not get anywhere.
 */
#ifndef HOTSWAP_STARVATION_H
#define HOTSWAP_STARVATION_H

#include "dispatch/dispatch.h"
#include "dispatch/due_set.h"

extern void starvation_note(Dispatch *d, DueItem *item);
extern void starvation_wake(Dispatch *d);
extern void starvation_relieve(Dispatch *d);
extern void starvation_forget(Dispatch *d);

#endif /* HOTSWAP_STARVATION_H */
