/*
 * route.h
 *		The route: which version of a module callers get on a node.
 *
 * What the control plane needs.  A slot is a schema with the functions of one version; it is used
 * again for later versions, and its generation grows each time.  The marker of a slot is an empty
 * table in it whose name has the generation, slot_marker().  A transaction that got there holds an
 * AccessShareLock on it until its end.
 */
#ifndef HOTSWAP_ROUTE_H
#define HOTSWAP_ROUTE_H

#include "base/compat.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

#define ROUTE_ALL 10000 /* the whole of the callers */

/* The slots of a module differ in the last letter of their names. */
#define SLOT_FIRST 'a'
#define SLOT_LAST 'z'

typedef struct RouteSlot
{
	char *schema; /* NULL: there is none */
	int64 generation;
	char *version;
} RouteSlot;

typedef struct RouteRow
{
	pg_uuid_t tenant;
	pg_uuid_t node;
	char *module;
	int64 epoch; /* given by route_append() */
	RouteSlot slot;
	RouteSlot other;             /* for callers outside of the share */
	int share;                   /* of ROUTE_ALL */
	List *roles;                 /* OIDs: they and their members get slot in any case */
	const pg_uuid_t *deployment; /* NULL: none */
} RouteRow;

/* Inside a scope (base/db.h). */
extern void route_append(RouteRow *row);

/* In a transaction; palloc'd. */
extern bool route_newest(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
						 RouteRow *row);

extern char *entry_body(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
						const char *function, const char *slot);

extern void slot_marker(int64 generation, char name[NAMEDATALEN]);
extern Oid slot_find_marker(const char *schema, int64 generation);
extern Oid slot_owner(Oid schema);
extern bool slot_lock_for_removal(Oid marker);
extern bool slot_is_called(Oid schema);
extern void slot_note_called(Oid schema, bool called);

#endif /* HOTSWAP_ROUTE_H */
