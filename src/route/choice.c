/*
 * choice.c
 *		The slot of a module that a transaction gets: by the row of the route that counts at its
 *		epoch, its role and its place among the callers.
 *
 * Once chosen it is held until the end of the transaction (marker.c), and nothing that is announced
 * meanwhile changes it.  A slot that the epoch names may be gone: somebody used it for another version
 * when nobody held it.  Then a transaction that has called nothing yet takes the newest epoch, and
 * any other one is told to begin again.
 *
 * The roles of a row are those of the session (SET ROLE counts, SECURITY DEFINER does not), so a
 * caller is who it is, whatever function it comes through.
 *
 * Without any row it is the slot that the comments of their schemas say is called: pg_restore may
 * need entries, in a CHECK constraint, before it has loaded the route.  Where none says so, it is the
 * one of the entry's own text.
 *
 * Anybody can write an entry to anything.  So one leads only to a slot whose owner's privileges its owner
 * has, and nothing is held for others: what a transaction holds nobody replaces.  A superuser has all
 * privileges, but is not asked for the trust that it would be to run what others have made; and without
 * a route the entries of a module that a transaction calls name the same slots.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "route/choice.h"
#include "route/epoch.h"
#include "route/marker.h"
#include "route/pin.h"
#include "route/tester.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static HTAB *modules = NULL;

/* The module as it is known in this process. */
RoutedModule *
choice_module(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module)
{
	RoutedModuleKey key;
	RoutedModule *m;
	bool found;

	if (modules == NULL)
		modules = hash_create("hotswap routed modules", 64,
							  &(HASHCTL){ .keysize = sizeof(RoutedModuleKey),
										  .entrysize = sizeof(RoutedModule),
										  .hcxt = TopMemoryContext },
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	memset(&key, 0, sizeof(key));
	key.tenant = *tenant;
	key.node = *node;
	strlcpy(key.module, module, sizeof(key.module));
	m = hash_search(modules, &key, HASH_ENTER, &found);
	if (!found)
	{
		m->pin = 0;
		m->read_for = -1;
		m->context = NULL;
	}
	if (m->context == NULL)
		m->context = AllocSetContextCreate(TopMemoryContext, "hotswap route", ALLOCSET_SMALL_SIZES);
	return m;
}

/*
 * The row at the pin's epoch.  Rows do not change: what was read for an epoch stays right for it.  A
 * snapshot also has those that were removed since.
 */
static void
read_row(RoutedModule *m)
{
	MemoryContext before = CurrentMemoryContext;

	if (m->read_for == pin.epoch)
		return;
	m->read_for = -1;
	MemoryContextReset(m->context);
	MemoryContextSwitchTo(m->context);
	m->has_row =
		epoch_read_row(&m->key.tenant, &m->key.node, m->key.module, pin.epoch,
					   IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : InvalidSnapshot,
					   &m->row);
	MemoryContextSwitchTo(before);
	m->read_for = pin.epoch;
}

static bool
has_role(List *roles)
{
	ListCell *cell;

	foreach (cell, roles)
		if (is_member_of_role_nosuper(pin.role, lfirst_oid(cell)))
			return true;
	return false;
}

static const RouteSlot *
choose(const RouteRow *row)
{
	if (row->other.schema == NULL || pin.bucket < row->share || has_role(row->roles))
		return &row->slot;
	return &row->other;
}

pg_noreturn static void
refuse_gone(const RoutedModule *m)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the version of module \"%s\" that the transaction calls has been removed",
					m->key.module),
			 errdetail("Another one has been activated since the transaction began."),
			 errhint("Retry the transaction.")));
}

pg_noreturn static void
refuse_missing(const RoutedModule *m, const RouteSlot *slot)
{
	char marker[NAMEDATALEN];

	slot_marker(slot->generation, marker);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("version \"%s\" of module \"%s\" is not there", slot->version, m->key.module),
			 errdetail("Schema \"%s\" has no table \"%s\".", slot->schema, marker),
			 errhint("Deploy a version of the module.")));
}

/* Does the row still count, or is there a newer one by now? */
static bool
row_is_newest(const RoutedModule *m)
{
	RouteRow row;

	return route_newest(&m->key.tenant, &m->key.node, m->key.module, &row) &&
		   row.epoch == m->row.epoch;
}

/* Are the privileges of the owner of a slot those of the owner of an entry? */
static bool
has_privileges(Oid owner, Oid slot_owner)
{
	return has_privs_of_role(owner, slot_owner) &&
		   (!superuser_arg(owner) || superuser_arg(slot_owner) ||
			is_member_of_role_nosuper(owner, slot_owner));
}

/* Raises 42501 where an entry must not lead to a schema. */
void
choice_require_owner(const EntryRef *entry, Oid schema)
{
	if (!has_privileges(entry->owner, slot_owner(schema)))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for entry \"%s\"", get_func_name(entry->oid)),
						errdetail("Its owner has not the privileges of the owner of schema \"%s\".",
								  get_namespace_name(schema))));
}

/* A slot that is not there any more is nobody's. */
static void
require_owner(const EntryRef *entry, const RouteSlot *slot)
{
	Oid schema = get_namespace_oid(slot->schema, true);

	if (OidIsValid(schema))
		choice_require_owner(entry, schema);
}

/* Holds the slot of the row that counts; false: the transaction has another pin now. */
static bool
hold(RoutedModule *m, const RouteSlot *slot, const EntryRef *entry)
{
	require_owner(entry, slot);
	if (slot_hold(slot->schema, slot->generation, false))
		return true;
	/* who takes away what counts has locked it by hand: there is nothing else to go to */
	if (row_is_newest(m))
	{
		if (slot_hold(slot->schema, slot->generation, true))
			return true;
		if (row_is_newest(m))
			refuse_missing(m, slot);
	}
	if (!pin_renew())
		refuse_gone(m);
	/* it may be the same epoch, and the row may have been removed */
	m->read_for = -1;
	return false;
}

/* The slot that callers get by its comment, of those beside one; else that one. */
static Oid
find_called(const char *slot)
{
	char *name = pstrdup(slot);
	size_t length = strlen(name);

	for (char letter = SLOT_FIRST; length > 0 && letter <= SLOT_LAST; letter++)
	{
		Oid schema;

		name[length - 1] = letter;
		schema = get_namespace_oid(name, true);
		if (OidIsValid(schema) && slot_is_called(schema))
			return schema;
	}
	return get_namespace_oid(slot, true);
}

/*
 * Where to go without a route.  Where there are rows, but later ones, those of the transaction have
 * been removed, or it began before the module was routed: what it would get here others of its
 * calls may not have got.
 */
static void
use_fallback(RoutedModule *m, const char *fallback)
{
	RouteRow newer;

	if (route_newest(&m->key.tenant, &m->key.node, m->key.module, &newer))
		refuse_gone(m);
	m->schema = find_called(fallback);
	m->generation = GENERATION_NONE;
	m->version = "";
	if (!OidIsValid(m->schema))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" has no version to be called", m->key.module),
				 errdetail("The route says nothing about it, and schema \"%s\" of its entries "
						   "does not exist.",
						   fallback),
				 errhint("Deploy a version of the module.")));
}

static void
use_slot(RoutedModule *m, const RouteSlot *slot)
{
	m->schema = get_namespace_oid(slot->schema, false);
	m->generation = slot->generation;
	m->version = slot->version;
}

/* The version that the session asks for; false: it asks for none. */
static bool
use_asked(RoutedModule *m, const EntryRef *entry)
{
	MemoryContext before;
	RouteSlot slot;
	bool asks;

	if (!tester_asks())
		return false;
	/* the row goes, and what is asked for is kept in its place */
	m->read_for = -1;
	MemoryContextReset(m->context);
	before = MemoryContextSwitchTo(m->context);
	asks = tester_find_slot(&m->key.tenant, &m->key.node, m->key.module, pin.role, &slot);
	MemoryContextSwitchTo(before);
	if (!asks)
		return false;
	require_owner(entry, &slot);
	if (!slot_hold(slot.schema, slot.generation, false))
		refuse_gone(m);
	use_slot(m, &slot);
	return true;
}

static void
use_route(RoutedModule *m, const EntryRef *entry)
{
	const RouteSlot *slot;

	do
	{
		CHECK_FOR_INTERRUPTS();
		read_row(m);
		slot = m->has_row ? choose(&m->row) : NULL;
	} while (slot && !hold(m, slot, entry));
	if (slot)
		use_slot(m, slot);
	else
		use_fallback(m, entry->fallback);
}

/* Is the slot that was chosen without a route one of those of the entry? */
static bool
is_beside(const char *slot, const char *fallback)
{
	size_t length = strlen(fallback);

	return slot && strlen(slot) == length && strncmp(slot, fallback, length - 1) == 0;
}

static void
require_same_slots(const RoutedModule *m, const char *fallback)
{
	const char *slot = get_namespace_name(m->schema);

	if (!is_beside(slot, fallback))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("entries of module \"%s\" lead to different schemas", m->key.module),
				 errdetail("The transaction has called what is in schema \"%s\", this one names "
						   "\"%s\", and the route says nothing.",
						   slot ? slot : "", fallback),
				 errhint("Deploy a version of the module.")));
}

/*
 * Sees to it that there is a choice for the transaction.  If it was made for another entry, this one need not
 * lead there: choice_require_owner().  Raises 40001, 42501, 55000 and P0002.
 */
void
choice_ensure(RoutedModule *m, const EntryRef *entry)
{
	pin_ensure();
	if (m->pin != pin.serial)
	{
		if (!use_asked(m, entry))
			use_route(m, entry);
		m->pin = pin.serial;
		pin.used = true;
	}
	if (m->generation == GENERATION_NONE)
		require_same_slots(m, entry->fallback);
}
