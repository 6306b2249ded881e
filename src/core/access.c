/*
 * access.c
 *		Who may do what: capabilities of roles, and which tenants a role sees.
 *
 * A role has what was granted to a role whose privileges it has, for the tenant or for all tenants,
 * and what that includes (see included[]).  The role that owns the extension, whoever has its
 * privileges, and superusers have everything.  Who has anything in a tenant sees it; so do the
 * roles that its environments' policies name as approvers, and those to whom a vote was lent.
 *
 * The answers are kept for the session, since they are asked for with every call, and forgotten
 * when anything that they depend on changes: triggers on the tables concerned invalidate the
 * relation cache's entry of hotswap.access, which tells every session at commit, and memberships of
 * roles are watched through the system caches.  This is how the server keeps its own permission
 * checks up to date.  They are read with the newest snapshot, or a long transaction would keep what
 * was revoked meanwhile.
 *
 * The caller's words for what it does complete "permission denied to ...", the one message that is put
 * together: there are as many of them as functions, while capability, detail and hint are one rule.
 * The words are an infinitive with its object.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/label.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/access.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/supportnodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(hotswap_visible_tenants);
PG_FUNCTION_INFO_V1(hotswap_visible_tenants_support);
PG_FUNCTION_INFO_V1(hotswap_access_changed);

#define BIT(capability) (1 << (capability))
#define EVERYTHING (BIT(CAPABILITY_COUNT) - 1)
#define CACHE_LIMIT 4096 /* answers kept */

const char *const capability_names[CAPABILITY_COUNT] = { "viewer",       "agent",    "deployer",
														 "approver",     "operator", "break_glass",
														 "impersonator", "admin",    "tester" };

/* What each capability brings with it. */
static const int included[CAPABILITY_COUNT] = {
	[CAPABILITY_VIEWER] = BIT(CAPABILITY_VIEWER),
	[CAPABILITY_AGENT] = BIT(CAPABILITY_AGENT) | BIT(CAPABILITY_VIEWER),
	[CAPABILITY_DEPLOYER] =
		BIT(CAPABILITY_DEPLOYER) | BIT(CAPABILITY_AGENT) | BIT(CAPABILITY_VIEWER),
	[CAPABILITY_APPROVER] = BIT(CAPABILITY_APPROVER) | BIT(CAPABILITY_VIEWER),
	[CAPABILITY_OPERATOR] = BIT(CAPABILITY_OPERATOR) | BIT(CAPABILITY_DEPLOYER) |
							BIT(CAPABILITY_AGENT) | BIT(CAPABILITY_VIEWER) | BIT(CAPABILITY_TESTER),
	[CAPABILITY_BREAK_GLASS] = BIT(CAPABILITY_BREAK_GLASS) | BIT(CAPABILITY_VIEWER),
	[CAPABILITY_IMPERSONATOR] = BIT(CAPABILITY_IMPERSONATOR) | BIT(CAPABILITY_VIEWER),
	[CAPABILITY_ADMIN] = BIT(CAPABILITY_ADMIN) | BIT(CAPABILITY_OPERATOR) |
						 BIT(CAPABILITY_DEPLOYER) | BIT(CAPABILITY_AGENT) | BIT(CAPABILITY_VIEWER) |
						 BIT(CAPABILITY_TESTER),
	[CAPABILITY_TESTER] = BIT(CAPABILITY_TESTER) | BIT(CAPABILITY_VIEWER),
};

/* No tenant has this id: it stands for what was granted for all of them. */
static const pg_uuid_t everywhere = { { 0 } };

static DbStatement roles_query =
	DB_STATEMENT("SELECT role::oid FROM hotswap.access WHERE (tenant_id = $1 OR tenant_id IS NULL)"
				 " AND capability = $2::hotswap.capability ORDER BY 1",
				 UUIDOID, TEXTOID);

/* what makes roles see something, and until when; the tenant is that of each branch's condition */
#define RIGHTS(condition)                                                                       \
	"SELECT tenant_id, role::oid, capability::text, NULL::timestamptz FROM hotswap.access"      \
	" WHERE " condition                                                                         \
	" UNION ALL SELECT tenant_id, approver::oid, 'viewer', NULL FROM hotswap.environment"       \
	" CROSS JOIN LATERAL unnest(approvers) approver WHERE approvers IS NOT NULL AND " condition \
	" UNION ALL SELECT tenant_id, delegate::oid, 'viewer', until"                               \
	" FROM hotswap.approval_delegation WHERE revoked_at IS NULL AND until > $1 AND " condition

static DbStatement rights_in_tenant =
	DB_STATEMENT(RIGHTS("(tenant_id = $2 OR tenant_id IS NULL)"), TIMESTAMPTZOID, UUIDOID);

static DbStatement all_rights = DB_STATEMENT(RIGHTS("true"), TIMESTAMPTZOID);

/* the default one may have leases before it has a row */
static DbStatement all_tenants =
	DB_STATEMENT("SELECT id FROM hotswap.tenant UNION ALL SELECT $1", UUIDOID);

/* ---- answers that are kept ---- */

typedef struct MaskKey
{
	pg_uuid_t tenant;
	Oid role;
} MaskKey;

/* What a role has in a tenant. */
typedef struct MaskEntry
{
	MaskKey key;
	int mask;
	TimestampTz until; /* DT_NOEND: until something changes */
} MaskEntry;

/* Which tenants a role sees. */
typedef struct SightEntry
{
	Oid role;
	int count;
	pg_uuid_t *tenants;
	TimestampTz until;
} SightEntry;

static MemoryContext cache_context = NULL; /* everything below */
static HTAB *masks;
static HTAB *sights;
static uint64 changes = 0;   /* seen so far */
static uint64 cached_at = 0; /* how many had been seen when the cache was emptied */
static Oid access_relid = InvalidOid;

static void
rights_changed(Datum arg pg_attribute_unused(), int cacheid pg_attribute_unused(),
			   uint32 hash pg_attribute_unused())
{
	changes++;
}

static void
relation_changed(Datum arg pg_attribute_unused(), Oid relid)
{
	if (relid == access_relid || !OidIsValid(relid))
		changes++;
}

static Oid
find_access_relid(void)
{
	return get_relname_relid("access", get_namespace_oid("hotswap", false));
}

/* Makes the cache, and empties it when it is out of date. */
static void
refresh_cache(void)
{
	HASHCTL ctl = { .keysize = sizeof(MaskKey), .entrysize = sizeof(MaskEntry) };

	AcceptInvalidationMessages();
	if (cache_context == NULL)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, rights_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, rights_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, rights_changed, (Datum) 0);
		cache_context =
			AllocSetContextCreate(TopMemoryContext, "hotswap access", ALLOCSET_DEFAULT_SIZES);
	}
	if (masks && cached_at == changes)
		return;
	masks = NULL;
	MemoryContextReset(cache_context);
	access_relid = find_access_relid();
	cached_at = changes;
	ctl.hcxt = cache_context;
	sights = hash_create("hotswap visible tenants", 16,
						 &(HASHCTL){ .keysize = sizeof(Oid),
									 .entrysize = sizeof(SightEntry),
									 .hcxt = cache_context },
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	masks = hash_create("hotswap capabilities", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static bool
role_exists(Oid role)
{
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}

/* Does a row of RIGHTS concern the role?  Then *until is when that ends. */
static bool
right_applies(uint64 row, Oid role, TimestampTz *until)
{
	/* one that has been dropped since has no members */
	if (!has_privs_of_role(role, db_oid(row, 2)))
		return false;
	*until = Min(*until, db_time(row, 4, DT_NOEND));
	return true;
}

/* An answer that is being computed. */
typedef void (*Compute)(void *answer);

/* Computes an answer, again if something has changed meanwhile. */
static void
compute_settled(Compute compute, void *answer)
{
	uint64 before;

	do
	{
		before = changes;
		compute(answer);
		refresh_cache();
	} while (before != changes);
}

static bool
is_current(TimestampTz until)
{
	return until == DT_NOEND || until > GetCurrentTimestamp();
}

static void
compute_mask(void *answer)
{
	MaskEntry *e = answer;
	Datum args[] = { TimestampTzGetDatum(GetCurrentTimestamp()), UUIDPGetDatum(&e->key.tenant) };
	DbScope scope;
	uint64 count;

	e->mask = 0;
	e->until = DT_NOEND;
	if (!role_exists(e->key.role))
		return;
	if (has_privs_of_role(e->key.role, db_owner()))
	{
		e->mask = EVERYTHING;
		return;
	}
	db_enter(&scope);
	count = db_run_newest(&rights_in_tenant, args, NULL);
	for (uint64 i = 0; i < count; i++)
		if (right_applies(i, e->key.role, &e->until))
			e->mask |= included[label_parse(db_text(i, 3), capability_names, CAPABILITY_COUNT)];
	db_leave(&scope);
}

/* What a role has in a tenant (or, everywhere, in all of them) now. */
static int
find_mask(const pg_uuid_t *tenant, Oid role)
{
	MaskEntry computed;
	MaskEntry *entry;

	refresh_cache();
	memset(&computed, 0, sizeof(computed));
	computed.key.tenant = *tenant;
	computed.key.role = role;
	entry = hash_search(masks, &computed.key, HASH_FIND, NULL);
	if (entry && is_current(entry->until))
		return entry->mask;
	if (hash_get_num_entries(masks) >= CACHE_LIMIT)
		changes++; /* begin anew */
	compute_settled(compute_mask, &computed);
	entry = hash_search(masks, &computed.key, HASH_ENTER, NULL);
	*entry = computed;
	return entry->mask;
}

/* ---- which tenants a role sees ---- */

static int
compare_uuids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

/* Inside a scope: the tenants of a result, once each; of RIGHTS, if a role is given. */
static void
collect_tenants(SightEntry *sight, uint64 count, Oid role)
{
	int kept = 0;

	sight->tenants = MemoryContextAllocHuge(cache_context, Max(count, 1) * sizeof(pg_uuid_t));
	for (uint64 i = 0; i < count; i++)
		if (!OidIsValid(role) || (!db_isnull(i, 1) && right_applies(i, role, &sight->until)))
			sight->tenants[kept++] = db_uuid(i, 1);
	qsort(sight->tenants, kept, sizeof(pg_uuid_t), compare_uuids);
	sight->count = 0;
	for (int i = 0; i < kept; i++)
		if (i == 0 || compare_uuids(&sight->tenants[i], &sight->tenants[i - 1]) != 0)
			sight->tenants[sight->count++] = sight->tenants[i];
}

static void
compute_sight(void *answer)
{
	SightEntry *sight = answer;
	Datum now[] = { TimestampTzGetDatum(GetCurrentTimestamp()) };
	pg_uuid_t default_tenant = tenant_default();
	Datum tenant[] = { UUIDPGetDatum(&default_tenant) };
	bool all = find_mask(&everywhere, sight->role) != 0;
	DbScope scope;

	sight->until = DT_NOEND;
	db_enter(&scope);
	if (all)
		collect_tenants(sight, db_run_newest(&all_tenants, tenant, NULL), InvalidOid);
	else
		collect_tenants(sight, db_run_newest(&all_rights, now, NULL), sight->role);
	db_leave(&scope);
}

/* The tenants that a role sees, in the order of their ids; kept until the next call. */
static const SightEntry *
find_sight(Oid role)
{
	SightEntry *entry;
	SightEntry computed = { .role = role };

	refresh_cache();
	entry = hash_search(sights, &role, HASH_FIND, NULL);
	if (entry && is_current(entry->until))
		return entry;
	compute_settled(compute_sight, &computed);
	entry = hash_search(sights, &role, HASH_ENTER, NULL);
	*entry = computed;
	return entry;
}

/* ---- questions ---- */

/* The roles that were granted a capability, as a list of OIDs; some may have been dropped. */
List *
access_roles(const pg_uuid_t *tenant, Capability capability)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(capability_names[capability]) };
	uint64 count = db_run_newest(&roles_query, args, NULL);
	List *roles = NIL;

	for (uint64 i = 0; i < count; i++)
		roles = list_append_unique_oid(roles, db_oid(i, 1));
	return roles;
}

/* The audit log of a tenant, or (NULL) that of all. */
void
access_require_audit(const pg_uuid_t *tenant, Oid role)
{
	if (tenant)
		access_require(tenant, role, CAPABILITY_VIEWER, "verify the audit log");
	else
		access_require_everywhere(role, CAPABILITY_VIEWER, "verify the whole audit log");
}

/*
 * Is a role, which must exist, one of these or a member of one?  Being a superuser does not count.
 */
bool
access_is_member_of_any(Oid role, List *roles)
{
	ListCell *cell;

	if (!role_exists(role))
		return false;
	foreach (cell, roles)
		if (is_member_of_role_nosuper(role, lfirst_oid(cell)))
			return true;
	return false;
}

bool
access_has(const pg_uuid_t *tenant, Oid role, Capability capability)
{
	return (find_mask(tenant, role) & BIT(capability)) != 0;
}

bool
access_has_everywhere(Oid role, Capability capability)
{
	return access_has(&everywhere, role, capability);
}

/*
 * What somebody else's index expression, materialized view or the like does while a privileged user
 * maintains it is nobody's wish.
 */
static void
refuse_restricted(const char *action)
{
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to %s", action),
				 errdetail("It cannot be done within a security-restricted operation.")));
}

/* Raises 42501; action completes "permission denied to ...". */
void
access_require(const pg_uuid_t *tenant, Oid role, Capability capability, const char *action)
{
	bool all = memcmp(tenant, &everywhere, sizeof(everywhere)) == 0;

	refuse_restricted(action);
	if (!access_has(tenant, role, capability))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to %s", action),
				 all ? errdetail("Role \"%s\" does not have the capability \"%s\" for all tenants.",
								 GetUserNameFromId(role, false), capability_names[capability]) :
					   errdetail("Role \"%s\" does not have the capability \"%s\".",
								 GetUserNameFromId(role, false), capability_names[capability]),
				 errhint("An admin can grant it with hotswap.grant_access().")));
}

/* The same for what concerns all tenants. */
void
access_require_everywhere(Oid role, Capability capability, const char *action)
{
	access_require(&everywhere, role, capability, action);
}

bool
access_sees_all(Oid role)
{
	return find_mask(&everywhere, role) != 0;
}

int
access_seen(Oid role, const pg_uuid_t **tenants)
{
	const SightEntry *sight = find_sight(role);

	*tenants = sight->tenants;
	return sight->count;
}

bool
access_sees(Oid role, const pg_uuid_t *tenant)
{
	const SightEntry *sight = find_sight(role);

	return bsearch(tenant, sight->tenants, sight->count, sizeof(pg_uuid_t), compare_uuids) != NULL;
}

/* ---- visible_tenants() ---- */

/* visible_tenants() returns the tenants that the current role sees: every view joins it. */
Datum
hotswap_visible_tenants(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const SightEntry *sight;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	sight = find_sight(GetUserId());
	for (int i = 0; i < sight->count; i++)
	{
		Datum value = UUIDPGetDatum(&sight->tenants[i]);
		bool isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}

/* Tells the planner how many there will be: one tenant is looked up, many are joined. */
Datum
hotswap_visible_tenants_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);

	if (!IsA(request, SupportRequestRows))
		PG_RETURN_POINTER(NULL);
	((SupportRequestRows *) request)->rows = find_sight(GetUserId())->count;
	PG_RETURN_POINTER(request);
}

/* Trigger on everything that the answers depend on. */
Datum
hotswap_access_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "access_changed")));
	CacheInvalidateRelcacheByRelid(find_access_relid());
	return PointerGetDatum(NULL);
}
