/*
 * routed.c
 *		Brings a version of a routed module to a node, and takes the module away.
 *
 * A version that is still in a slot is only verified.  Else its script runs with a slot in front of
 * the search_path, and may make something in that schema alone; its verify script sees it there,
 * before anybody is sent to it.  Entries that are missing are made, as the role.  The row of the route
 * that sends callers to it is the record's (record.c), the last thing in the transaction.
 *
 * Locks: what the ring locks (route/ring.c), what the scripts lock, and the entries that are made.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/guc.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "route/content.h"
#include "route/interface.h"
#include "route/route.h"
#include "route/watch.h"
#include "route/words.h"
#include "run/routed.h"
#include "run/script.h"
#include "run/session.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

static DbStatement has_run = DB_STATEMENT("SELECT FROM hotswap.node_module WHERE tenant_id = $1"
										  " AND node_id = $2 AND module = $3 LIMIT 1",
										  UUIDOID, UUIDOID, TEXTOID);

/* Whoever would have it called directly again waits for the commit, and sees that it is too late. */
static DbStatement lock_routed = DB_STATEMENT(
	"SELECT FROM hotswap.module WHERE tenant_id = $1 AND name = $2 AND routed FOR SHARE", UUIDOID,
	TEXTOID);

static RingKey
key_of(const TaskRun *run, const Version *version)
{
	RingKey key = { &run->key.tenant, &run->node, version->module };

	return key;
}

/* The schema that callers know: what an unqualified CREATE would be in without a slot. */
static char *
entry_schema(void)
{
	List *path = fetch_search_path(false);
	ListCell *cell;

	foreach (cell, path)
		if (!isAnyTempNamespace(lfirst_oid(cell)))
			return get_namespace_name(lfirst_oid(cell));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("no schema has been selected to create in"),
					errhint("Register the node with a schema.")));
}

static void
put_in_front(const char *schema)
{
	const char *path = GetConfigOption("search_path", false, false);

	guc_push("search_path",
			 *path ? psprintf("%s, %s", quote_identifier(schema), path) : quote_identifier(schema));
}

/* ---- statements ---- */

/*
 * A slot has what the version before has left: a version must be able to replace it, whether it comes into an
 * empty slot or not.
 */
static void
require_replacing(const Version *version)
{
	ListCell *cell;

	foreach (cell, script_parse("deploy script", version->scripts[SCRIPT_DEPLOY])->statements)
	{
		const RawStmt *raw = lfirst_node(RawStmt, cell);

		if (IsA(raw->stmt, CreateFunctionStmt) && !((CreateFunctionStmt *) raw->stmt)->replace)
			ereport(
				ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("version \"%s\" of module \"%s\" cannot be routed", version->name,
						version->module),
				 errdetail("It makes function %s without OR REPLACE.",
						   NameListToString(((CreateFunctionStmt *) raw->stmt)->funcname)),
				 errhint(
					 "It is installed where an earlier version was: write CREATE OR REPLACE.")));
	}
}

static void
require_transactional(const Version *version)
{
	if (!version->transactional)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("version \"%s\" of module \"%s\" cannot be routed", version->name,
							   version->module),
						errdetail("It does not run in a transaction."),
						errhint("Publish it without \"transactional\" => false.")));
}

/* Runs the deploy script in the schema of the slot. */
static void
run_deploy(TaskRun *run, const Version *version, Watch *watch, const RingSlot *slot)
{
	watch_begin(watch, slot->schema);
	PG_TRY();
	{
		run_script(run, "deploy", version->scripts[SCRIPT_DEPLOY]);
	}
	PG_FINALLY();
	{
		watch_end();
	}
	PG_END_TRY();
}

static void
require_inside(const Version *version, const RingSlot *slot, const Watch *watch)
{
	List *outside = watch_outside(watch);

	if (outside != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("version \"%s\" of module \"%s\" cannot be routed", version->name,
						version->module),
				 errdetail("Its deploy script changes what is not in schema \"%s\": %s.",
						   slot->name, words_join(outside)),
				 errhint("Change that in a module that is not routed, and make functions without a "
						 "schema in front of their names.")));
}

/* ---- installing ---- */

/* Inside a scope: what the script has made is all that is in the slot. */
static List *
take_stock(const RingKey *key, const RingSlot *slot, const Version *version, const Watch *watch)
{
	Oid marker = slot_find_marker(slot->name, slot->generation);
	List *contents;

	if (!OidIsValid(marker))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("version \"%s\" of module \"%s\" cannot be routed", version->name,
						version->module),
				 errdetail("Its deploy script drops the table in schema \"%s\" that callers hold.",
						   slot->name),
				 errhint("Drop what the script has made, by name.")));
	require_inside(version, slot, watch);
	content_drop_functions(slot->left, watch->made);
	CommandCounterIncrement();
	contents = content_read(slot->schema, marker);
	content_require_routable(version->name, version->module, slot->schema, contents);
	ring_fill(key, slot, contents);
	ring_align_users(key);
	return content_functions(contents);
}

/* As the role, whatever its settings are. */
static void
make_entries(List *commands)
{
	int level = NewGUCNestLevel();
	ListCell *cell;

	guc_push("search_path", "pg_catalog, pg_temp");
	foreach (cell, commands)
		if (SPI_execute(lfirst(cell), false, 0) < 0)
			elog(ERROR, "could not execute \"%s\"", (char *) lfirst(cell));
	AtEOXact_GUC(false, level);
}

/* Inside a scope, of the first version on a node: raises 55000 where somebody has said meanwhile that it is not. */
static void
require_routed(const RingKey *key)
{
	DbArgs args = db_args(&lock_routed);

	db_arg_uuid(&args, key->tenant);
	db_arg_text(&args, key->module);
	if (db_run_args(&args) == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("module \"%s\" is not routed any more", key->module),
						errhint("Use hotswap.retry().")));
}

/* Has the module been called directly so far? */
static bool
was_direct(const TaskRun *run, const RingKey *key)
{
	Datum args[] = { UUIDPGetDatum(&run->key.tenant), UUIDPGetDatum(&run->node),
					 CStringGetTextDatum(key->module) };

	return db_run(&has_run, args, NULL) > 0;
}

static RingSlot *
install(TaskRun *run, const RingKey *key, const Version *version)
{
	char *schema = entry_schema();
	DbScope scope;
	RingSlot *slot;
	Watch watch;
	List *functions;
	List *commands;
	bool is_first;
	bool adopt;

	require_transactional(version);
	require_replacing(version);
	db_enter(&scope);
	is_first = ring_is_empty(key);
	adopt = is_first && was_direct(run, key);
	MemoryContextSwitchTo(scope.context);
	slot = ring_prepare(key, schema, run->role);
	slot->version = pstrdup(version->name);
	memcpy(slot->digest, version->digest, DIGEST_LENGTH);
	db_leave(&scope);

	put_in_front(slot->name);
	run_deploy(run, version, &watch, slot);

	db_enter(&scope);
	functions = take_stock(key, slot, version, &watch);
	MemoryContextSwitchTo(scope.context);
	commands = interface_commands(key, slot, functions, adopt);
	db_leave(&scope);
	make_entries(commands);
	CommandCounterIncrement();
	db_enter(&scope);
	interface_require_independent(key, slot);
	interface_drop_unused(key, slot->entry_schema);
	if (is_first)
		require_routed(key);
	db_leave(&scope);
	return slot;
}

static RingSlot *
find_installed(const RingKey *key, const Version *version)
{
	DbScope scope;
	RingSlot *slot;

	db_enter(&scope);
	MemoryContextSwitchTo(scope.context);
	slot = ring_find(key, version->digest);
	if (slot)
		ring_align_users(key);
	db_leave(&scope);
	return slot;
}

/* To be recorded; the memory is the task's. */
static void
note_change(TaskRun *run, const Version *version, RingSlot *slot)
{
	MemoryContext outer = MemoryContextSwitchTo(GetMemoryChunkContext(run));
	RouteChange *change = palloc(sizeof(RouteChange));

	change->module = pstrdup(version->module);
	change->slot = slot;
	run->routes = lappend(run->routes, change);
	MemoryContextSwitchTo(outer);
}

void
routed_bring(TaskRun *run, const Version *version)
{
	MemoryContext outer = MemoryContextSwitchTo(GetMemoryChunkContext(run));
	int level = NewGUCNestLevel();
	RingKey key = key_of(run, version);
	RingSlot *slot = find_installed(&key, version);

	if (slot)
		put_in_front(slot->name);
	else
		slot = install(run, &key, version);
	if (version->scripts[SCRIPT_VERIFY])
		run_script(run, "verify", version->scripts[SCRIPT_VERIFY]);
	AtEOXact_GUC(false, level);
	note_change(run, version, slot);
	MemoryContextSwitchTo(outer);
}

void
routed_remove(TaskRun *run, const Version *version)
{
	RingKey key = key_of(run, version);
	DbScope scope;
	RingSlot *slot;

	db_enter(&scope);
	slot = ring_current(&key);
	if (slot)
		interface_drop(&key, slot->entry_schema);
	db_leave(&scope);
	note_change(run, version, NULL);
}
