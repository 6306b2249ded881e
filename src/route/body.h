/*
 * body.h
 *		The text of an entry: what it is an entry to.
 */
#ifndef HOTSWAP_ROUTE_BODY_H
#define HOTSWAP_ROUTE_BODY_H

#include "base/args.h"

typedef struct EntryBody
{
	pg_uuid_t tenant;
	pg_uuid_t node;
	char module[MODULE_LIMIT + 1];
	char function[NAMEDATALEN]; /* its name in a slot */
	char slot[NAMEDATALEN];     /* where it is as long as the route says nothing */
} EntryBody;

extern void body_parse(const char *text, EntryBody *body);

#endif /* HOTSWAP_ROUTE_BODY_H */
