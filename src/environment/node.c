/*
 * node.c
 *		Nodes: the targets of deployments.
 *
 * Guarantees: a name is used once in an environment, and a pair of role and schema once in the
 * database, whoever the tenant is: two nodes there would overwrite each other.  Two nodes have agents of one
 * role only where that was asked for: each could take the other's tasks.
 *
 * Locks: tenant row, then the node's row (removing), then the pair of role and schema, then rows of deployments
 * (removing).
 */
#include "postgres.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/deployment_save.h"
#include "core/missing.h"
#include "core/quota.h"
#include "core/steps.h"
#include "core/tenant.h"
#include "environment/task_role.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "shm/advisory.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

PG_FUNCTION_INFO_V1(hotswap_register_node);
PG_FUNCTION_INFO_V1(hotswap_remove_node);

static DbStatement check_usage =
	DB_STATEMENT("SELECT has_schema_privilege($1, $2, 'USAGE')", OIDOID, OIDOID);

static DbStatement find_environment =
	DB_STATEMENT("SELECT 1 FROM hotswap.environment WHERE tenant_id = $1 AND name = $2", UUIDOID,
				 TEXTOID);

static DbStatement insert_node = DB_STATEMENT(
	"INSERT INTO hotswap.node (tenant_id, id, environment, name, kind, run_as, schema, labels, search_path)"
	" VALUES ($1, $2, $3, $4, $5::hotswap.node_kind, $6, $7, $8, $9)"
	" ON CONFLICT (tenant_id, environment, name) WHERE removed_at IS NULL DO NOTHING",
	UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, OIDOID, TEXTOID, JSONBOID, TEXTARRAYOID);

/* $2: the schema, or empty. */
static DbStatement find_target = DB_STATEMENT(
	"SELECT name, environment, tenant_id = $4 FROM hotswap.node WHERE removed_at IS NULL"
	" AND run_as = $1 AND coalesce(schema, '') = $2 AND id <> $3 AND (kind = 'agent') = $5 LIMIT 1",
	OIDOID, TEXTOID, UUIDOID, UUIDOID, BOOLOID);

static DbStatement lock_node =
	DB_STATEMENT("SELECT environment, name, run_as, schema FROM hotswap.node"
				 " WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL FOR UPDATE",
				 UUIDOID, UUIDOID);

/* Only deployments that have not ended are looked at; LIMIT keeps it from becoming another join. */
static DbStatement find_work = DB_STATEMENT(
	"SELECT w.deployment_id FROM hotswap.work_item w CROSS JOIN LATERAL (SELECT FROM hotswap.task t"
	" WHERE t.tenant_id = w.tenant_id AND t.deployment_id = w.deployment_id AND t.node_id = $2"
	" AND t.status IN ('pending', 'ready', 'running', 'retry_wait', 'reverting') LIMIT 1) t"
	" WHERE w.tenant_id = $1 LIMIT 1",
	UUIDOID, UUIDOID);

/* In a rollout its wave has not begun. */
static DbStatement find_waiting = DB_STATEMENT(
	"SELECT w.deployment_id, t.stage::integer FROM hotswap.work_item w CROSS JOIN LATERAL"
	" (SELECT t.stage FROM hotswap.task t WHERE t.tenant_id = w.tenant_id"
	" AND t.deployment_id = w.deployment_id AND t.node_id = $2 AND t.kind = 'swap'"
	" AND t.status = 'pending' LIMIT 1) t JOIN hotswap.rollout r ON r.tenant_id = w.tenant_id"
	" AND r.deployment_id = w.deployment_id AND r.stage = t.stage"
	" WHERE w.tenant_id = $1 ORDER BY w.deployment_id",
	UUIDOID, UUIDOID);

static DbStatement set_removed = DB_STATEMENT(
	"UPDATE hotswap.node SET removed_at = pg_catalog.now() WHERE tenant_id = $1 AND id = $2",
	UUIDOID, UUIDOID);

/* Schemas behind the node's own. */
#define PATH_LIMIT 20

/* A node as it was given. */
typedef struct NodeRequest
{
	pg_uuid_t tenant;
	pg_uuid_t id;
	char *environment;
	char *name;
	char *kind;
	bool is_agent;
	bool shared_role; /* other agents have it, too */
	Oid run_as;
	char *role;    /* name of run_as */
	char *schema;  /* or NULL */
	List *path;    /* the schemas after it */
	List *schemas; /* their OIDs, its own first */
	Jsonb *labels;
} NodeRequest;

/* ---- arguments ---- */

static char *
arg_kind(FunctionCallInfo fcinfo, int n)
{
	char *kind = arg_text(fcinfo, n, "kind", NAME_LIMIT);

	if (strcmp(kind, "database") != 0 && strcmp(kind, "agent") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for \"kind\": \"%s\"", kind),
						errdetail("It must be \"database\" or \"agent\".")));
	return kind;
}

/*
 * The role must exist and be able to log in, and the caller must have its rights, which scripts will have.  Of an
 * agent nothing runs here.
 */
static void
check_role(NodeRequest *r)
{
	r->role = GetUserNameFromId(r->run_as, true);
	if (r->role == NULL)
		role_refuse_missing(r->run_as);
	if (!r->is_agent && !has_privs_of_role(GetUserId(), r->run_as))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to run scripts as role \"%s\"", r->role),
						errdetail("Role \"%s\" does not have the privileges of that role.",
								  GetUserNameFromId(GetUserId(), false)),
						errhint("Become a member of that role.")));
	role_require_login(r->run_as, NULL, NULL);
}

/* Scripts of a superuser can do everything in the cluster: refused, or said aloud. */
static void
check_superuser(const NodeRequest *r)
{
	if (r->is_agent || !superuser_arg(r->run_as))
		return;
	if (!hotswap_superuser_nodes)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("scripts of nodes cannot run as superuser \"%s\"", r->role),
				 errdetail("Setting \"hotswap.superuser_nodes\" is off."),
				 errhint("Give the node a role that can do no more than its module needs.")));
	ereport(NOTICE,
			(errmsg("scripts of node \"%s\" will run as superuser \"%s\"", r->name, r->role),
			 errhint("Give the node a role that can do no more than its module needs.")));
}

static Oid
find_schema(const char *name)
{
	Oid schema = get_namespace_oid(name, true);

	if (!OidIsValid(schema))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("schema \"%s\" does not exist", name),
				 errhint("Give its plain name, without quotation marks.")));
	if (isAnyTempNamespace(schema))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("schema \"%s\" is temporary", name)));
	return schema;
}

/* An agent has no schema, and only agents share a role. */
static void
check_kind(const NodeRequest *r)
{
	if (r->is_agent && (r->schema || r->path != NIL))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"schema\" and \"search_path\" must not be given for an agent"),
						errdetail("No script runs on such a node.")));
	if (r->shared_role && !r->is_agent)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"shared_role\" must not be given for kind \"%s\"", r->kind)));
}

static void
check_schemas(NodeRequest *r)
{
	ListCell *cell;

	if (r->schema)
		r->schemas = list_make1_oid(find_schema(r->schema));
	else if (r->path != NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"search_path\" must not be given without \"schema\""),
						errdetail("Its schemas come after that one.")));
	foreach (cell, r->path)
		r->schemas = lappend_oid(r->schemas, find_schema(lfirst(cell)));
}

static void
node_read_request(FunctionCallInfo fcinfo, NodeRequest *r)
{
	memset(r, 0, sizeof(NodeRequest));
	r->environment = arg_text(fcinfo, 0, "environment", NAME_LIMIT);
	r->name = arg_text(fcinfo, 1, "name", NAME_LIMIT);
	r->kind = arg_kind(fcinfo, 2);
	r->is_agent = strcmp(r->kind, "agent") == 0;
	r->run_as = PG_ARGISNULL(3) ? GetUserId() : PG_GETARG_OID(3);
	r->schema = arg_text_or_null(fcinfo, 4, "schema", NAME_LIMIT);
	r->labels = arg_object(fcinfo, 5, "labels");
	r->path = arg_name_list(fcinfo, 6, "search_path", NAME_LIMIT, PATH_LIMIT);
	r->shared_role = arg_bool(fcinfo, 7, "shared_role");
	r->tenant = tenant_argument(fcinfo, 8);
	uuid7_generate(&r->id);
	check_kind(r);
	check_role(r);
	check_superuser(r);
	check_schemas(r);
}

/* ---- registering, inside the scope ---- */

static void
require_usage_of(const NodeRequest *r, Oid oid, const char *schema)
{
	Datum args[] = { ObjectIdGetDatum(r->run_as), ObjectIdGetDatum(oid) };

	(void) db_run(&check_usage, args, NULL);
	if (db_isnull(0, 1) || !db_bool(0, 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("role \"%s\" does not have USAGE privilege on schema \"%s\"",
							   r->role, schema),
						errhint("Use GRANT USAGE ON SCHEMA %s TO %s.", quote_identifier(schema),
								quote_identifier(r->role))));
}

static void
require_usage(const NodeRequest *r)
{
	if (r->schema)
		require_usage_of(r, linitial_oid(r->schemas), r->schema);
	for (int i = 0; i < list_length(r->path); i++)
		require_usage_of(r, list_nth_oid(r->schemas, i + 1), list_nth(r->path, i));
}

static void
require_environment(const NodeRequest *r)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->environment) };

	if (db_run_newest(&find_environment, args, NULL) == 0)
		environment_refuse_missing(&r->tenant, r->environment);
}

static void
node_insert(const NodeRequest *r)
{
	DbArgs args = db_args(&insert_node);

	db_arg_uuid(&args, &r->tenant);
	db_arg_uuid(&args, &r->id);
	db_arg_text(&args, r->environment);
	db_arg_text(&args, r->name);
	db_arg_text(&args, r->kind);
	db_arg_oid(&args, r->run_as);
	db_arg_text(&args, r->schema);
	db_arg_jsonb(&args, r->labels);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(r->path), r->path == NIL);
	if (db_run_args(&args) == 0)
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("node \"%s\" already exists in environment \"%s\"", r->name,
							   r->environment)));
}

/* Until the end of the transaction nobody else registers or removes a node with this role and schema. */
static void
lock_target(Oid run_as, const char *schema)
{
	char *key = psprintf("%u %s", run_as, schema ? schema : "");
	LOCKTAG tag;

	lock_tag(&tag, LOCK_TARGET, key, strlen(key));
	(void) lock_wait_until(&tag, ExclusiveLock, false, DT_NOEND);
}

/* What it is that the role and schema of which are taken. */
static int
errmsg_taken(const NodeRequest *r)
{
	if (r->is_agent)
		return errmsg("node with an agent of role \"%s\" already exists", r->role);
	if (r->schema)
		return errmsg("node with role \"%s\" and schema \"%s\" already exists", r->role, r->schema);
	return errmsg("node with role \"%s\" and no schema already exists", r->role);
}

/*
 * Refuses a second node on the same role and schema.  The lock on the two keeps others from committing
 * one meanwhile; the newest snapshot shows what was committed before it was granted, at every isolation
 * level.
 */
static void
require_free_target(const NodeRequest *r)
{
	Datum args[] = { ObjectIdGetDatum(r->run_as), CStringGetTextDatum(r->schema ? r->schema : ""),
					 UUIDPGetDatum(&r->id), UUIDPGetDatum(&r->tenant), BoolGetDatum(r->is_agent) };

	if (r->shared_role || db_run_newest(&find_target, args, NULL) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION), errmsg_taken(r),
			 /* another tenant's is nobody else's business */
			 db_bool(0, 3) ?
				 errdetail("It is node \"%s\" of environment \"%s\"; the two would %s.",
						   db_text(0, 1), db_text(0, 2),
						   r->is_agent ? "see each other's tasks" : "overwrite each other") :
				 0,
			 r->is_agent ? errhint("Give each agent a role of its own, or use \"shared_role\".") :
						   errhint("Give each node a role or a schema of its own.")));
}

/*
 * register_node(environment text, name text, kind text, run_as regrole, schema text, labels jsonb,
 *		search_path text[], shared_role boolean, tenant uuid) returns uuid
 *
 * In: run_as, schema, search_path and tenant may be NULL.  Out: the id of the new node.  Errors: 22023, P0002
 * no such environment, role, schema or tenant, 42501 not a member of run_as, 23505 name or target
 * taken, 53400 the quota of nodes is exceeded, YH003.  Locks the tenant row and the pair of
 * run_as and schema; writes the node and the audit log.
 */
Datum
hotswap_register_node(PG_FUNCTION_ARGS)
{
	NodeRequest request;
	Call c;
	pg_uuid_t *result = palloc(sizeof(pg_uuid_t));

	args_require_count(fcinfo, 9);
	node_read_request(fcinfo, &request);
	call_begin_change(&c, &request.tenant, CAPABILITY_OPERATOR, "register a node");
	require_usage(&request);
	require_environment(&request);
	lock_target(request.run_as, request.schema);
	node_insert(&request);
	require_free_target(&request);
	quota_require(&request.tenant, QUOTA_NODES);
	audit_tenant(&c.actor, &request.tenant, "register_node", NULL, NULL, NULL,
				 audit_detail("node", uuid_text(&request.id), "environment", request.environment,
							  "name", request.name, "kind", request.kind, "run_as", request.role,
							  "schema", request.schema, "search_path",
							  request.path != NIL ?
								  OidOutputFunctionCall(F_ARRAY_OUT, db_text_array(request.path)) :
								  NULL,
							  request.shared_role ? "shared_role" : NULL, "true", NULL));
	call_end(&c);
	*result = request.id;
	PG_RETURN_UUID_P(result);
}

/* ---- removing ---- */

/* A node that is removed before its wave leaves the rollout, which goes on without it. */
static void
leave_rollout(const pg_uuid_t *id, int stage, const pg_uuid_t *node, const AuditActor *actor)
{
	Deployment d;
	List *tasks;
	ListCell *cell;

	deployment_lock_existing(&d, id, actor);
	tasks = steps_load_tasks(&d, stage);
	steps_audit_recorded(&d, tasks);
	foreach (cell, tasks)
	{
		Task *task = lfirst(cell);

		/* its wave may have begun meanwhile */
		if (task->kind != TASK_SWAP || task->status != TASK_PENDING ||
			!uuid_equal(&task->node, node))
			continue;
		task->message = pstrdup("the node was removed");
		task_apply(task, TASK_CANCEL);
	}
	steps_save_tasks(&d, tasks);
	steps_forget_counts(&d, stage);
	deployment_save_due(&d, GetCurrentTimestamp());
}

static void
leave_rollouts(Datum *args, const pg_uuid_t *node, const AuditActor *actor)
{
	uint64 n = db_run(&find_waiting, args, NULL);
	List *ids = db_uuid_rows(n);
	List *stages = NIL;

	for (uint64 i = 0; i < n; i++)
		stages = lappend_int(stages, db_int32(i, 2));
	for (int i = 0; i < list_length(ids); i++)
		leave_rollout(list_nth(ids, i), list_nth_int(stages, i), node, actor);
}

/* Raises 55000 where a deployment that has not ended still has to do something on the node. */
static void
require_no_work(Datum *args, const char *name)
{
	pg_uuid_t deployment;

	if (db_run_newest(&find_work, args, NULL) == 0)
		return;
	deployment = db_uuid(0, 1);
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("node \"%s\" has unfinished work", name),
					errdetail("Deployment \"%s\" is not done with it.", uuid_text(&deployment)),
					errhint("Wait for the deployment to end, or cancel it.")));
}

/*
 * remove_node(node uuid)
 *
 * In: a node of the current tenant.  Errors: 22023 NULL, P0002 no such node, 55000 unfinished work,
 * YH003.  Locks the tenant row, the node, its pair of role and schema, and the deployments in whose rollouts it
 * waits for its wave, in the order of their ids; writes all but the pair, and the audit log.
 */
Datum
hotswap_remove_node(PG_FUNCTION_ARGS)
{
	pg_uuid_t node = arg_uuid(fcinfo, 0, "node");
	pg_uuid_t tenant = tenant_current();
	Datum args[] = { UUIDPGetDatum(&tenant), UUIDPGetDatum(&node) };
	Call c;
	char *environment;
	char *name;

	call_begin_change(&c, &tenant, CAPABILITY_OPERATOR, "remove a node");
	if (db_run(&lock_node, args, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("node \"%s\" does not exist", uuid_text(&node))));
	environment = db_text(0, 1);
	name = db_text(0, 2);
	lock_target(db_oid(0, 3), db_text(0, 4));
	leave_rollouts(args, &node, &c.actor);
	require_no_work(args, name);
	(void) db_run(&set_removed, args, NULL);
	audit_tenant(&c.actor, &tenant, "remove_node", NULL, NULL, NULL,
				 audit_detail("node", uuid_text(&node), "environment", environment, "name", name,
							  NULL));
	call_end(&c);
	PG_RETURN_VOID();
}
