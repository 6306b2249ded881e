/*
 * load.c
 *		Brings deployments from the tables into the due set, with the lanes that they need, and what
 * their tenants may do.
 *
 * The caller has begun a transaction; what has been read is kept in the current context.  The path to
 * an environment is remembered until everything is loaded anew, which is announced whenever an
 * environment changes.  Locks nothing.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/deployment.h"
#include "core/path.h"
#include "dispatch/due_set.h"
#include "dispatch/load.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

static MemoryContext load_context = NULL; /* paths; reset when everything is loaded anew */
static HTAB *paths = NULL;

typedef struct PathEntry
{
	LaneKey key; /* tenant and environment */
	List *environments;
} PathEntry;

/* what those that have been started are through with, and when the first pending approval expires */
#define LOADED_COLUMNS                                                                                    \
	"d.tenant_id, d.id, d.priority, d.status, d.module, d.environment, d.run_at,"                         \
	" d.start_by,"                                                                                        \
	" CASE WHEN d.started_at IS NOT NULL THEN ARRAY(SELECT s.environment"                                 \
	" FROM hotswap.stage s WHERE s.tenant_id = d.tenant_id AND s.deployment_id = d.id"                    \
	" AND s.kind = 'deploy' AND s.environment <> d.environment AND s.status IN ('succeeded', 'skipped'))" \
	" END, CASE WHEN d.gated THEN (SELECT pg_catalog.min(a.expires_at) FROM hotswap.approval a"           \
	" WHERE a.tenant_id = d.tenant_id AND a.deployment_id = d.id AND a.status = 'pending') END"

enum
{
	LOADED_TENANT = 1,
	LOADED_ID,
	LOADED_PRIORITY,
	LOADED_STATUS,
	LOADED_MODULE,
	LOADED_ENVIRONMENT,
	LOADED_RUN_AT,
	LOADED_START_BY,
	LOADED_FINISHED,
	LOADED_APPROVAL_DUE
};

/* OFFSET 0 keeps the planner to a look-up by key for each, however small the tables are when it plans */
static DbStatement all_deployments =
	DB_STATEMENT0("SELECT " LOADED_COLUMNS
				  " FROM hotswap.work_item w CROSS JOIN LATERAL (SELECT * FROM hotswap.deployment d"
				  " WHERE d.tenant_id = w.tenant_id AND d.id = w.deployment_id OFFSET 0) d");

static DbStatement some_deployments =
	DB_STATEMENT("SELECT " LOADED_COLUMNS " FROM unnest($1, $2) e (tenant_id, id)"
				 " CROSS JOIN LATERAL (SELECT 1 FROM hotswap.work_item w"
				 " WHERE w.tenant_id = e.tenant_id AND w.deployment_id = e.id OFFSET 0) w"
				 " CROSS JOIN LATERAL (SELECT * FROM hotswap.deployment d"
				 " WHERE d.tenant_id = e.tenant_id AND d.id = e.id OFFSET 0) d",
				 UUIDARRAYOID, UUIDARRAYOID);

/* The limit by key: a view that is a security barrier would else be made for all tenants at once. */
static DbStatement tenants_query = DB_STATEMENT(
	"SELECT t.id, t.status = 'active', t.status = 'suspended', t.status IN ('deprovisioning', 'deleted'),"
	" t.weight, l.amount FROM unnest($1) e (id) CROSS JOIN LATERAL (SELECT t.id, t.status, i.weight"
	" FROM hotswap.tenant t JOIN hotswap.tier i ON i.name = t.tier WHERE t.id = e.id OFFSET 0) t"
	" CROSS JOIN LATERAL (SELECT amount FROM hotswap.quota_limits"
	" WHERE tenant_id = e.id AND resource = 'concurrent_deployments' OFFSET 0) l",
	UUIDARRAYOID);

enum
{
	TENANT_ID = 1,
	TENANT_IS_ACTIVE,
	TENANT_IS_SUSPENDED,
	TENANT_IS_LEAVING,
	TENANT_WEIGHT,
	TENANT_LIMIT
};

static Datum
uuid_array(Datum *ids, int count)
{
	return PointerGetDatum(construct_array(ids, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* Reads anew what these tenants, which are in the due set, may do. */
void
load_tenants(Datum *ids, int count)
{
	Datum args[] = { uuid_array(ids, count) };
	DbScope scope;
	uint64 n;

	db_enter(&scope);
	n = db_run(&tenants_query, args, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		pg_uuid_t id = db_uuid(i, TENANT_ID);
		DueTenant *tenant = turn_tenant(&id, NULL);

		tenant->active = db_bool(i, TENANT_IS_ACTIVE);
		tenant->suspended = db_bool(i, TENANT_IS_SUSPENDED);
		tenant->leaving = db_bool(i, TENANT_IS_LEAVING);
		tenant->weight = db_int32(i, TENANT_WEIGHT);
		tenant->limit = db_isnull(i, TENANT_LIMIT) ? TURN_UNLIMITED : db_int64(i, TENANT_LIMIT);
		turn_set_tenant(tenant);
	}
	db_leave(&scope);
}

static List *
find_path(const pg_uuid_t *tenant, const char *environment)
{
	LaneKey key;
	PathEntry *entry;
	bool found;

	memset(&key, 0, sizeof(key));
	key.tenant = *tenant;
	strlcpy(key.environment, environment, sizeof(key.environment));
	entry = hash_search(paths, &key, HASH_ENTER, &found);
	if (!found)
	{
		DbScope scope;
		List *path;
		ListCell *cell;

		entry->environments = NIL;
		db_enter(&scope);
		path = path_of(tenant, environment);
		/* a query leaves its caller in the memory context of SPI */
		MemoryContextSwitchTo(load_context);
		foreach (cell, path)
			entry->environments = lappend(entry->environments, pstrdup(lfirst(cell)));
		db_leave(&scope);
	}
	return entry->environments;
}

static void
join_lanes(DueItem *item, const char *environment, const char *module, List *finished)
{
	ListCell *cell;

	foreach (cell, find_path(&item->tenant->id, environment))
		if (!path_has(finished, lfirst(cell)))
			dueset_join_lane(item, lfirst(cell), module);
}

/* A row of load_all or load_some, outside of SPI. */
typedef struct Loaded
{
	pg_uuid_t tenant;
	pg_uuid_t id;
	int priority;
	DeploymentStatus status;
	char *module;
	char *environment;
	TimestampTz run_at;
	TimestampTz start_by;
	TimestampTz approval_due;
	List *finished;
} Loaded;

static List *
text_list(Datum array)
{
	Datum *values;
	int count;
	List *list = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &values, NULL,
					  &count);
	for (int i = 0; i < count; i++)
		list = lappend(list, TextDatumGetCString(values[i]));
	return list;
}

/* Runs a query of deployments and returns its rows as an array in the current context. */
static Loaded *
query(DbStatement *statement, Datum *args, uint64 *count)
{
	DbScope scope;
	Loaded *rows;

	db_enter(&scope);
	*count = db_run(statement, args, NULL);
	MemoryContextSwitchTo(scope.context);
	rows = MemoryContextAllocHuge(CurrentMemoryContext, Max(*count, 1) * sizeof(Loaded));
	for (uint64 i = 0; i < *count; i++)
	{
		bool isnull;
		Datum finished = db_datum(i, LOADED_FINISHED, &isnull);

		rows[i].tenant = db_uuid(i, LOADED_TENANT);
		rows[i].id = db_uuid(i, LOADED_ID);
		rows[i].priority = db_int32(i, LOADED_PRIORITY);
		rows[i].status = machine_parse(&deployment_machine, db_text(i, LOADED_STATUS));
		rows[i].module = db_text(i, LOADED_MODULE);
		rows[i].environment = db_text(i, LOADED_ENVIRONMENT);
		rows[i].run_at = db_time(i, LOADED_RUN_AT, DT_NOEND);
		rows[i].start_by = db_time(i, LOADED_START_BY, DT_NOEND);
		rows[i].approval_due = db_time(i, LOADED_APPROVAL_DUE, DT_NOEND);
		rows[i].finished = isnull ? NIL : text_list(finished);
	}
	db_leave(&scope);
	return rows;
}

static DueItem *
enroll(const Loaded *row)
{
	bool started = deployment_has_started(row->status);
	List *path = find_path(&row->tenant, row->environment);
	DueItem *item = dueset_add(&row->tenant, &row->id, row->priority, started, list_length(path));

	if (row->status == DEPLOYMENT_SCHEDULED)
		dueset_timer(item, Min(Min(row->run_at, row->start_by), row->approval_due));
	else if (row->status == DEPLOYMENT_PENDING_APPROVAL)
		dueset_timer(item, Min(row->start_by, row->approval_due));
	else
	{
		join_lanes(item, row->environment, row->module, row->finished);
		if (started)
			dueset_touch(item);
		else
			dueset_timer(item, Min(row->start_by, row->approval_due));
	}
	/* what waits in a tenant that is leaving has to be cancelled */
	if (!started && item->tenant->leaving)
		dueset_touch(item);
	return item;
}

/* Reads the tenants of some rows, as far as they are not in the due set yet. */
static void
load_tenants_of(const Loaded *rows, uint64 count)
{
	Datum *ids = MemoryContextAllocHuge(CurrentMemoryContext, Max(count, 1) * sizeof(Datum));
	int unknown = 0;

	for (uint64 i = 0; i < count; i++)
	{
		bool is_new;

		(void) turn_tenant(&rows[i].tenant, &is_new);
		if (is_new)
			ids[unknown++] = UUIDPGetDatum(&rows[i].tenant);
	}
	if (unknown > 0)
		load_tenants(ids, unknown);
}

static void
forget_paths(void)
{
	HASHCTL ctl = { .keysize = sizeof(LaneKey), .entrysize = sizeof(PathEntry) };

	if (load_context == NULL)
		load_context =
			AllocSetContextCreate(TopMemoryContext, "hotswap paths", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(load_context);
	ctl.hcxt = load_context;
	paths = hash_create("hotswap paths", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Everything that has not ended, in place of what is in the due set. */
void
load_all(void)
{
	Loaded *rows;
	uint64 count;

	load_nothing();
	rows = query(&all_deployments, NULL, &count);
	load_tenants_of(rows, count);
	for (uint64 i = 0; i < count; i++)
		(void) enroll(&rows[i]);
	dueset_wake_all();
}

/* Empties the due set. */
void
load_nothing(void)
{
	dueset_reset();
	forget_paths();
}

/* Some deployments, as far as they have not ended and are not in the due set yet; arrays of uuid. */
void
load_some(Datum *tenants, Datum *ids, int count)
{
	Datum args[2];
	Loaded *rows;
	uint64 found;

	args[0] = uuid_array(tenants, count);
	args[1] = uuid_array(ids, count);
	rows = query(&some_deployments, args, &found);
	load_tenants_of(rows, found);
	for (uint64 i = 0; i < found; i++)
	{
		/* announced twice */
		if (dueset_find(&rows[i].id) == NULL)
			dueset_ready(enroll(&rows[i]));
	}
}
