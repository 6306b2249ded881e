/*
 * bring_up.c
 *		A node gets what the others of its environment run: bring_up().
 *
 * Of each module the version that has succeeded last in the environment, however it came there; what only another
 * bring_up() has brought does not count, since it may be older than what has come to the others meanwhile.  Each
 * module is a deployment of its own, for the node alone.
 *
 * Locks: the tenant's activity (tenant_enter()).
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/bring_up_right.h"
#include "core/call.h"
#include "core/installation.h"
#include "core/plan.h"
#include "core/release.h"
#include "core/requirement.h"
#include "core/tenant.h"
#include "deployment/request.h"
#include "fmgr.h"
#include "module/examination.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_bring_up);

static DbStatement node_query = DB_STATEMENT(
	"SELECT environment FROM hotswap.node WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL",
	UUIDOID, UUIDOID);

/*
 * Of each module what has come last to a node of the environment and of this one's kind by a deployment that has
 * succeeded there; one that retention has removed had ended.  What a bring_up() has brought does not count, nor
 * that it was taken back.
 */
static DbStatement modules_query = DB_STATEMENT(
	"SELECT m.name, l.version, v.requires FROM hotswap.module m CROSS JOIN LATERAL ("
	"SELECT r.version FROM hotswap.node n CROSS JOIN LATERAL ("
	"SELECT nm.version, nm.swap FROM hotswap.node_module nm"
	" LEFT JOIN hotswap.deployment d ON d.tenant_id = $1 AND d.id = nm.deployment_id"
	" WHERE nm.tenant_id = $1 AND nm.node_id = n.id AND nm.module = m.name"
	" AND NOT nm.brought_up AND CASE WHEN d.id IS NULL THEN nm.deployment_id IS NOT NULL"
	" WHEN d.kind NOT IN ('deploy', 'rollback') THEN false"
	" WHEN d.environment = $2 THEN d.status = 'succeeded'"
	" ELSE EXISTS (SELECT FROM hotswap.stage s WHERE s.tenant_id = $1 AND s.deployment_id = d.id"
	" AND s.kind = 'deploy' AND s.environment = $2 AND s.status = 'succeeded') END"
	" ORDER BY nm.swap DESC LIMIT 1) r"
	" WHERE n.tenant_id = $1 AND n.environment = $2 AND n.removed_at IS NULL AND n.kind ="
	" (SELECT k.kind FROM hotswap.node k WHERE k.tenant_id = $1 AND k.id = $3)"
	" ORDER BY r.swap DESC LIMIT 1) l"
	" JOIN hotswap.module_version v ON v.tenant_id = $1 AND v.module = m.name AND v.version = l.version"
	" WHERE m.tenant_id = $1 ORDER BY m.name",
	UUIDOID, TEXTOID, UUIDOID);

/* A module that the node shall run. */
typedef struct Wanted
{
	char *module;
	char *version;
	List *requirements; /* of Requirement */
} Wanted;

static char *
find_environment(const pg_uuid_t *tenant, const pg_uuid_t *node)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(node) };

	if (db_run_newest(&node_query, args, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("node \"%s\" does not exist", uuid_text(node))));
	return db_text(0, 1);
}

static List *
read_wanted(const pg_uuid_t *tenant, const char *environment, const pg_uuid_t *node)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment), UUIDPGetDatum(node) };
	uint64 n = db_run_newest(&modules_query, args, NULL);
	List *all = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		Wanted *w = palloc0(sizeof(Wanted));
		bool isnull;
		Datum requirements = db_datum(i, 3, &isnull);

		w->module = db_text(i, 1);
		w->version = db_text(i, 2);
		w->requirements = isnull ? NIL : requirement_list(requirements);
		all = lappend(all, w);
	}
	return all;
}

/* Does it require one of these modules? */
static bool
requires_one(const Wanted *w, List *others)
{
	ListCell *cell;
	ListCell *other;

	foreach (cell, w->requirements)
	{
		const Requirement *r = lfirst(cell);

		foreach (other, others)
			if (!r->is_conflict && strcmp(r->module, ((Wanted *) lfirst(other))->module) == 0)
				return true;
	}
	return false;
}

/* What others require comes first; those that require each other, like all else, by their names. */
static List *
order_wanted(List *wanted)
{
	List *ordered = NIL;
	ListCell *cell;

	while (wanted != NIL)
	{
		Wanted *next = linitial(wanted);

		foreach (cell, wanted)
			if (!requires_one(lfirst(cell), wanted))
			{
				next = lfirst(cell);
				break;
			}
		ordered = lappend(ordered, next);
		wanted = list_delete_ptr(wanted, next);
	}
	return ordered;
}

/*
 * What the node would run; NIL if it runs the version already, or something that builds on it, or is pinned.  What
 * it requires may be brought before it (comes).
 */
static List *
plan_node(const Request *r, bool comes)
{
	PlanTarget target = { r->module, r->version };
	PlanRequest request = { .tenant = &r->tenant,
							.targets = list_make1(&target),
							.environment = r->environment,
							.is_target = true,
							.nodes = r->nodes };
	List *plans = plan_environment(&request);
	const NodePlan *p = plans != NIL ? linitial(plans) : NULL;

	/* the version is not for such a node */
	if (p == NULL)
		return NIL;
	if (p->outcome == NODE_RUNS || (comes && p->outcome == NODE_BLOCKED && p->steps != NIL))
		return plans;
	if (!p->runs_target && !p->is_pinned)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version \"%s\" of module \"%s\" cannot be brought to node \"%s\"",
						r->version, r->module, p->name),
				 errdetail_internal("%s.", p->reason), p->hint ? errhint("%s", p->hint) : 0));
	return NIL;
}

/* The ids of the deployments, one for each module that the node lacks. */
static Datum
request_all(Request *r, List *wanted, const AuditActor *actor)
{
	Datum *ids = palloc(Max(list_length(wanted), 1) * sizeof(Datum));
	int count = 0;
	ListCell *cell;

	foreach (cell, wanted)
	{
		const Wanted *w = lfirst(cell);
		List *plans;

		r->module = w->module;
		r->version = w->version;
		plans = plan_node(r, requires_one(w, wanted));
		if (plans == NIL)
			continue;
		uuid7_generate(&r->id);
		examination_keep(&r->tenant, r->module, r->version);
		r->is_protected =
			!bring_up_is_free(&r->tenant, r->environment, r->module, r->version, plans);
		request_create(r, actor);
		ids[count] = UUIDPGetDatum(memcpy(palloc(UUID_LEN), &r->id, UUID_LEN));
		count++;
	}
	return uuid_array(ids, count);
}

/*
 * bring_up(node uuid, reason text) returns the ids of new deployments, uuid[]
 *
 * In: a node of the session's tenant, which may be new in the caller's transaction; reason of 1 to 10,000 characters,
 * or NULL.  Out: a deployment for each module of its environment that it does not run, or runs less of, what others
 * require first.  Errors: 22023; P0002 no such node; 42501; 55000 there is no way to a version; YH003.  Locks
 * nothing that others wait for; writes deployments, their work items, audit events, and, where they need some,
 * approvals.
 */
Datum
hotswap_bring_up(PG_FUNCTION_ARGS)
{
	pg_uuid_t node = arg_uuid(fcinfo, 0, "node");
	Datum id = UUIDPGetDatum(&node);
	char *reason = arg_text_or_null(fcinfo, 1, "reason", REASON_LIMIT);
	Request r;
	MemoryContext context = CurrentMemoryContext;
	Datum ids;
	Call c;

	request_begin(&r, KIND_BRING_UP, reason);
	r.has_nodes = true;
	r.nodes = uuid_array(&id, 1);
	call_begin(&c, &r.tenant, CAPABILITY_OPERATOR, "bring a node up");
	installation_ensure();
	tenant_enter_active(&r.tenant);
	r.environment = find_environment(&r.tenant, &node);
	ids = request_all(&r, order_wanted(read_wanted(&r.tenant, r.environment, &node)), &c.actor);
	MemoryContextSwitchTo(context);
	ids = PointerGetDatum(DatumGetArrayTypePCopy(ids));
	call_end(&c);
	return ids;
}
