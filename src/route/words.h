/*
 * words.h
 *		Things in words.
 */
#ifndef HOTSWAP_ROUTE_WORDS_H
#define HOTSWAP_ROUTE_WORDS_H

#include "nodes/pg_list.h"

/* The first ones of very many, of char *, each once. */
extern char *words_join(List *words);

#endif /* HOTSWAP_ROUTE_WORDS_H */
