/*
 * heartbeat.c
 *		Nodes, or who watches them, report how they are: heartbeat().
 *
 * A report is a row and nothing else.  Its time is that of the server, in whole seconds: the key makes that
 * one a second and node.  Numbers are what happened since the report before, so nobody who reports twice
 * counts twice.
 *
 * An agent that gives the token of its task extends its lease by it.
 *
 * Locks nothing but the key of the row, and the task.
 */
#include "postgres.h"

#include <math.h>

#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/agent_task.h"
#include "core/metric_slot.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(hotswap_heartbeat);

#define DETAILS_LIMIT 8192 /* bytes as text */
#define LATENCY_MAX 1e9    /* ms */

static DbStatement find_node = DB_STATEMENT(
	"SELECT n.name, n.run_as::oid, e.metrics_from::oid FROM hotswap.node n JOIN hotswap.environment e"
	" ON e.tenant_id = n.tenant_id AND e.name = n.environment"
	" WHERE n.tenant_id = $1 AND n.id = $2 AND n.removed_at IS NULL",
	UUIDOID, UUIDOID);

static DbStatement insert_metric = DB_STATEMENT(
	"INSERT INTO hotswap.node_metric (tenant_id, node_id, at, counts, slot, cpu, memory, latency_ms, requests,"
	" errors, digest, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
	" ON CONFLICT DO NOTHING",
	UUIDOID, UUIDOID, TIMESTAMPTZOID, BOOLOID, INT2OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, INT8OID,
	INT8OID, BYTEAOID, JSONBOID);

enum
{
	ARG_NODE,
	ARG_CPU,
	ARG_MEMORY,
	ARG_LATENCY,
	ARG_REQUESTS,
	ARG_ERRORS,
	ARG_DIGEST,
	ARG_DETAILS,
	ARG_TASK,
	ARG_TOKEN,
	ARG_TENANT
};

/* A number that may be missing; NaN would poison every comparison. */
static void
require_number(FunctionCallInfo fcinfo, int n, const char *word, double most)
{
	double value;

	if (PG_ARGISNULL(n))
		return;
	value = PG_GETARG_FLOAT8(n);
	if (isnan(value) || value < 0 || value > most)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is out of range: %g", word, value),
						errdetail("It must be between 0 and %g.", most)));
}

static void
require_counts(FunctionCallInfo fcinfo)
{
	int64 requests = PG_ARGISNULL(ARG_REQUESTS) ? 0 : PG_GETARG_INT64(ARG_REQUESTS);
	int64 errors = PG_ARGISNULL(ARG_ERRORS) ? 0 : PG_GETARG_INT64(ARG_ERRORS);

	if (requests < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"requests\" must not be negative: " INT64_FORMAT, requests)));
	if (errors < 0 || errors > requests)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"errors\" is out of range: " INT64_FORMAT, errors),
				 errdetail("It must be between 0 and the number of requests, which is " INT64_FORMAT
						   ".",
						   requests)));
}

/* The SHA-256 of what runs, in hex; false if it is not said. */
static bool
read_digest(FunctionCallInfo fcinfo, uint8 *digest)
{
	char *text = arg_text_or_null(fcinfo, ARG_DIGEST, "digest", 2 * DIGEST_LENGTH);

	if (text == NULL)
		return false;
	if (!digest_parse(text, digest))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for \"digest\": \"%s\"", text),
				 errdetail("It must be a SHA-256 in hex, as publish_version() returns it.")));
	return true;
}

static void
require_details(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(ARG_DETAILS))
		return;
	if (strlen(jsonb_text(arg_object(fcinfo, ARG_DETAILS, "details"))) > DETAILS_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"details\" is too large"),
				 errdetail("At most %d bytes are allowed.", DETAILS_LIMIT)));
}

/*
 * May the caller report for the node?  Who may not learns nothing of it.  Returns whether the numbers count, and the
 * node's name.
 */
static bool
find_right(const pg_uuid_t *tenant, const pg_uuid_t *node, Oid caller, char **name)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(node) };
	bool is_there = db_run(&find_node, args, NULL) > 0;
	Oid run_as = is_there ? db_oid(0, 2) : InvalidOid;
	Oid from = is_there ? db_oid_or_none(0, 3) : InvalidOid;
	bool is_source = OidIsValid(from) && has_privs_of_role(caller, from);

	*name = is_there ? db_text(0, 1) : NULL;
	if (!is_source && !(is_there && has_privs_of_role(caller, run_as)))
		access_require(tenant, caller, CAPABILITY_OPERATOR, "report for a node");
	if (!is_there)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("node \"%s\" does not exist", uuid_text(node))));
	return is_source || !OidIsValid(from);
}

static void
bind_number(DbArgs *args, FunctionCallInfo fcinfo, int n, Oid type)
{
	db_arg_datum(args, type, PG_GETARG_DATUM(n), PG_ARGISNULL(n));
}

/* The lease of the task that an agent is at. */
static void
extend_lease(FunctionCallInfo fcinfo, const pg_uuid_t *tenant, Oid caller)
{
	TaskKey key;
	AgentToken token;
	AgentTask task;

	if (PG_ARGISNULL(ARG_TASK) && PG_ARGISNULL(ARG_TOKEN))
		return;
	key = agent_task_argument(fcinfo, ARG_TASK);
	key.tenant = *tenant;
	token = agent_token_argument(fcinfo, ARG_TOKEN);
	agent_task_lock(&task, &key, &token, caller);
	agent_task_extend(&task);
}

/*
 * heartbeat(node uuid, cpu double precision, memory double precision, latency_ms double precision,
 *		requests bigint, errors bigint, digest text, details jsonb, task text, token text, tenant uuid)
 *
 * In: cpu and memory in percent; requests, errors and latency of the time since the report before; all but the
 * node may be NULL.  For who has the privileges of the node's role or of the environment's metrics_from, and for
 * operators.  task and token: of a task that was claimed, whose lease is extended.  Errors: 22023; 42501; P0002 no
 * such node; 55000 a report of the same second is there; YH002 the token is stale.  Writes node_metric and the task.
 */
Datum
hotswap_heartbeat(PG_FUNCTION_ARGS)
{
	pg_uuid_t node = arg_uuid(fcinfo, ARG_NODE, "node");
	pg_uuid_t tenant = tenant_argument(fcinfo, ARG_TENANT);
	TimestampTz now = GetCurrentTimestamp();
	DbArgs args = db_args(&insert_metric);
	uint8 digest[DIGEST_LENGTH];
	bool has_digest = read_digest(fcinfo, digest);
	DbScope scope;
	char *name;

	require_number(fcinfo, ARG_CPU, "cpu", 100);
	require_number(fcinfo, ARG_MEMORY, "memory", 100);
	require_number(fcinfo, ARG_LATENCY, "latency_ms", LATENCY_MAX);
	require_counts(fcinfo);
	require_details(fcinfo);
	db_enter(&scope);
	db_arg_uuid(&args, &tenant);
	db_arg_uuid(&args, &node);
	db_arg_time(&args, now - now % USECS_PER_SEC);
	db_arg_bool(&args, find_right(&tenant, &node, scope.caller, &name));
	db_arg_int16(&args, metric_slot(now));
	for (int n = ARG_CPU; n <= ARG_LATENCY; n++)
		bind_number(&args, fcinfo, n, FLOAT8OID);
	bind_number(&args, fcinfo, ARG_REQUESTS, INT8OID);
	bind_number(&args, fcinfo, ARG_ERRORS, INT8OID);
	db_arg_digest(&args, has_digest ? digest : NULL);
	bind_number(&args, fcinfo, ARG_DETAILS, JSONBOID);
	if (db_run_args(&args) == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node \"%s\" has reported in this second already", name),
						errhint("Report at most once a second.")));
	extend_lease(fcinfo, &tenant, scope.caller);
	db_leave(&scope);
	PG_RETURN_VOID();
}
