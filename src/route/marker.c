/*
 * marker.c
 *		The markers of slots: who calls a version keeps it from being taken away.
 *
 * The marker is an empty table in the slot's schema, named after the generation.  Who uses the slot
 * for another version, or removes it, locks the marker first (AccessExclusiveLock, never waited
 * for) and then renames or drops it.  So the name says whether what a row of the route means is
 * still there, a look into the system cache; as a lock on a relation it takes the fast path, dies
 * with nothing but the transaction, and is known to standby servers, where a removal cancels who
 * holds it like any DROP TABLE.
 *
 * It belongs to the top transaction: what has been called has been called, also if the savepoint
 * behind which it was is rolled back.
 *
 * The schema that new callers get has a comment.  pg_dump keeps it with the schema, so that it is
 * there before the route: choice.c goes by it until that has been loaded.
 *
 * Locks: AccessShareLock on the marker until the end of the transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "commands/comment.h"
#include "miscadmin.h"
#include "route/marker.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#define COMMENT_OF_CALLED "what callers of a routed module get"

/* The name of the marker of a generation. */
void
slot_marker(int64 generation, char name[NAMEDATALEN])
{
	snprintf(name, NAMEDATALEN, "hotswap_slot_" INT64_FORMAT, generation);
}

/* The marker of a slot, if it is of that generation; else InvalidOid. */
Oid
slot_find_marker(const char *schema, int64 generation)
{
	Oid namespace = get_namespace_oid(schema, true);
	char name[NAMEDATALEN];

	if (!OidIsValid(namespace))
		return InvalidOid;
	slot_marker(generation, name);
	return get_relname_relid(name, namespace);
}

/* Whose the schema of a slot is, and with it what is in there. */
Oid
slot_owner(Oid schema)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA),
						errmsg("schema with OID %u does not exist", schema)));
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

static bool
lock_marker(Oid marker, bool wait)
{
	ResourceOwner owner = CurrentResourceOwner;
	bool locked = true;

	CurrentResourceOwner = TopTransactionResourceOwner;
	if (wait)
		LockRelationOid(marker, AccessShareLock);
	else
		locked = ConditionalLockRelationOid(marker, AccessShareLock);
	CurrentResourceOwner = owner;
	return locked;
}

/*
 * Keeps a generation of a slot there until the end of the transaction; false: it is not there any
 * more or, without waiting, somebody is just taking it away.
 */
bool
slot_hold(const char *schema, int64 generation, bool wait)
{
	Oid marker = slot_find_marker(schema, generation);

	/* it may go, and be another one, until there is a lock on the one that has the name */
	while (OidIsValid(marker))
	{
		Oid locked = marker;

		if (!lock_marker(locked, wait))
			return false;
		marker = slot_find_marker(schema, generation);
		if (marker == locked)
			return true;
	}
	return false;
}

/*
 * Locks the marker of a slot that is to be used anew or to be removed, without waiting: behind a
 * waiting request the next callers would wait as well.  False: somebody holds it, who may be this
 * transaction itself.
 */
bool
slot_lock_for_removal(Oid marker)
{
	LOCKTAG tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, marker);
	if (lock_held_by_me(&tag, AccessShareLock))
		return false;
	return ConditionalLockRelationOid(marker, AccessExclusiveLock);
}

/* Do new callers get the schema?  As of the activation that the database, or its dump, knows. */
bool
slot_is_called(Oid schema)
{
	char *comment = GetComment(schema, NamespaceRelationId, 0);

	return comment && strcmp(comment, COMMENT_OF_CALLED) == 0;
}

/* A comment of somebody else's stays on a schema that is called no more. */
void
slot_note_called(Oid schema, bool called)
{
	if (slot_is_called(schema) != called)
		CreateComments(schema, NamespaceRelationId, 0, called ? COMMENT_OF_CALLED : NULL);
}
