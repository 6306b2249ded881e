/*
 * share.h
 *		How many nodes: a number, or percent of them.
 */
#ifndef HOTSWAP_SHARE_H
#define HOTSWAP_SHARE_H

#include "c.h"

#define NODES_LIMIT 10000

/* In the one form in which it is stored; NULL: it is none, or it is less than least. */
extern char *share_parse(const char *text, int least);

#endif /* HOTSWAP_SHARE_H */
