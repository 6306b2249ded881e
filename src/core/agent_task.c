/*
 * agent_task.c
 *		A task in the hands of an agent: its name, its token and its lease.
 *
 * A task that is given out is running; it has a lease_until, and a token when an agent has claimed it.  Its row is
 * the agent's as long as the lease lasts, and the dispatcher's from then on: both write it under its lock, and look
 * under it whose it is.  So a token whose time is over changes nothing, whether or not anybody has the task since.
 *
 * The agent of a node is whoever has the privileges of its role.  That is a right to its tasks and to nothing else.
 *
 * Locks: the task's row, and with it nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/errors.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/agent_task.h"
#include "core/tenant.h"
#include "miscadmin.h"
#include "shm/wakeup.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define TASK_TEXT_LIMIT 100

static DbStatement find_node =
	DB_STATEMENT("SELECT run_as::oid, kind = 'agent' FROM hotswap.node"
				 " WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL",
				 UUIDOID, UUIDOID);

static DbStatement lock_task = DB_STATEMENT(
	"SELECT n.run_as::oid, t.token, t.secret, t.lease_until, t.node_id, t.action, $5 + e.agent_lease,"
	" (SELECT d.cancel_requested_at IS NOT NULL AND d.status = 'running' FROM hotswap.deployment d"
	" WHERE d.tenant_id = $1 AND d.id = $2),"
	" (SELECT v.artifact_digest FROM hotswap.deployment d JOIN hotswap.module_version v"
	" ON v.tenant_id = $1 AND v.module = d.module AND v.version = t.version_after"
	" WHERE d.tenant_id = $1 AND d.id = $2)"
	" FROM hotswap.task t JOIN hotswap.node n ON n.tenant_id = $1 AND n.id = t.node_id"
	" JOIN hotswap.environment e ON e.tenant_id = $1 AND e.name = n.environment"
	" WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.stage = $3 AND t.ordinal = $4"
	" AND t.action IS NOT NULL FOR NO KEY UPDATE OF t",
	UUIDOID, UUIDOID, INT2OID, INT4OID, TIMESTAMPTZOID);

enum
{
	T_RUN_AS = 1,
	T_TOKEN,
	T_SECRET,
	T_LEASE_UNTIL,
	T_NODE,
	T_ACTION,
	T_LEASE_END,
	T_IS_CANCELLED,
	T_DIGEST
};

static DbStatement extend_task =
	DB_STATEMENT("UPDATE hotswap.task SET lease_until = $5"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4",
				 UUIDOID, UUIDOID, INT2OID, INT4OID, TIMESTAMPTZOID);

static DbStatement over_query =
	DB_STATEMENT("SELECT DISTINCT deployment_id FROM hotswap.task WHERE lease_until <= $1",
				 TIMESTAMPTZOID);

static DbStatement next_query =
	DB_STATEMENT("SELECT pg_catalog.min(lease_until) FROM hotswap.task WHERE lease_until > $1",
				 TIMESTAMPTZOID);

/* ---- names ---- */

static void
refuse_value(const char *word, const char *value, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for \"%s\": \"%s\"", word, value), errdetail("%s", detail)));
}

/* Deployment, stage and number of the task, in the caller's tenant. */
char *
agent_task_text(const TaskKey *key)
{
	return psprintf("%s/%d/%d", uuid_text(&key->deployment), key->stage, key->ordinal);
}

TaskKey
agent_task_argument(FunctionCallInfo fcinfo, int n)
{
	char *text = arg_text(fcinfo, n, "task", TASK_TEXT_LIMIT);
	char uuid[37];
	TaskKey key;
	int stage;
	int end = 0;

	memset(&key, 0, sizeof(key));
	if (sscanf(text, "%36[0-9a-f-]/%5d/%8d%n", uuid, &stage, &key.ordinal, &end) != 3 ||
		text[end] != '\0' || strlen(uuid) != 36 || stage < 0 || stage > PG_INT16_MAX)
		refuse_value("task", text, "It must be a task that claim_tasks() has returned.");
	key.tenant = tenant_current();
	key.deployment = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(uuid)));
	key.stage = stage;
	return key;
}

char *
agent_token_text(const AgentToken *token)
{
	return psprintf(INT64_FORMAT "-%s", token->counter, uuid_text(&token->secret));
}

AgentToken
agent_token_argument(FunctionCallInfo fcinfo, int n)
{
	char *text = arg_text(fcinfo, n, "token", TASK_TEXT_LIMIT);
	char uuid[37];
	AgentToken token;
	long long counter;
	int end = 0;

	if (sscanf(text, "%18lld-%36[0-9a-f-]%n", &counter, uuid, &end) != 2 || text[end] != '\0' ||
		strlen(uuid) != 36)
		refuse_value("token", text, "It must be a token that claim_tasks() has returned.");
	token.counter = counter;
	token.secret = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(uuid)));
	return token;
}

/* ---- rights ---- */

/* Whoever has the privileges of the node's role is its agent. */
static void
require_role(Oid caller, Oid run_as)
{
	if (has_privs_of_role(caller, run_as))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to act as the agent of the node"),
			 errdetail("Role \"%s\" does not have the privileges of the role that the node runs"
					   " as.",
					   GetUserNameFromId(caller, false))));
}

/* To those who may not see the tenant, a node that has no agent, or another one, is no node. */
void
agent_require_node(const pg_uuid_t *tenant, const pg_uuid_t *node, Oid caller)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(node) };
	bool exists = db_run(&find_node, args, NULL) > 0;
	Oid run_as = exists ? db_oid(0, 1) : InvalidOid;
	bool has_agent = exists && db_bool(0, 2);

	if (!exists || ((!has_agent || !has_privs_of_role(caller, run_as)) &&
					!access_has(tenant, caller, CAPABILITY_VIEWER)))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("node \"%s\" does not exist", uuid_text(node)),
						errhint("Set \"hotswap.tenant\" to the tenant that it belongs to.")));
	require_role(caller, run_as);
	if (!has_agent)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node \"%s\" has no agent", uuid_text(node)),
						errdetail("Executors run what is deployed to it.")));
}

/* ---- the lease ---- */

static DbArgs
args_of(DbStatement *statement, const TaskKey *key, TimestampTz at)
{
	DbArgs args = db_args(statement);

	db_arg_uuid(&args, &key->tenant);
	db_arg_uuid(&args, &key->deployment);
	db_arg_int16(&args, key->stage);
	db_arg_int32(&args, key->ordinal);
	db_arg_time(&args, at);
	return args;
}

static bool
is_token(const AgentToken *token, TimestampTz now)
{
	pg_uuid_t secret;

	if (db_isnull(0, T_TOKEN) || db_isnull(0, T_LEASE_UNTIL) ||
		db_int64(0, T_TOKEN) != token->counter || db_time(0, T_LEASE_UNTIL, 0) <= now)
		return false;
	secret = db_uuid(0, T_SECRET);
	return uuid_equal(&secret, &token->secret);
}

void
agent_task_lock(AgentTask *task, const TaskKey *key, const AgentToken *token, Oid caller)
{
	TimestampTz now = GetCurrentTimestamp();
	DbArgs args = args_of(&lock_task, key, now);

	/* a task that is not there is one that this agent has not got */
	if (db_run_args(&args) == 0)
		ereport(ERROR, (errcode(ERRCODE_HOTSWAP_STALE_TOKEN),
						errmsg("task \"%s\" does not exist", agent_task_text(key)),
						errdetail("Its deployment may have been retried or removed."),
						errhint("Stop, and claim anew.")));
	require_role(caller, db_oid(0, T_RUN_AS));
	/* the row may have been waited for */
	now = GetCurrentTimestamp();
	if (!is_token(token, now))
		ereport(ERROR, (errcode(ERRCODE_HOTSWAP_STALE_TOKEN),
						errmsg("token " INT64_FORMAT " of task \"%s\" is stale", token->counter,
							   agent_task_text(key)),
						errdetail("The lease that it was given for is over."),
						errhint("Somebody else may have the task now: stop, and claim anew.")));
	memset(task, 0, sizeof(AgentTask));
	task->key = *key;
	task->node = db_uuid(0, T_NODE);
	task->lease_until = db_time(0, T_LEASE_UNTIL, 0);
	task->lease_end = db_time(0, T_LEASE_END, 0);
	task->is_cancelled = db_bool(0, T_IS_CANCELLED);
	task->action =
		label_parse(db_text(0, T_ACTION), agent_action_names, lengthof(agent_action_names));
	task->has_digest = db_digest(0, T_DIGEST, task->digest);
}

void
agent_task_extend(AgentTask *task)
{
	DbArgs args = args_of(&extend_task, &task->key, task->lease_end);

	if (task->is_cancelled)
		return;
	(void) db_run_args(&args);
	task->lease_until = task->lease_end;
	wake_lease(task->lease_end);
}

TimestampTz
agent_leases_over(void (*tell)(const pg_uuid_t *deployment))
{
	TimestampTz now = GetCurrentTimestamp();
	Datum args[] = { TimestampTzGetDatum(now) };
	TimestampTz next;
	DbScope scope;
	uint64 count;

	db_enter(&scope);
	count = db_run(&over_query, args, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		pg_uuid_t deployment = db_uuid(i, 1);

		tell(&deployment);
	}
	(void) db_run(&next_query, args, NULL);
	next = db_time(0, 1, DT_NOEND);
	db_leave(&scope);
	return next;
}
