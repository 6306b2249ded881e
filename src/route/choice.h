/*
 * choice.h
 *		The slot of a module that a transaction gets.
 */
#ifndef HOTSWAP_ROUTE_CHOICE_H
#define HOTSWAP_ROUTE_CHOICE_H

#include "base/args.h"
#include "route/route.h"

typedef struct RoutedModuleKey
{
	pg_uuid_t tenant;
	pg_uuid_t node;
	char module[MODULE_LIMIT + 1];
} RoutedModuleKey;

/* Of one node; kept for the process. */
typedef struct RoutedModule
{
	RoutedModuleKey key;
	uint64 pin;            /* the serial of the one for which there is a choice; 0: none */
	MemoryContext context; /* of the row */
	int64 read_for;        /* the epoch that the row was read for; -1: none */
	bool has_row;
	RouteRow row;
	/* the choice */
	Oid schema;
	int64 generation; /* GENERATION_NONE: of the slot that the entry names */
	const char *version;
} RoutedModule;

#define GENERATION_NONE INT64CONST(-1)

/* An entry, as far as it decides where it leads to. */
typedef struct EntryRef
{
	Oid oid;
	Oid owner;
	char fallback[NAMEDATALEN]; /* the slot in its text */
} EntryRef;

extern RoutedModule *choice_module(const pg_uuid_t *tenant, const pg_uuid_t *node,
								   const char *module);
extern void choice_ensure(RoutedModule *m, const EntryRef *entry);
extern void choice_require_owner(const EntryRef *entry, Oid schema);

#endif /* HOTSWAP_ROUTE_CHOICE_H */
