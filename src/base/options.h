/*
 * options.h
 *		Options of statements, as the parser leaves them.
 */
#ifndef HOTSWAP_OPTIONS_H
#define HOTSWAP_OPTIONS_H

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

extern DefElem *options_find(List *options, const char *name);
extern bool options_on(List *options, const char *name, bool when_missing);
extern bool options_have(List *options, const char *name);

#endif /* HOTSWAP_OPTIONS_H */
