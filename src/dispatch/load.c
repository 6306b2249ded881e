/*
 * load.c
 *		Brings deployments from the tables into the due set, with the lanes that they need, and
 *		what their tenants may do.
 *
 * When the configuration has changed or announcements were lost, everything is read again, a chunk at a
 * time, beside the work: only the keys are read at once.  First what is not known yet, then what is.  The
 * path to an environment, and what was read of tenants and deployments, is stale from the change on: who
 * is about to act on something stale reads it again first.
 *
 * The caller has begun a transaction; what has been read is kept in the current context.  Locks nothing.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/db.h"
#include "base/kept.h"
#include "base/names.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/deployment.h"
#include "core/path.h"
#include "dispatch/due_set.h"
#include "dispatch/load.h"
#include "shm/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

static MemoryContext load_context = NULL; /* paths; reset when everything is loaded anew */
static HTAB *paths = NULL;
static uint32 configuration = 1; /* grows with each change: what was read before is stale */

/* the pass through everything */
static MemoryContext pass_context = NULL; /* of the keys */
static RingEntry *keys = NULL;            /* to be read */
static uint64 nkeys = 0;
static uint64 next_key = 0;
static uint32 pass = 0;
static bool wanted = false; /* the keys have to be read again */
static bool again = false;  /* what this pass had read by then has to be read again, too */
static TimestampTz not_before = DT_NOBEGIN;

typedef struct PathEntry
{
	LaneKey key; /* tenant and environment */
	List *environments;
} PathEntry;

/*
 * what those that have been started are through with, when the first pending approval expires or is half over,
 * and whether it waits at its gate for another deployment
 */
#define LOADED_COLUMNS                                                                                    \
	"d.tenant_id, d.id, d.priority, d.status, CASE WHEN d.release IS NULL"                                \
	" THEN ARRAY[d.module] ELSE ARRAY(SELECT t.module FROM hotswap.release_module t"                      \
	" WHERE t.tenant_id = d.tenant_id AND t.release = d.release ORDER BY t.module COLLATE \"C\") END,"    \
	" d.environment, d.run_at,"                                                                           \
	" d.start_by, d.only_target,"                                                                         \
	" CASE WHEN d.started_at IS NOT NULL THEN ARRAY(SELECT s.environment"                                 \
	" FROM hotswap.stage s WHERE s.tenant_id = d.tenant_id AND s.deployment_id = d.id"                    \
	" AND s.kind = 'deploy' AND s.environment <> d.environment AND s.status IN ('succeeded', 'skipped'))" \
	" END, CASE WHEN d.gated THEN (SELECT pg_catalog.min(CASE WHEN a.reminded_at IS NULL"                 \
	" THEN a.opened_at + (a.expires_at - a.opened_at) / 2 ELSE a.expires_at END) FROM hotswap.approval a" \
	" WHERE a.tenant_id = d.tenant_id AND a.deployment_id = d.id AND a.status = 'pending') END,"          \
	" d.status = 'pending_approval' AND NOT EXISTS (SELECT 1 FROM hotswap.stage s"                        \
	" JOIN hotswap.approval a ON a.tenant_id = s.tenant_id AND a.deployment_id = s.deployment_id"         \
	" AND a.environment = s.environment WHERE s.tenant_id = d.tenant_id AND s.deployment_id = d.id"       \
	" AND s.status = 'waiting_approval' AND a.status = 'pending')"

enum
{
	LOADED_TENANT = 1,
	LOADED_ID,
	LOADED_PRIORITY,
	LOADED_STATUS,
	LOADED_MODULES,
	LOADED_ENVIRONMENT,
	LOADED_RUN_AT,
	LOADED_START_BY,
	LOADED_ONLY_TARGET,
	LOADED_FINISHED,
	LOADED_APPROVAL_DUE,
	LOADED_IS_BEHIND
};

static DbStatement all_keys =
	DB_STATEMENT0("SELECT tenant_id, deployment_id FROM hotswap.work_item");

/* OFFSET 0 keeps the planner to a look-up by key for each, however small the tables are when it plans */
static DbStatement some_deployments =
	DB_STATEMENT("SELECT " LOADED_COLUMNS " FROM unnest($1, $2) e (tenant_id, id)"
				 " CROSS JOIN LATERAL (SELECT 1 FROM hotswap.work_item w"
				 " WHERE w.tenant_id = e.tenant_id AND w.deployment_id = e.id OFFSET 0) w"
				 " CROSS JOIN LATERAL (SELECT * FROM hotswap.deployment d"
				 " WHERE d.tenant_id = e.tenant_id AND d.id = e.id OFFSET 0) d",
				 UUIDARRAYOID, UUIDARRAYOID);

/*
 * The limit by key: a view that is a security barrier would else be made for all tenants at once.
 */
static DbStatement tenants_query = DB_STATEMENT(
	"SELECT t.id, t.status = 'active', t.status = 'suspended', t.status IN ('deprovisioning', 'deleted'),"
	" t.weight, l.amount FROM unnest($1) e (id) CROSS JOIN LATERAL (SELECT t.id, t.status, i.weight"
	" FROM hotswap.tenant t JOIN hotswap.tier i ON i.name = t.tier WHERE t.id = e.id OFFSET 0) t"
	" CROSS JOIN LATERAL (SELECT amount FROM hotswap.quota_limits"
	" WHERE tenant_id = e.id AND resource = 'concurrent_deployments' OFFSET 0) l",
	UUIDARRAYOID);

static Kept tenants_kept = KEPT(tenants_query, "tenant", "tier", "tier_quota", "quota");

enum
{
	TENANT_ID = 1,
	TENANT_IS_ACTIVE,
	TENANT_IS_SUSPENDED,
	TENANT_IS_LEAVING,
	TENANT_WEIGHT,
	TENANT_LIMIT
};

/* Reads anew what these tenants, which are in the due set, may do. */
void
load_tenants(Datum *ids, int count)
{
	Datum args[] = { uuid_array(ids, count) };
	DbScope scope;
	uint64 n;

	db_enter(&scope);
	n = kept_run(&tenants_kept, args);
	for (uint64 i = 0; i < n; i++)
	{
		pg_uuid_t id = db_uuid(i, TENANT_ID);
		DueTenant *tenant = turn_tenant(&id);

		tenant->active = db_bool(i, TENANT_IS_ACTIVE);
		tenant->suspended = db_bool(i, TENANT_IS_SUSPENDED);
		tenant->leaving = db_bool(i, TENANT_IS_LEAVING);
		tenant->weight = db_int32(i, TENANT_WEIGHT);
		tenant->limit = db_isnull(i, TENANT_LIMIT) ? TURN_UNLIMITED : db_int64(i, TENANT_LIMIT);
		tenant->read = configuration;
		turn_set_tenant(tenant);
	}
	db_leave(&scope);
}

static List *
read_path(const pg_uuid_t *tenant, const char *environment)
{
	DbScope scope;
	List *path;
	List *result = NIL;
	ListCell *cell;

	db_enter(&scope);
	path = path_of(tenant, environment);
	/* a query leaves its caller in the memory context of SPI */
	MemoryContextSwitchTo(load_context);
	foreach (cell, path)
		result = lappend(result, pstrdup(lfirst(cell)));
	db_leave(&scope);
	return result;
}

static List *
find_path(const pg_uuid_t *tenant, const char *environment)
{
	LaneKey key;
	PathEntry *entry;

	memset(&key, 0, sizeof(key));
	key.tenant = *tenant;
	strlcpy(key.environment, environment, sizeof(key.environment));
	entry = hash_search(paths, &key, HASH_FIND, NULL);
	if (entry == NULL)
	{
		/* remembered only when it could be read */
		List *path = read_path(tenant, environment);

		entry = hash_search(paths, &key, HASH_ENTER, NULL);
		entry->environments = path;
	}
	return entry->environments;
}

/* A row of load_all or load_some, outside of SPI. */
typedef struct Loaded
{
	pg_uuid_t tenant;
	pg_uuid_t id;
	int priority;
	DeploymentStatus status;
	List *modules; /* of char * */
	char *environment;
	TimestampTz run_at;
	TimestampTz start_by;
	TimestampTz approval_due;
	bool only_target;
	bool is_behind;
	List *finished;
} Loaded;

/* The environments in which it needs the lanes of its modules, or has needed them. */
static List *
environments_of(const Loaded *row)
{
	return row->only_target ? list_make1(row->environment) :
							  find_path(&row->tenant, row->environment);
}

static void
join_lanes(DueItem *item, const Loaded *row)
{
	ListCell *cell;
	ListCell *module;

	foreach (cell, environments_of(row))
		if (!names_have(row->finished, lfirst(cell)))
			foreach (module, row->modules)
				dueset_join_lane(item, lfirst(cell), lfirst(module));
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
		Datum finished;

		rows[i].tenant = db_uuid(i, LOADED_TENANT);
		rows[i].id = db_uuid(i, LOADED_ID);
		rows[i].priority = db_int32(i, LOADED_PRIORITY);
		rows[i].status = machine_parse(&deployment_machine, db_text(i, LOADED_STATUS));
		rows[i].modules = db_text_list(db_datum(i, LOADED_MODULES, &isnull));
		rows[i].environment = db_text(i, LOADED_ENVIRONMENT);
		rows[i].run_at = db_time(i, LOADED_RUN_AT, DT_NOEND);
		rows[i].start_by = db_time(i, LOADED_START_BY, DT_NOEND);
		rows[i].only_target = db_bool(i, LOADED_ONLY_TARGET);
		rows[i].approval_due = db_time(i, LOADED_APPROVAL_DUE, DT_NOEND);
		rows[i].is_behind = db_bool(i, LOADED_IS_BEHIND);
		finished = db_datum(i, LOADED_FINISHED, &isnull);
		rows[i].finished = isnull ? NIL : db_text_list(finished);
	}
	db_leave(&scope);
	return rows;
}

static bool
stands_in_lanes(DeploymentStatus status)
{
	return status != DEPLOYMENT_SCHEDULED && status != DEPLOYMENT_PENDING_APPROVAL;
}

/* What there is to do with it by itself. */
static void
set_due(DueItem *item, const Loaded *row)
{
	TimestampTz due = Min(row->start_by, row->approval_due);

	/*
	 * what waits in a tenant that is leaving has to be cancelled; for whom one waits at its gate only a
	 * visit tells
	 */
	if (item->started || item->tenant->leaving || row->is_behind)
		dueset_touch(item);
	if (item->started || item->failures > 0)
		return;
	if (row->status == DEPLOYMENT_SCHEDULED)
		due = Min(due, row->run_at);
	dueset_timer(item, due);
}

static DueItem *
enroll(const Loaded *row)
{
	bool started = deployment_has_started(row->status);
	DueItem *item = dueset_add(&row->tenant, &row->id, row->priority, started,
							   list_length(environments_of(row)) * list_length(row->modules));

	if (stands_in_lanes(row->status))
		join_lanes(item, row);
	return item;
}

/* The same for one that is there already; what has happened to it is not forgotten. */
static DueItem *
enroll_again(DueItem *old, const Loaded *row)
{
	DueItem before = *old;
	DueItem *item;

	/* what can fail, while the old one is still there */
	(void) environments_of(row);
	/* with its last deployment a tenant would be forgotten */
	before.tenant->items++;
	dueset_remove(old);
	item = enroll(row);
	before.tenant->items--;
	item->failures = before.failures;
	item->locked = before.locked;
	item->starved = before.starved;
	if (before.touched)
		dueset_touch(item);
	if (before.failures > 0 && before.in_timer)
		dueset_timer(item, before.due);
	return item;
}

/* Is it read as it is, apart from times? */
static bool
is_known(const DueItem *item, const Loaded *row)
{
	return !load_is_stale(item) && item->started == deployment_has_started(row->status) &&
		   item->priority == row->priority && (item->nlinks > 0) == stands_in_lanes(row->status);
}

static void
bring(const Loaded *row)
{
	DueItem *item = dueset_find(&row->id);

	if (item == NULL)
		item = enroll(row);
	else if (!is_known(item, row))
		item = enroll_again(item, row);
	item->read = configuration;
	item->pass = pass;
	set_due(item, row);
	if (item->failures == 0)
		dueset_ready(item);
}

/* Was it read before the configuration was changed? */
bool
load_is_stale(const DueItem *item)
{
	return item->read != configuration;
}

static bool
has_uuid(Datum *ids, int count, const pg_uuid_t *id)
{
	for (int i = 0; i < count; i++)
		if (memcmp(DatumGetUUIDP(ids[i]), id, sizeof(*id)) == 0)
			return true;
	return false;
}

/* Reads the tenants of some rows, as far as they are not known. */
static void
load_tenants_of(const Loaded *rows, uint64 count)
{
	Datum *ids = palloc(Max(count, 1) * sizeof(Datum));
	int unknown = 0;

	for (uint64 i = 0; i < count; i++)
		if (turn_tenant(&rows[i].tenant)->read != configuration &&
			!has_uuid(ids, unknown, &rows[i].tenant))
			ids[unknown++] = UUIDPGetDatum(&rows[i].tenant);
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

/* ---- everything ---- */

static void
forget_keys(void)
{
	if (pass_context == NULL)
		pass_context =
			AllocSetContextCreate(TopMemoryContext, "hotswap keys", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(pass_context);
	keys = NULL;
	nkeys = next_key = 0;
}

/* Empties the due set. */
void
load_nothing(void)
{
	dueset_reset();
	forget_paths();
	forget_keys();
	wanted = again = false;
	not_before = DT_NOBEGIN;
}

/* Everything is to be read again; if the configuration was changed, all that is known is stale. */
void
load_anew(bool changed)
{
	wanted = true;
	if (!changed)
		return;
	configuration++;
	forget_paths();
}

/* When there is something to be read: DT_NOBEGIN: now, in the middle of it; DT_NOEND: never. */
TimestampTz
load_next(void)
{
	return next_key < nkeys ? DT_NOBEGIN : wanted ? not_before : DT_NOEND;
}

/*
 * Reads the keys of all that has not ended: first come those that are not known, then those that this pass
 * has not read yet.  At most a tenth of the time is spent here, however often it is asked for.
 */
static void
read_keys(void)
{
	TimestampTz start = GetCurrentTimestamp();
	DbScope scope;
	uint64 n;
	uint64 known;

	if (next_key < nkeys)
		again = true;
	else
		pass++;
	forget_keys();
	db_enter(&scope);
	n = known = db_run(&all_keys, NULL, NULL);
	keys = MemoryContextAllocHuge(pass_context, Max(n, 1) * sizeof(RingEntry));
	for (uint64 i = 0; i < n; i++)
	{
		RingEntry key = { db_uuid(i, 1), db_uuid(i, 2) };
		const DueItem *item = dueset_find(&key.deployment);

		if (item == NULL)
			keys[nkeys++] = key;
		else if (load_is_stale(item) || item->pass != pass)
			keys[--known] = key;
	}
	db_leave(&scope);
	memmove(&keys[nkeys], &keys[known], (n - known) * sizeof(RingEntry));
	nkeys += n - known;
	wanted = false;
	not_before = GetCurrentTimestamp() + 10 * Max(0, GetCurrentTimestamp() - start);
}

/* The keys of what is to be read next, LOAD_CHUNK at most; 0: nothing, for now. */
int
load_take(Datum *tenants, Datum *ids)
{
	int count = 0;

	if (wanted && not_before <= GetCurrentTimestamp())
		read_keys();
	for (; count < LOAD_CHUNK && next_key < nkeys; next_key++, count++)
	{
		tenants[count] = UUIDPGetDatum(&keys[next_key].tenant);
		ids[count] = UUIDPGetDatum(&keys[next_key].deployment);
	}
	if (next_key == nkeys && again)
	{
		again = false;
		wanted = true;
	}
	return count;
}

/* Reads some deployments; arrays of uuid. */
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
		bring(&rows[i]);
	/* what has not come has ended, which its visit will find */
	for (int i = 0; i < count; i++)
	{
		DueItem *item = dueset_find(DatumGetUUIDP(ids[i]));

		if (item && (load_is_stale(item) || item->pass != pass))
		{
			item->read = configuration;
			item->pass = pass;
			dueset_touch(item);
		}
	}
}
