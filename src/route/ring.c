/*
 * ring.c
 *		The slots of a routed module on a node.
 *
 * A slot is a schema that is filled with one version after the other: functions are replaced, and
 * keep their OIDs, so that what sessions remember of them does not grow.  A version goes into a slot
 * that nobody can reach any more: it is older than the versions that are retained, its version was
 * taken from the route longer ago than any snapshot and than the module wants it retained for, and no
 * transaction holds its marker.  Where there is none a new one is made, so neither an installation nor
 * a caller ever waits.  Those that are more than are used in turn go by the same rules (run/surplus.c).
 *
 * A generation is a number that no slot had before, so what is told of one never means another.
 *
 * The caller holds the lock of the lane.  Locks the marker of the slot that is used anew
 * (AccessExclusiveLock, not waited for), then what is dropped in it.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/names.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "route/ring.h"
#include "route/route.h"
#include "route/words.h"
#include "utils/acl.h"
#include "utils/builtins.h"

static DbStatement has_slots =
	DB_STATEMENT("SELECT FROM hotswap.route_slot WHERE tenant_id = $1 AND module = $2 LIMIT 1",
				 UUIDOID, TEXTOID);

#define SLOT_COLUMNS "s.slot, s.generation, s.version, s.digest, s.entry_schema"
#define OF_KEY \
	" FROM hotswap.route_slot s WHERE s.tenant_id = $1 AND s.node_id = $2 AND s.module = $3"

static DbStatement slots_query =
	DB_STATEMENT("SELECT " SLOT_COLUMNS ", s.retired_at IS NULL, s.inventory" OF_KEY
				 " ORDER BY s.retired_at DESC NULLS FIRST, s.generation DESC",
				 UUIDOID, UUIDOID, TEXTOID);

/*
 * Those behind the versions that stay, the oldest first; $4: and behind the one that the next version comes
 * into, which there is even if no version stays.  Old snapshots are a courtesy: who comes too late finds
 * another generation, or none, and is told to repeat.
 */
static DbStatement unused_query = DB_STATEMENT(
	"SELECT " SLOT_COLUMNS ", false, s.inventory FROM (SELECT s.*, row_number() OVER"
	" (ORDER BY s.retired_at DESC, s.generation DESC) AS place, m.retain_versions, m.retain_for"
	" FROM hotswap.route_slot s"
	" JOIN hotswap.module m ON m.tenant_id = $1 AND m.name = $3"
	" WHERE s.tenant_id = $1 AND s.node_id = $2 AND s.module = $3 AND s.retired_at IS NOT NULL) s"
	" WHERE CASE WHEN $4 THEN place > greatest(retain_versions, 1) ELSE place >= retain_versions END"
	" AND retired_at + retain_for <= pg_catalog.clock_timestamp()"
	" AND NOT EXISTS (SELECT FROM " OLD_SNAPSHOTS ")"
	" ORDER BY place DESC",
	UUIDOID, UUIDOID, TEXTOID, BOOLOID);

/* Whom the schema of the entries is open to, and not the slot ($2), or the other way round. */
static DbStatement users_query = DB_STATEMENT(
	"SELECT format(CASE WHEN of_slot THEN 'REVOKE USAGE ON SCHEMA %I FROM %s'"
	" ELSE 'GRANT USAGE ON SCHEMA %I TO %s' END, $2, CASE grantee WHEN 0 THEN 'PUBLIC'"
	" ELSE grantee::regrole::text END) FROM (SELECT a.grantee, bool_or(n.nspname = $2) AS of_slot,"
	" bool_or(n.nspname = $1) AS of_entries FROM pg_namespace n, aclexplode(n.nspacl) a"
	" WHERE n.nspname IN ($1, $2) AND a.privilege_type = 'USAGE' AND a.grantee NOT IN"
	" (SELECT o.nspowner FROM pg_namespace o WHERE o.nspname = $2) GROUP BY a.grantee) u"
	" WHERE of_slot <> of_entries ORDER BY 1",
	TEXTOID, TEXTOID);

static DbStatement next_generation = DB_STATEMENT0("SELECT nextval('hotswap.generation_seq')");

static DbStatement upsert_slot = DB_STATEMENT(
	"INSERT INTO hotswap.route_slot (tenant_id, node_id, module, slot, generation, version, digest,"
	" entry_schema, inventory, installed_at, retired_at, retired_xid)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, pg_catalog.clock_timestamp(),"
	" pg_catalog.clock_timestamp(), pg_current_xact_id())"
	" ON CONFLICT (tenant_id, node_id, module, slot) DO UPDATE SET generation = excluded.generation,"
	" version = excluded.version, digest = excluded.digest, entry_schema = excluded.entry_schema,"
	" inventory = excluded.inventory, installed_at = excluded.installed_at,"
	" retired_at = excluded.retired_at, retired_xid = excluded.retired_xid",
	UUIDOID, UUIDOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, BYTEAOID, TEXTOID, TEXTARRAYOID);

/* $4, $5: the slots that callers get, or NULL */
static DbStatement retire_slots = DB_STATEMENT(
	"UPDATE hotswap.route_slot SET retired_at = pg_catalog.clock_timestamp(),"
	" retired_xid = pg_current_xact_id() WHERE tenant_id = $1 AND node_id = $2 AND module = $3"
	" AND slot IS DISTINCT FROM $4 AND slot IS DISTINCT FROM $5 AND retired_at IS NULL"
	" RETURNING slot",
	UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID);

static DbStatement use_slot =
	DB_STATEMENT("UPDATE hotswap.route_slot SET retired_at = NULL, retired_xid = NULL"
				 " WHERE tenant_id = $1 AND node_id = $2 AND module = $3 AND slot = $4",
				 UUIDOID, UUIDOID, TEXTOID, TEXTOID);

static DbStatement delete_slots = DB_STATEMENT("DELETE" OF_KEY, UUIDOID, UUIDOID, TEXTOID);

static DbStatement delete_slot =
	DB_STATEMENT("DELETE" OF_KEY " AND s.slot = $4", UUIDOID, UUIDOID, TEXTOID, TEXTOID);

static void
arg_key(DbArgs *args, const RingKey *key)
{
	db_arg_uuid(args, key->tenant);
	db_arg_uuid(args, key->node);
	db_arg_text(args, key->module);
}

static uint64
run_for_key(DbStatement *statement, const RingKey *key)
{
	DbArgs args = db_args(statement);

	arg_key(&args, key);
	return db_run_args(&args);
}

bool
ring_module_has_slots(const pg_uuid_t *tenant, const char *module)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module) };

	return db_run_newest(&has_slots, args, NULL) > 0;
}

/* ---- looking ---- */

static RingSlot *
read_slot(uint64 row)
{
	RingSlot *slot = palloc0(sizeof(RingSlot));
	bool isnull;

	slot->name = db_text(row, 1);
	slot->generation = db_int64(row, 2);
	slot->version = db_text(row, 3);
	(void) db_digest(row, 4, slot->digest);
	slot->entry_schema = db_text(row, 5);
	slot->is_called = db_bool(row, 6);
	slot->inventory = db_text_list(db_datum(row, 7, &isnull));
	slot->schema = get_namespace_oid(slot->name, true);
	return slot;
}

/* All slots of a result, in the caller's memory context. */
static List *
read_slots(uint64 n, MemoryContext context)
{
	List *slots = NIL;

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
		slots = lappend(slots, read_slot(i));
	return slots;
}

bool
ring_is_empty(const RingKey *key)
{
	return run_for_key(&slots_query, key) == 0;
}

/* Is what the row says still there? */
static bool
is_there(const RingSlot *slot)
{
	return OidIsValid(slot_find_marker(slot->name, slot->generation));
}

/* With that digest, or of that version; the other one is NULL. */
static RingSlot *
find(const RingKey *key, const uint8 *digest, const char *version)
{
	MemoryContext context = CurrentMemoryContext;
	ListCell *cell;

	foreach (cell, read_slots(run_for_key(&slots_query, key), context))
	{
		RingSlot *slot = lfirst(cell);

		if ((digest == NULL || memcmp(slot->digest, digest, DIGEST_LENGTH) == 0) &&
			(version == NULL || strcmp(slot->version, version) == 0) && is_there(slot))
			return slot;
	}
	return NULL;
}

RingSlot *
ring_find(const RingKey *key, const uint8 *digest)
{
	return find(key, digest, NULL);
}

RingSlot *
ring_find_version(const RingKey *key, const char *version)
{
	return find(key, NULL, version);
}

RingSlot *
ring_current(const RingKey *key)
{
	MemoryContext context = CurrentMemoryContext;
	List *slots = read_slots(run_for_key(&slots_query, key), context);
	const char *name = NULL;
	RouteRow row;
	ListCell *cell;

	if (route_newest(key->tenant, key->node, key->module, &row))
		name = row.other.schema ? row.other.schema : row.slot.schema;
	foreach (cell, slots)
	{
		RingSlot *slot = lfirst(cell);

		if (name && strcmp(slot->name, name) == 0 && slot->is_called)
			return slot;
	}
	return NULL;
}

/* ---- a slot for the next version ---- */

/* The name without its letter: whose slot it is, cut where it is too long. */
static char *
base_name(const RingKey *key, const char *entry_schema)
{
	char *name = psprintf("%s:%s", entry_schema, key->module);
	uint8 digest[DIGEST_LENGTH];
	char *mark;

	if (strlen(name) + 2 < NAMEDATALEN)
		return name;
	digest_plain(name, strlen(name), digest);
	mark = psprintf("~%.8s", digest_hex(digest));
	name[pg_mbcliplen(name, strlen(name), NAMEDATALEN - 3 - strlen(mark))] = '\0';
	return psprintf("%s%s", name, mark);
}

/* A name that no schema has. */
static char *
free_name(const RingKey *key, const char *entry_schema)
{
	char *base = base_name(key, entry_schema);

	for (int letter = SLOT_FIRST; letter <= SLOT_LAST; letter++)
	{
		char *name = psprintf("%s@%c", base, letter);

		if (!OidIsValid(get_namespace_oid(name, true)))
			return name;
	}
	ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					errmsg("module \"%s\" has no slot left", key->module),
					errdetail("All %d are in use, or held by old transactions.",
							  SLOT_LAST - SLOT_FIRST + 1),
					errhint("End the transactions that hold them.")));
}

static void
make_schema(RingSlot *slot, Oid role)
{
	db_utility(psprintf("CREATE SCHEMA %s AUTHORIZATION %s", quote_identifier(slot->name),
						quote_identifier(GetUserNameFromId(role, false))));
	slot->schema = get_namespace_oid(slot->name, false);
}

/* Opens it to whom the schema of the entries is open to, and closes it to all others. */
static void
align_users(const RingSlot *slot)
{
	Datum args[] = { CStringGetTextDatum(slot->entry_schema), CStringGetTextDatum(slot->name) };
	MemoryContext context = CurrentMemoryContext;
	uint64 n = db_run(&users_query, args, NULL);
	List *commands = NIL;
	ListCell *cell;

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
		commands = lappend(commands, db_text(i, 1));
	foreach (cell, commands)
		db_utility(lfirst(cell));
}

void
ring_align_users(const RingKey *key)
{
	MemoryContext context = CurrentMemoryContext;
	ListCell *cell;

	foreach (cell, read_slots(run_for_key(&slots_query, key), context))
	{
		const RingSlot *slot = lfirst(cell);

		if (OidIsValid(slot->schema))
			align_users(slot);
	}
	CommandCounterIncrement();
}

/* The marker of a new generation in place of the one before, if there was one. */
static void
move_marker(RingSlot *slot, bool is_new)
{
	char before[NAMEDATALEN];
	char after[NAMEDATALEN];
	const char *schema = quote_identifier(slot->name);

	slot_marker(slot->generation, before);
	(void) db_run(&next_generation, NULL, NULL);
	slot->generation = db_int64(0, 1);
	slot_marker(slot->generation, after);
	db_utility(is_new ? psprintf("CREATE TABLE %s.%s ()", schema, after) :
						psprintf("ALTER TABLE %s.%s RENAME TO %s", schema, before, after));
}

/* Raises 55000 where something came into a slot after its version: it may be somebody's data. */
static void
require_inventory(const RingSlot *slot)
{
	List *strange = NIL;
	ListCell *cell;

	foreach (cell, content_descriptions(slot->left))
		if (!names_have(slot->inventory, lfirst(cell)))
			strange = lappend(strange, lfirst(cell));
	if (strange != NIL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("schema \"%s\" cannot be used for another version", slot->name),
						errdetail("The version in it did not make %s.", words_join(strange)),
						errhint("Move that into another schema, or drop it.")));
}

static void
read_left(RingSlot *slot, Oid marker)
{
	slot->left = content_read(slot->schema, marker);
	require_inventory(slot);
}

/* What comes into it from here on keeps it. */
static void
drop_schema(RingSlot *slot, Oid marker)
{
	read_left(slot, marker);
	content_drop_schema(slot->schema, slot->left, marker);
}

/* Makes room in a slot whose marker is locked. */
static void
clear(RingSlot *slot, Oid marker)
{
	read_left(slot, marker);
	content_drop_helpers(slot->schema, slot->left);
	CommandCounterIncrement();
	slot->left = content_read(slot->schema, marker);
	content_reset_functions(slot->schema, slot->left);
	CommandCounterIncrement();
}

static uint64
run_unused(const RingKey *key, bool surplus)
{
	DbArgs args = db_args(&unused_query);

	arg_key(&args, key);
	db_arg_bool(&args, surplus);
	return db_run_args(&args);
}

/* The first one that nobody holds; NULL: there is none. */
static RingSlot *
take_unused(const RingKey *key, const char *entry_schema)
{
	MemoryContext context = CurrentMemoryContext;
	ListCell *cell;

	foreach (cell, read_slots(run_unused(key, false), context))
	{
		RingSlot *slot = lfirst(cell);
		Oid marker = slot_find_marker(slot->name, slot->generation);

		if (!OidIsValid(marker) || !slot_lock_for_removal(marker))
			continue;
		slot->entry_schema = pstrdup(entry_schema);
		clear(slot, marker);
		return slot;
	}
	return NULL;
}

RingSlot *
ring_prepare(const RingKey *key, const char *entry_schema, Oid role)
{
	MemoryContext context = CurrentMemoryContext;
	RingSlot *slot = take_unused(key, entry_schema);
	bool is_new = slot == NULL;

	if (is_new)
	{
		slot = palloc0(sizeof(RingSlot));
		slot->name = free_name(key, entry_schema);
		slot->entry_schema = pstrdup(entry_schema);
		make_schema(slot, role);
	}
	move_marker(slot, is_new);
	CommandCounterIncrement();
	MemoryContextSwitchTo(context);
	return slot;
}

RingSlot *
ring_expect(const RingKey *key, const char *entry_schema)
{
	MemoryContext context = CurrentMemoryContext;
	List *unused = read_slots(run_unused(key, false), context);
	RingSlot *slot;

	if (unused != NIL)
		return linitial(unused);
	slot = palloc0(sizeof(RingSlot));
	slot->name = free_name(key, entry_schema);
	return slot;
}

void
ring_fill(const RingKey *key, const RingSlot *slot, List *contents)
{
	DbArgs args = db_args(&upsert_slot);

	arg_key(&args, key);
	db_arg_text(&args, slot->name);
	db_arg_int64(&args, slot->generation);
	db_arg_text(&args, slot->version);
	db_arg_digest(&args, slot->digest);
	db_arg_text(&args, slot->entry_schema);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(content_descriptions(contents)), false);
	(void) db_run_args(&args);
}

/* ---- closing ---- */

/* Raises 55006 where a transaction has called the version of a slot. */
static void
lock_for_removal(const RingKey *key, const RingSlot *slot, Oid marker)
{
	if (!slot_lock_for_removal(marker))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("version \"%s\" of module \"%s\" is in use", slot->version, key->module),
				 errdetail("Transactions have called it in schema \"%s\".", slot->name),
				 errhint("Repeat this when they have ended: hotswap.routes counts them.")));
}

/* Nobody comes to a slot whose marker is locked. */
static void
close_slot(const RingKey *key, RingSlot *slot)
{
	Oid marker = slot_find_marker(slot->name, slot->generation);

	if (!OidIsValid(marker))
		return;
	lock_for_removal(key, slot, marker);
	read_left(slot, marker);
}

List *
ring_close(const RingKey *key)
{
	MemoryContext context = CurrentMemoryContext;
	List *slots = read_slots(run_for_key(&slots_query, key), context);
	ListCell *cell;

	foreach (cell, slots)
		close_slot(key, lfirst(cell));
	return slots;
}

void
ring_drop(const RingKey *key, List *slots)
{
	ListCell *cell;

	foreach (cell, slots)
	{
		RingSlot *slot = lfirst(cell);

		if (OidIsValid(slot->schema))
			drop_schema(slot, slot_find_marker(slot->name, slot->generation));
	}
	(void) run_for_key(&delete_slots, key);
}

List *
ring_surplus(const RingKey *key)
{
	MemoryContext context = CurrentMemoryContext;

	return read_slots(run_unused(key, true), context);
}

bool
ring_drop_surplus(const RingKey *key, RingSlot *slot)
{
	Oid marker = slot_find_marker(slot->name, slot->generation);
	DbArgs args = db_args(&delete_slot);

	if (OidIsValid(marker))
	{
		if (!slot_lock_for_removal(marker))
			return false;
		drop_schema(slot, marker);
	}
	arg_key(&args, key);
	db_arg_text(&args, slot->name);
	(void) db_run_args(&args);
	CommandCounterIncrement();
	return true;
}

/* ---- who gets it ---- */

static void
note_retired(uint64 n)
{
	for (uint64 i = 0; i < n; i++)
	{
		Oid schema = get_namespace_oid(db_text(i, 1), true);

		if (OidIsValid(schema))
			slot_note_called(schema, false);
	}
}

bool
ring_is_shared(const RingKey *key)
{
	return run_for_key(&slots_query, key) > 1 && db_bool(1, 6);
}

static void
use(const RingKey *key, const RingSlot *slot, RouteSlot *route)
{
	DbArgs args = db_args(&use_slot);

	route->schema = slot->name;
	route->generation = slot->generation;
	route->version = slot->version;
	arg_key(&args, key);
	db_arg_text(&args, slot->name);
	if (db_run_args(&args) != 1)
		elog(ERROR, "slot \"%s\" has disappeared", slot->name);
}

static void
retire_all_but(const RingKey *key, const RingSlot *slot, const RingSlot *other)
{
	DbArgs args = db_args(&retire_slots);

	arg_key(&args, key);
	db_arg_text(&args, slot ? slot->name : NULL);
	db_arg_text(&args, other ? other->name : NULL);
	note_retired(db_run_args(&args));
}

void
ring_share(const RingKey *key, const RingSlot *slot, const RingSlot *other, int share, List *roles,
		   const pg_uuid_t *deployment)
{
	RouteRow row = { .tenant = *key->tenant,
					 .node = *key->node,
					 .module = pstrdup(key->module),
					 .share = share,
					 .roles = roles,
					 .deployment = deployment };

	use(key, slot, &row.slot);
	if (other)
		use(key, other, &row.other);
	else
		slot_note_called(slot->schema, true);
	route_append(&row);
	retire_all_but(key, slot, other);
}

void
ring_set_share(const RingKey *key, int share, const pg_uuid_t *deployment)
{
	RouteRow row;
	RingSlot *slot;
	RingSlot *other;

	if (!route_newest(key->tenant, key->node, key->module, &row) || row.other.schema == NULL)
		return;
	slot = ring_find_version(key, row.slot.version);
	other = ring_find_version(key, row.other.version);
	if (slot == NULL || other == NULL)
		return;
	ring_share(key, slot, share < ROUTE_ALL ? other : NULL, share, NIL, deployment);
}

void
ring_activate(const RingKey *key, const RingSlot *slot, const pg_uuid_t *deployment)
{
	if (slot)
		ring_share(key, slot, NULL, ROUTE_ALL, NIL, deployment);
	else
		retire_all_but(key, NULL, NULL);
}
