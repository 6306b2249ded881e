/*
 * claim.c
 *		An agent gets its tasks: await_task(), claim_tasks().
 *
 * A task that is given out waits for the agent of its node.  Of two that claim it at once one gets it; the other
 * does not wait for that.  What a claim gives is a token, which is the right to the task until the lease ends.
 *
 * Locks: the rows of tasks, without waiting.  Writes them, and tells the dispatcher when the first lease ends.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/agent_task.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "shm/token.h"
#include "shm/wait.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_await_task);
PG_FUNCTION_INFO_V1(hotswap_claim_tasks);

#define CLAIM_LIMIT 100

/* Given out to the node and not claimed, in time. */
#define CLAIMABLE                                                                    \
	"t.tenant_id = $1 AND t.node_id = $2 AND t.lease_until > $3 AND t.token IS NULL" \
	" AND t.status = 'running'"

static DbStatement find_task =
	DB_STATEMENT("SELECT FROM hotswap.task t WHERE " CLAIMABLE " LIMIT 1", UUIDOID, UUIDOID,
				 TIMESTAMPTZOID);

/*
 * The version is what is to run; of what is to be removed it is what runs.  A revert leaves the version of its
 * deployment.
 */
static DbStatement lock_tasks = DB_STATEMENT(
	"SELECT t.deployment_id, t.stage::integer, t.ordinal, $3 + e.agent_lease, t.action, d.module,"
	" coalesce(t.version_after, CASE t.kind WHEN 'revert' THEN d.version ELSE t.previous_version END),"
	" CASE WHEN t.version_after IS NULL OR t.action = 'verify' THEN NULL"
	" WHEN t.kind = 'revert' THEN d.version ELSE t.previous_version END,"
	" encode(v.artifact_digest, 'hex'), v.artifact_uri, v.artifact_size,"
	" jsonb_build_object('deployment', d.id, 'environment', n.environment, 'node', n.name,"
	" 'labels', n.labels, 'metadata', v.metadata, 'attempt', t.attempt)"
	" FROM hotswap.task t JOIN hotswap.deployment d ON d.tenant_id = $1 AND d.id = t.deployment_id"
	" JOIN hotswap.node n ON n.tenant_id = $1 AND n.id = $2"
	" JOIN hotswap.environment e ON e.tenant_id = $1 AND e.name = n.environment"
	" LEFT JOIN hotswap.module_version v ON v.tenant_id = $1 AND v.module = d.module"
	" AND v.version = t.version_after WHERE " CLAIMABLE
	" ORDER BY t.started_at LIMIT $4 FOR NO KEY UPDATE OF t SKIP LOCKED",
	UUIDOID, UUIDOID, TIMESTAMPTZOID, INT4OID);

enum
{
	L_DEPLOYMENT = 1,
	L_STAGE,
	L_ORDINAL,
	L_LEASE_END,
	L_ACTION,
	L_MODULE,
	L_VERSION,
	L_PREVIOUS_VERSION,
	L_DIGEST,
	L_URI,
	L_SIZE,
	L_SETTINGS
};

static DbStatement claim_task = DB_STATEMENT(
	"UPDATE hotswap.task SET token = $5, secret = $6, lease_until = $7, claimed_at = $8,"
	" claimed_by = $9, percent = NULL, progress = NULL"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3 AND ordinal = $4",
	UUIDOID, UUIDOID, INT2OID, INT4OID, INT8OID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID);

/* The columns of the result. */
enum
{
	C_TASK,
	C_TOKEN,
	C_LEASE_UNTIL,
	C_ACTION,
	C_MODULE,
	C_VERSION,
	C_PREVIOUS_VERSION,
	C_DIGEST,
	C_URI,
	C_SIZE,
	C_SETTINGS,
	C_COLUMNS
};

/* ---- waiting ---- */

typedef struct Awaited
{
	pg_uuid_t tenant;
	pg_uuid_t node;
} Awaited;

/* Is there a task for the node, and may the caller have it? */
static bool
has_task(void *arg)
{
	Awaited *a = arg;
	Oid caller = GetUserId();
	Datum args[] = { UUIDPGetDatum(&a->tenant), UUIDPGetDatum(&a->node),
					 TimestampTzGetDatum(GetCurrentTimestamp()) };
	DbScope scope;
	bool found;

	db_enter(&scope);
	agent_require_node(&a->tenant, &a->node, caller);
	found = db_run(&find_task, args, NULL) > 0;
	db_leave(&scope);
	return found;
}

/*
 * await_task(node uuid, timeout interval, INOUT ready boolean)
 *
 * Waits until there is a task for the agent of the node; ends the transaction it is called in and holds no snapshot
 * while it waits.  In: timeout NULL: no limit, zero: does not wait.  Out: false when the time is over.  Errors: 22023;
 * P0002 no such node; 42501 not the role of its agent; 55000 it has none, or the server does not allow to wait;
 * 2D000 inside a transaction block; 53400 too many wait.  Locks nothing.
 */
Datum
hotswap_await_task(PG_FUNCTION_ARGS)
{
	Awaited a = { .tenant = tenant_current(), .node = arg_uuid(fcinfo, 0, "node") };
	TimestampTz end = wait_deadline(fcinfo, 1);
	TupleDesc row;
	Datum ready;
	bool isnull = false;
	bool found;

	wait_enter_call(fcinfo, "Call it outside of one, or hotswap.claim_tasks() now and then.");
	found = has_task(&a);
	if (!found && !wait_deadline_passed(end))
	{
		wait_require("Add it and restart the server, or call hotswap.claim_tasks() now and then.");
		found = wait_in_call(&a.node, has_task, &a, end);
	}
	row = wait_leave_call(fcinfo);
	ready = BoolGetDatum(found);
	return HeapTupleGetDatum(heap_form_tuple(row, &ready, &isnull));
}

/* ---- claiming ---- */

/* A task that is being claimed: its row of the result. */
typedef struct Claim
{
	TaskKey key;
	AgentToken token;
	TimestampTz lease_end;
	Datum values[C_COLUMNS];
	bool nulls[C_COLUMNS];
} Claim;

static void
put_text(Claim *c, int column, const char *value)
{
	c->nulls[column] = value == NULL;
	if (value)
		c->values[column] = CStringGetTextDatum(value);
}

static AgentToken
make_token(void)
{
	AgentToken token = { .counter = token_next() };

	if (!pg_strong_random(&token.secret, sizeof(token.secret)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	return token;
}

/* Takes a row of lock_tasks over. */
static void
read_claim(uint64 row, const pg_uuid_t *tenant, Claim *c)
{
	bool isnull;

	memset(c, 0, sizeof(Claim));
	c->key.tenant = *tenant;
	c->key.deployment = db_uuid(row, L_DEPLOYMENT);
	c->key.stage = db_int32(row, L_STAGE);
	c->key.ordinal = db_int32(row, L_ORDINAL);
	c->lease_end = db_time(row, L_LEASE_END, 0);
	put_text(c, C_TASK, agent_task_text(&c->key));
	c->values[C_LEASE_UNTIL] = TimestampTzGetDatum(c->lease_end);
	put_text(c, C_ACTION, db_text(row, L_ACTION));
	put_text(c, C_MODULE, db_text(row, L_MODULE));
	put_text(c, C_VERSION, db_text(row, L_VERSION));
	put_text(c, C_PREVIOUS_VERSION, db_text(row, L_PREVIOUS_VERSION));
	put_text(c, C_DIGEST, db_text(row, L_DIGEST));
	put_text(c, C_URI, db_text(row, L_URI));
	c->values[C_SIZE] = db_datum(row, L_SIZE, &c->nulls[C_SIZE]);
	c->values[C_SETTINGS] = JsonbPGetDatum(DatumGetJsonbPCopy(db_datum(row, L_SETTINGS, &isnull)));
}

/* Gives a task to the caller. */
static void
claim(Claim *c, TimestampTz now)
{
	DbArgs args = db_args(&claim_task);

	c->token = make_token();
	put_text(c, C_TOKEN, agent_token_text(&c->token));
	db_arg_uuid(&args, &c->key.tenant);
	db_arg_uuid(&args, &c->key.deployment);
	db_arg_int16(&args, c->key.stage);
	db_arg_int32(&args, c->key.ordinal);
	db_arg_int64(&args, c->token.counter);
	db_arg_uuid(&args, &c->token.secret);
	db_arg_time(&args, c->lease_end);
	db_arg_time(&args, now);
	db_arg_text(&args, GetUserNameFromId(GetSessionUserId(), false));
	(void) db_run_args(&args);
	wake_lease(c->lease_end);
}

/*
 * claim_tasks(node uuid, max integer) returns setof (task, token, lease_until, action, module, version,
 *		previous_version, digest, uri, size, settings)
 *
 * In: max 1 to 100.  Out: what the agent of the node has to do, first what was given out first; none: there is
 * nothing now.  Counts when the transaction commits.  Errors: 22023; P0002 no such node; 42501 not the role of its
 * agent; 55000 it has none.  Locks and writes the tasks; waits for nobody.
 */
Datum
hotswap_claim_tasks(PG_FUNCTION_ARGS)
{
	pg_uuid_t node = arg_uuid(fcinfo, 0, "node");
	int32 max = arg_int32(fcinfo, 1, "max", 1, CLAIM_LIMIT);
	pg_uuid_t tenant = tenant_current();
	TimestampTz now = GetCurrentTimestamp();
	Datum args[] = { UUIDPGetDatum(&tenant), UUIDPGetDatum(&node), TimestampTzGetDatum(now),
					 Int32GetDatum(max) };
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	DbScope scope;
	Claim *claims;
	uint64 n;

	InitMaterializedSRF(fcinfo, 0);
	db_enter(&scope);
	agent_require_node(&tenant, &node, scope.caller);
	n = db_run(&lock_tasks, args, NULL);
	claims = palloc(Max(n, 1) * sizeof(Claim));
	for (uint64 i = 0; i < n; i++)
		read_claim(i, &tenant, &claims[i]);
	for (uint64 i = 0; i < n; i++)
	{
		claim(&claims[i], now);
		tuplestore_putvalues(result->setResult, result->setDesc, claims[i].values, claims[i].nulls);
	}
	db_leave(&scope);
	return (Datum) 0;
}
