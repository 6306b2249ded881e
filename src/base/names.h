/*
 * names.h
 *		Lists of names, of char *.
 */
#ifndef HOTSWAP_NAMES_H
#define HOTSWAP_NAMES_H

#include "nodes/pg_list.h"

/* The place of a name in a list, from 0; -1: it is not there. */
extern int names_find(List *names, const char *name);

extern bool names_have(List *names, const char *name);

#endif /* HOTSWAP_NAMES_H */
