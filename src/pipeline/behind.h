/*
 * behind.h
 *		Nodes that fail and stay behind while their deployment goes on.
 */
#ifndef HOTSWAP_BEHIND_H
#define HOTSWAP_BEHIND_H

#include "pipeline/visit.h"

extern int behind_allowed(const Deployment *d, const Stage *stage, int swaps);
extern char *behind_words(int nodes);
extern int behind_count(Visit *v);

#endif /* HOTSWAP_BEHIND_H */
