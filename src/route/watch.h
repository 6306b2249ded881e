/*
 * watch.h
 *		What a script does to objects of the catalog.
 */
#ifndef HOTSWAP_ROUTE_WATCH_H
#define HOTSWAP_ROUTE_WATCH_H

#include "nodes/pg_list.h"

typedef struct Watch
{
	Oid schema;    /* in which objects may be made, changed and dropped */
	List *touched; /* of ObjectAddress *: made, or changed; each may come more than once */
	List *made;    /* of OID: functions made or replaced */
	List *dropped; /* of char *: descriptions of what was outside of the schema */
	MemoryContext context;
} Watch;

extern void watch_init(void);

/* From now on; the memory is the current context's. */
extern void watch_begin(Watch *watch, Oid schema);
extern void watch_end(void);

/* What is outside of the schema, in words: char *. */
extern List *watch_outside(const Watch *watch);

#endif /* HOTSWAP_ROUTE_WATCH_H */
