/*
 * epoch.c
 *		The rows of the route: one is added for each change, and they are read by number.
 *
 * An epoch is the number of a row.  Who adds one takes its number under a lock that is held until
 * the commit, so rows become visible in the order of their numbers, and the rows up to a number are
 * one state of the whole route: a transaction needs to remember no more than the number, whatever
 * it calls later.  Numbers come from a sequence: one that was rolled back does not come again, and
 * whoever has seen it meets nobody else's row under it.
 *
 * The newest number is kept in the session until a change is announced; it is read with a snapshot
 * that is newer than all that has been announced.  The rows of a number may be read with such a
 * snapshot as well, in parallel workers too: they are fixed, so nobody sees more in them.
 *
 * The tables are read as the server reads its catalogs, with no rights of the caller's: what is
 * found is where a call goes to, and there the caller's rights are looked at.
 *
 * Locks: AccessShareLock on hotswap.route while it is read; to add a row, ExclusiveLock on
 * hotswap.epoch_seq until the end of the transaction, which conflicts with nobody else.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/db.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "route/epoch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(hotswap_route_changed);

/* as in sql/tables/route.sql */
enum
{
	COLUMN_TENANT_ID = 1,
	COLUMN_NODE_ID,
	COLUMN_MODULE,
	COLUMN_EPOCH,
	COLUMN_SLOT,
	COLUMN_GENERATION,
	COLUMN_VERSION,
	COLUMN_OTHER_SLOT,
	COLUMN_OTHER_GENERATION,
	COLUMN_OTHER_VERSION,
	COLUMN_SHARE,
	COLUMN_ROLES
};

/* Of route_slot, which begins as the route does. */
enum
{
	SLOT_COLUMN_SLOT = 4,
	SLOT_COLUMN_GENERATION,
	SLOT_COLUMN_VERSION
};

/* What is where; a change of the table, and its end, are announced for its OID. */
static Oid route_relid = InvalidOid;
static Oid key_relid = InvalidOid;
static Oid epoch_relid = InvalidOid;

static int64 newest = EPOCH_NONE;
static bool newest_is_known = false;
static uint64 changes = 0; /* that were announced */

static DbStatement insert_row = DB_STATEMENT(
	"INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version,"
	" other_slot, other_generation, other_version, share, roles, deployment_id)"
	" VALUES ($1, $2, $3, pg_catalog.nextval('hotswap.epoch_seq'), $4, $5, $6, $7, $8, $9, $10,"
	" $11::regrole[], $12) RETURNING epoch",
	UUIDOID, UUIDOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, INT8OID, TEXTOID, INT4OID,
	OIDARRAYOID, UUIDOID);

/* ---- what is kept ---- */

static void
relation_changed(Datum arg pg_attribute_unused(), Oid relid)
{
	if (OidIsValid(relid) && relid != route_relid)
		return;
	changes++;
	newest_is_known = false;
	route_relid = InvalidOid;
}

/* Finds the tables; false where there are none. */
static bool
find_relations(void)
{
	static bool watching = false;
	Oid schema;

	if (OidIsValid(route_relid))
		return true;
	if (!watching)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	watching = true;
	schema = get_namespace_oid("hotswap", true);
	if (!OidIsValid(schema))
		return false;
	key_relid = get_relname_relid("route_pkey", schema);
	epoch_relid = get_relname_relid("route_epoch", schema);
	if (OidIsValid(key_relid) && OidIsValid(epoch_relid))
		route_relid = get_relname_relid("route", schema);
	return OidIsValid(route_relid);
}

/* Is there a route in this database? */
bool
epoch_is_possible(void)
{
	return find_relations();
}

/* ---- reading ---- */

typedef struct RouteScan
{
	Relation table;
	Relation index;
	SysScanDesc scan;
} RouteScan;

/* The last row, in the order of an index, of those that fit; NULL: none. */
static HeapTuple
read_last(RouteScan *s, Oid index, Snapshot snapshot, int count, ScanKey keys)
{
	s->table = table_open(route_relid, AccessShareLock);
	s->index = index_open(index, AccessShareLock);
	s->scan = systable_beginscan_ordered(s->table, s->index, snapshot, count, keys);
	return systable_getnext_ordered(s->scan, BackwardScanDirection);
}

static void
end_read(RouteScan *s)
{
	systable_endscan_ordered(s->scan);
	index_close(s->index, AccessShareLock);
	table_close(s->table, AccessShareLock);
}

static Datum
column(const RouteScan *s, HeapTuple tuple, int number, bool *isnull)
{
	return heap_getattr(tuple, number, RelationGetDescr(s->table), isnull);
}

/* The last epoch that a snapshot sees; of none, one that sees all that is committed. */
int64
epoch_of_snapshot(Snapshot snapshot)
{
	RouteScan s;
	HeapTuple tuple;
	int64 epoch = EPOCH_NONE;
	bool isnull;

	if (!find_relations())
		return EPOCH_NONE;
	tuple = read_last(&s, epoch_relid, snapshot, 0, NULL);
	if (HeapTupleIsValid(tuple))
		epoch = DatumGetInt64(column(&s, tuple, COLUMN_EPOCH, &isnull));
	end_read(&s);
	return epoch;
}

/* The newest epoch that is committed, or of this transaction's own. */
int64
epoch_newest(void)
{
	uint64 before;

	/* a statement that began before a change has had no reason to hear of it */
	AcceptInvalidationMessages();
	if (newest_is_known)
		return newest;
	before = changes;
	newest = epoch_of_snapshot(InvalidSnapshot);
	newest_is_known = before == changes && OidIsValid(route_relid);
	return newest;
}

static void
read_slot(const RouteScan *s, HeapTuple tuple, int first, RouteSlot *slot)
{
	bool isnull;
	Datum schema = column(s, tuple, first, &isnull);

	memset(slot, 0, sizeof(*slot));
	if (isnull)
		return;
	slot->schema = TextDatumGetCString(schema);
	slot->generation = DatumGetInt64(column(s, tuple, first + 1, &isnull));
	slot->version = TextDatumGetCString(column(s, tuple, first + 2, &isnull));
}

static void
read_row(const RouteScan *s, HeapTuple tuple, RouteRow *row)
{
	bool isnull;
	Datum roles = column(s, tuple, COLUMN_ROLES, &isnull);

	row->roles = isnull ? NIL : db_oid_list(roles);
	row->epoch = DatumGetInt64(column(s, tuple, COLUMN_EPOCH, &isnull));
	read_slot(s, tuple, COLUMN_SLOT, &row->slot);
	read_slot(s, tuple, COLUMN_OTHER_SLOT, &row->other);
	row->share = DatumGetInt32(column(s, tuple, COLUMN_SHARE, &isnull));
	row->deployment = NULL;
}

/* Both tables begin with these. */
static void
module_keys(ScanKey keys, const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module)
{
	ScanKeyInit(&keys[0], COLUMN_TENANT_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(tenant));
	ScanKeyInit(&keys[1], COLUMN_NODE_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(node));
	ScanKeyEntryInitialize(&keys[2], 0, COLUMN_MODULE, BTEqualStrategyNumber, InvalidOid,
						   DEFAULT_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(module));
}

/* The row of a module that counts at an epoch, as a snapshot has it; false: there is none. */
bool
epoch_read_row(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module, int64 epoch,
			   Snapshot snapshot, RouteRow *row)
{
	ScanKeyData keys[4];
	RouteScan s;
	HeapTuple tuple;

	row->tenant = *tenant;
	row->node = *node;
	row->module = pstrdup(module);
	if (!find_relations())
		return false;
	module_keys(keys, &row->tenant, &row->node, module);
	ScanKeyInit(&keys[3], COLUMN_EPOCH, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(epoch));
	tuple = read_last(&s, key_relid, snapshot, lengthof(keys), keys);
	if (HeapTupleIsValid(tuple))
		read_row(&s, tuple, row);
	end_read(&s);
	return HeapTupleIsValid(tuple);
}

/* The row of a module that callers get from now on; false: it has none. */
bool
route_newest(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module, RouteRow *row)
{
	return epoch_read_row(tenant, node, module, PG_INT64_MAX, InvalidSnapshot, row);
}

/* Is the slot of a row of route_slot one of that version?  Then it is read. */
static bool
slot_has_version(Relation table, HeapTuple tuple, const char *version, RouteSlot *slot)
{
	TupleDesc columns = RelationGetDescr(table);
	bool isnull;

	slot->schema = TextDatumGetCString(heap_getattr(tuple, SLOT_COLUMN_SLOT, columns, &isnull));
	slot->generation = DatumGetInt64(heap_getattr(tuple, SLOT_COLUMN_GENERATION, columns, &isnull));
	slot->version = TextDatumGetCString(heap_getattr(tuple, SLOT_COLUMN_VERSION, columns, &isnull));
	return strcmp(slot->version, version) == 0 &&
		   OidIsValid(slot_find_marker(slot->schema, slot->generation));
}

/* The slot in which a version is installed by now; false: in none. */
bool
epoch_find_slot(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
				const char *version, RouteSlot *slot)
{
	Oid schema = get_namespace_oid("hotswap", false);
	Relation table = table_open(get_relname_relid("route_slot", schema), AccessShareLock);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple tuple;

	module_keys(keys, tenant, node, module);
	scan = systable_beginscan(table, get_relname_relid("route_slot_pkey", schema), true, NULL,
							  lengthof(keys), keys);
	do
		tuple = systable_getnext(scan);
	while (HeapTupleIsValid(tuple) && !slot_has_version(table, tuple, version, slot));
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* ---- changing ---- */

static void
add_slot(DbArgs *args, const RouteSlot *slot)
{
	db_arg_text(args, slot->schema);
	db_arg_datum(args, INT8OID, Int64GetDatum(slot->generation), slot->schema == NULL);
	db_arg_text(args, slot->version);
}

/*
 * Adds a row, which callers get from the commit on, and gives it its epoch.  Inside a scope.  Who
 * adds several rows in a transaction has them seen at once.
 */
void
route_append(RouteRow *row)
{
	DbArgs args = db_args(&insert_row);

	LockRelationOid(get_relname_relid("epoch_seq", get_namespace_oid("hotswap", false)),
					ExclusiveLock);
	db_arg_uuid(&args, &row->tenant);
	db_arg_uuid(&args, &row->node);
	db_arg_text(&args, row->module);
	add_slot(&args, &row->slot);
	add_slot(&args, &row->other);
	db_arg_int32(&args, row->share);
	db_arg_datum(&args, OIDARRAYOID, db_oid_array(row->roles), row->roles == NIL);
	db_arg_uuid(&args, row->deployment);
	(void) db_run_args(&args);
	row->epoch = db_int64(0, 1);
}

/* Trigger: hotswap.route_changed() */
Datum
hotswap_route_changed(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "route_changed")));
	CacheInvalidateRelcacheByRelid(RelationGetRelid(data->tg_relation));
	return PointerGetDatum(NULL);
}
