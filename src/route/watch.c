/*
 * watch.c
 *		What a script makes, changes and drops, and whether that is in a schema or outside of it.
 *
 * The server tells a hook of each object.  Where an object is, is asked when the script is at its
 * end, and of one that is dropped before it goes.  What is temporary is nobody's business, and so is
 * what does not exist any more.  Rights and comments are not told, nor is data.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "route/watch.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

static object_access_hook_type previous_hook = NULL;
static Watch *watching = NULL;

/* ---- where an object is ---- */

/* The schema of an object of a kind that has one. */
static Oid
own_schema(const ObjectAddress *object)
{
	AttrNumber column;
	Relation rel;
	HeapTuple tuple;
	Oid schema = InvalidOid;
	bool isnull;

	if (!is_objectclass_supported(object->classId))
		return InvalidOid;
	column = get_object_attnum_namespace(object->classId);
	if (column == InvalidAttrNumber)
		return InvalidOid;
	rel = table_open(object->classId, AccessShareLock);
	tuple =
		get_catalog_object_by_oid(rel, get_object_attnum_oid(object->classId), object->objectId);
	if (HeapTupleIsValid(tuple))
		schema = DatumGetObjectId(heap_getattr(tuple, column, RelationGetDescr(rel), &isnull));
	table_close(rel, AccessShareLock);
	return schema;
}

/*
 * What an object is a part of: the relation of a row type or rule, and unless it has to be inseparable, of a
 * trigger or default.
 */
static bool
find_whole(const ObjectAddress *part, bool inseparable, ObjectAddress *whole)
{
	Relation rel = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(part->classId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(part->objectId));
	scan = systable_beginscan(rel, DependDependerIndexId, true, NULL, 2, keys);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);

		found = row->deptype == DEPENDENCY_INTERNAL ||
				(row->deptype == DEPENDENCY_AUTO && !inseparable);
		if (found)
			ObjectAddressSet(*whole, row->refclassid, row->refobjid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* The schema that an object is in; InvalidOid: in none. */
static Oid
schema_of(const ObjectAddress *object)
{
	Oid schema = own_schema(object);
	ObjectAddress whole;

	if (OidIsValid(schema) || !find_whole(object, false, &whole))
		return schema;
	return own_schema(&whole);
}

static bool
is_outside(const Watch *watch, const ObjectAddress *object)
{
	bool is_schema = object->classId == NamespaceRelationId;
	Oid schema = is_schema ? object->objectId : schema_of(object);

	if (is_schema)
		return !isAnyTempNamespace(schema);
	return schema != watch->schema && !(OidIsValid(schema) && isAnyTempNamespace(schema));
}

/* In words; NULL: it is not there any more. */
static char *
describe(const ObjectAddress *object)
{
	ObjectAddress whole;
	ObjectAddress part = *object;

	while (find_whole(&part, true, &whole))
		part = whole;
	return getObjectDescription(&part, true);
}

/* ---- watching ---- */

static void
note_touched(const ObjectAddress *object, bool made)
{
	ObjectAddress *copy = palloc(sizeof(ObjectAddress));

	*copy = *object;
	watching->touched = lappend(watching->touched, copy);
	if (made && object->classId == ProcedureRelationId)
		watching->made = list_append_unique_oid(watching->made, object->objectId);
}

static void
note_dropped(const ObjectAddress *object)
{
	if (is_outside(watching, object))
		watching->dropped = lappend(watching->dropped, describe(object));
}

static void
watch_access(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	ObjectAddress address = { class, object, 0 };
	MemoryContext outer;

	if (previous_hook)
		previous_hook(access, class, object, sub, arg);
	if (watching == NULL ||
		!(access == OAT_POST_CREATE || access == OAT_POST_ALTER || access == OAT_DROP))
		return;
	outer = MemoryContextSwitchTo(watching->context);
	if (access == OAT_DROP)
		note_dropped(&address);
	else
		note_touched(&address, access == OAT_POST_CREATE);
	MemoryContextSwitchTo(outer);
}

/* ---- interface ---- */

void
watch_init(void)
{
	previous_hook = object_access_hook;
	object_access_hook = watch_access;
}

void
watch_begin(Watch *watch, Oid schema)
{
	memset(watch, 0, sizeof(Watch));
	watch->schema = schema;
	watch->context = CurrentMemoryContext;
	watching = watch;
}

void
watch_end(void)
{
	watching = NULL;
}

List *
watch_outside(const Watch *watch)
{
	List *words = list_copy(watch->dropped);
	ListCell *cell;

	foreach (cell, watch->touched)
	{
		const ObjectAddress *object = lfirst(cell);
		char *description;

		if (!is_outside(watch, object))
			continue;
		description = describe(object);
		if (description)
			words = lappend(words, description);
	}
	return words;
}
