/*
 * deployment.c
 *		Deployments: the row and its transitions, and the functions deploy(), cancel() and retry().
 *
 * A transition locks the row, goes through deployment_machine, and writes the row, its audit events
 * and its work item together; at commit the dispatcher and the waiters are told.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/errors.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/approval.h"
#include "core/deployment.h"
#include "core/person.h"
#include "core/steps.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "lock/idempotency.h"
#include "miscadmin.h"
#include "module/signing_key.h"
#include "pipeline/pipeline.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define KEY_LIMIT 255

PG_FUNCTION_INFO_V1(hotswap_deploy);
PG_FUNCTION_INFO_V1(hotswap_cancel);
PG_FUNCTION_INFO_V1(hotswap_retry);

#define DEPLOYMENT_COLUMNS                                                                  \
	"status, priority, module, version, environment, run_at, start_by, started_at,"         \
	" cancel_requested_at, cancel_reason, sqlstate, message, audit_seq, audit_hash, gated," \
	" requested_by, login"

static DbStatement lock_wait = DB_STATEMENT("SELECT " DEPLOYMENT_COLUMNS " FROM hotswap.deployment"
											" WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",
											UUIDOID, UUIDOID);

static DbStatement lock_skip =
	DB_STATEMENT("SELECT " DEPLOYMENT_COLUMNS " FROM hotswap.deployment"
				 " WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE SKIP LOCKED",
				 UUIDOID, UUIDOID);

static DbStatement exists_query =
	DB_STATEMENT("SELECT 1 FROM hotswap.deployment WHERE tenant_id = $1 AND id = $2", UUIDOID,
				 UUIDOID);

static DbStatement update_deployment = DB_STATEMENT(
	"UPDATE hotswap.deployment SET status = $3::hotswap.deployment_status, started_at = $4,"
	" finished_at = $5, cancel_requested_at = $6, cancel_reason = $7, sqlstate = $8, message = $9,"
	" audit_seq = $10, audit_hash = $11, gated = $12 WHERE tenant_id = $1 AND id = $2",
	UUIDOID, UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID,
	TEXTOID, INT4OID, BYTEAOID, BOOLOID);

static DbStatement delete_work =
	DB_STATEMENT("DELETE FROM hotswap.work_item WHERE tenant_id = $1 AND deployment_id = $2",
				 UUIDOID, UUIDOID);

static DbStatement update_work =
	DB_STATEMENT("UPDATE hotswap.work_item SET due_at = $3"
				 " WHERE tenant_id = $1 AND deployment_id = $2 AND due_at <> $3",
				 UUIDOID, UUIDOID, TIMESTAMPTZOID);

static DbStatement insert_work = DB_STATEMENT(
	"INSERT INTO hotswap.work_item (tenant_id, deployment_id, due_at, priority) VALUES ($1, $2, $3, $4)",
	UUIDOID, UUIDOID, TIMESTAMPTZOID, INT4OID);

static DbStatement insert_deployment = DB_STATEMENT(
	"INSERT INTO hotswap.deployment (tenant_id, id, status, priority, module, version, environment,"
	" requested_at, run_at, start_by, requested_by, run_by_role, idempotency_key, metadata, audit_seq,"
	" audit_hash, gated, login) VALUES ($1, $2, $3::hotswap.deployment_status, $4, $5, $6, $7, $8, $9,"
	" $10, $11, $12::name, $13, $14, $15, $16, $17, $18::name)",
	UUIDOID, UUIDOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, INT4OID, BYTEAOID, BOOLOID, TEXTOID);

/* everything a request refers to, in one look-up */
static DbStatement look_up = DB_STATEMENT(
	"SELECT (SELECT status FROM hotswap.tenant WHERE id = $1),"
	" (SELECT EXISTS (SELECT 1 FROM hotswap.environment p WHERE p.tenant_id = $1 AND p.rank <= e.rank"
	" AND (p.min_approvals > 0 OR p.require_signature))"
	" FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.name = $2),"
	" EXISTS (SELECT 1 FROM hotswap.module_version WHERE tenant_id = $1 AND module = $3 AND version = $4)",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

/* what the environments on a path ask for, if one asks for something */
static DbStatement demands_query = DB_STATEMENT(
	"SELECT bool_or(p.min_approvals > 0),"
	" (array_agg(p.name ORDER BY p.rank) FILTER (WHERE p.require_signature))[1]"
	" FROM hotswap.environment e JOIN hotswap.environment p ON p.tenant_id = $1 AND p.rank <= e.rank"
	" WHERE e.tenant_id = $1 AND e.name = $2",
	UUIDOID, TEXTOID);

static DbStatement running_query =
	DB_STATEMENT("SELECT d.id FROM hotswap.work_item w CROSS JOIN LATERAL"
				 " (SELECT * FROM hotswap.deployment d"
				 " WHERE d.tenant_id = w.tenant_id AND d.id = w.deployment_id OFFSET 0) d"
				 " WHERE w.tenant_id = $1 AND d.id <> $2 AND d.module = $3"
				 " AND d.status IN ('running', 'paused', 'rolling_back') LIMIT 1",
				 UUIDOID, UUIDOID, TEXTOID);

/* A request, as deploy() checked it. */
typedef struct Request
{
	pg_uuid_t tenant;
	pg_uuid_t id;
	char *module;
	char *version;
	char *environment;
	char *key;
	int32 priority;
	TimestampTz run_at;
	TimestampTz start_by;
	Jsonb *metadata;
	char *on_behalf_of;
	List *require_approval; /* of names */
	bool is_protected;      /* the path has a protected environment */
} Request;

void
deployment_refuse_missing(const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND), errmsg("no such deployment: %s", uuid_text(id))));
}

/*
 * Locks a deployment's row and reads it, inside a scope.  With skip_locked it does not wait for
 * somebody who has the row; the dispatcher never does.
 */
DeploymentFound
deployment_lock(Deployment *d, const pg_uuid_t *tenant, const pg_uuid_t *id,
				const AuditActor *actor, bool skip_locked)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(id) };
	Datum hash;
	bool isnull;

	if (db_run(skip_locked ? &lock_skip : &lock_wait, args, NULL) == 0)
	{
		if (skip_locked && db_run(&exists_query, args, NULL) > 0)
			return DEPLOYMENT_LOCKED;
		return DEPLOYMENT_MISSING;
	}
	d->tenant = *tenant;
	d->id = *id;
	d->status = d->loaded_status = machine_parse(&deployment_machine, db_text(0, 1));
	d->priority = db_int32(0, 2);
	d->module = db_text(0, 3);
	d->version = db_text(0, 4);
	d->environment = db_text(0, 5);
	d->run_at = db_time(0, 6, TIME_NULL);
	d->start_by = db_time(0, 7, TIME_NULL);
	d->started_at = db_time(0, 8, TIME_NULL);
	d->cancel_requested_at = db_time(0, 9, TIME_NULL);
	d->cancel_reason = db_text(0, 10);
	d->sqlstate = db_text(0, 11);
	d->message = db_text(0, 12);
	hash = db_datum(0, 14, &isnull);
	audit_chain_set(&d->chain, "deployment", tenant, id, db_int32(0, 13), hash, isnull);
	d->gated = db_bool(0, 15);
	d->requested_by = db_text(0, 16);
	d->login = db_text(0, 17);
	d->tell_waiters = false;
	d->batch = audit_batch(actor);
	return DEPLOYMENT_FOUND;
}

/* Makes a transition in memory; deployment_save() writes it. */
void
deployment_apply(Deployment *d, DeploymentEvent event, const char *reason)
{
	DeploymentStatus before = d->status;

	d->status = machine_next(&deployment_machine, before, event);
	if (event == DEPLOYMENT_START && d->started_at == TIME_NULL)
		d->started_at = GetCurrentTimestamp();
	if (d->status == DEPLOYMENT_CANCELLED)
		d->message = pstrdup(reason);
	audit_add(d->batch, &d->chain, deployment_machine.events[event],
			  deployment_machine.statuses[before], deployment_machine.statuses[d->status], reason,
			  NULL);
}

/* Writes the row, the audit events and, if the deployment has ended, the end of its work item. */
void
deployment_save(Deployment *d)
{
	bool ended = deployment_is_final(d->status);
	Datum args[12];
	bool nulls[12] = { false };

	if (ended && d->gated)
		approval_close(d);
	args[0] = UUIDPGetDatum(&d->tenant);
	args[1] = UUIDPGetDatum(&d->id);
	args[2] = CStringGetTextDatum(deployment_machine.statuses[d->status]);
	args[3] = TimestampTzGetDatum(d->started_at);
	nulls[3] = d->started_at == TIME_NULL;
	args[4] = TimestampTzGetDatum(GetCurrentTimestamp());
	nulls[4] = !ended;
	args[5] = TimestampTzGetDatum(d->cancel_requested_at);
	nulls[5] = d->cancel_requested_at == TIME_NULL;
	args[6] = d->cancel_reason ? CStringGetTextDatum(d->cancel_reason) : (Datum) 0;
	nulls[6] = d->cancel_reason == NULL;
	args[7] = d->sqlstate ? CStringGetTextDatum(d->sqlstate) : (Datum) 0;
	nulls[7] = d->sqlstate == NULL;
	args[8] = d->message ? CStringGetTextDatum(d->message) : (Datum) 0;
	nulls[8] = d->message == NULL;
	audit_flush(d->batch);
	args[9] = Int32GetDatum(d->chain.seq);
	args[10] = digest_datum(d->chain.hash);
	args[11] = BoolGetDatum(d->gated);
	if (db_run(&update_deployment, args, nulls) != 1)
		elog(ERROR, "deployment was not updated");
	if (ended)
		(void) db_run(&delete_work, args, NULL);
	wake_deployment(&d->tenant, &d->id, ended || d->tell_waiters);
	if (ended && d->loaded_status != d->status)
		ereport(hotswap_log_level,
				(errmsg("deployment %s of %s %s to %s: %s", uuid_text(&d->id), d->module,
						d->version, d->environment, deployment_machine.statuses[d->status]),
				 errhidestmt(true)));
}

/* Sets when the dispatcher has to look at the deployment, whatever happens or does not happen. */
void
deployment_due(const Deployment *d, TimestampTz due)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id), TimestampTzGetDatum(due) };

	(void) db_run(&update_work, args, NULL);
}

static void
insert_work_item(const pg_uuid_t *tenant, const pg_uuid_t *id, TimestampTz due, int32 priority)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(id), TimestampTzGetDatum(due),
					 Int32GetDatum(priority) };

	(void) db_run(&insert_work, args, NULL);
}

static void
read_request(FunctionCallInfo fcinfo, Request *r)
{
	r->module = arg_identifier(fcinfo, 0, "module");
	r->version = arg_identifier(fcinfo, 1, "version");
	r->environment = arg_text(fcinfo, 2, "environment", NAME_LIMIT);
	r->key = arg_text_or_null(fcinfo, 3, "idempotency_key", KEY_LIMIT);
	r->priority = arg_int32(fcinfo, 4, "priority", -PRIORITY_LIMIT, PRIORITY_LIMIT);
	r->run_at = arg_time(fcinfo, 5, "run_at");
	r->start_by = arg_time(fcinfo, 6, "start_by");
	r->metadata = arg_object(fcinfo, 7, "metadata");
	r->on_behalf_of = arg_text_or_null(fcinfo, 8, "on_behalf_of", PERSON_LIMIT);
	r->require_approval = arg_names(fcinfo, 9, "require_approval", NAME_LIMIT);
	r->tenant = tenant_argument(fcinfo, 10);
	if (r->start_by != ARG_TIME_NULL && r->run_at != ARG_TIME_NULL && r->start_by <= r->run_at)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("start_by must be later than run_at")));
}

/* All arguments that matter; metadata in its canonical form. */
static void
fingerprint(const Request *r, uint8 *result)
{
	pg_cryptohash_ctx *ctx = digest_begin();
	ListCell *cell;

	digest_field(ctx, r->module);
	digest_field(ctx, r->version);
	digest_field(ctx, r->environment);
	digest_int64(ctx, r->priority);
	digest_int64(ctx, r->run_at);
	digest_int64(ctx, r->start_by);
	digest_field(ctx, jsonb_text(r->metadata));
	digest_field(ctx, r->on_behalf_of);
	foreach (cell, r->require_approval)
		digest_field(ctx, lfirst(cell));
	digest_end(ctx, result);
}

/* Notes whether the path is protected; refuses a version that lacks a signature it needs there. */
static void
check_demands(Request *r)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->environment) };
	SignedVersion version = { &r->tenant, r->module, r->version, NULL };
	char *requires_signature;

	(void) db_run(&demands_query, args, NULL);
	r->is_protected = db_bool(0, 1);
	requires_signature = db_text(0, 2);
	if (requires_signature)
		(void) version_require_signature(&version, requires_signature);
}

static void
check_references(Request *r)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->environment),
					 CStringGetTextDatum(r->module), CStringGetTextDatum(r->version) };

	tenant_enter(&r->tenant);
	(void) db_run_snapshot(&look_up, args, GetLatestSnapshot());
	tenant_require_active(&r->tenant, db_text(0, 1));
	if (db_isnull(0, 2))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("no such environment: \"%s\"", r->environment)));
	if (!db_bool(0, 3))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("no such version: \"%s\" of module \"%s\"", r->version, r->module),
						errhint("Versions are made by hotswap.publish_version().")));
	r->is_protected = false;
	if (db_bool(0, 2))
		check_demands(r);
}

static void
insert_request(const Request *r, const AuditActor *actor, const Deployment *d)
{
	Datum args[18];
	bool nulls[18] = { false };

	args[0] = UUIDPGetDatum(&r->tenant);
	args[1] = UUIDPGetDatum(&r->id);
	args[2] = CStringGetTextDatum(deployment_machine.statuses[d->status]);
	args[3] = Int32GetDatum(r->priority);
	args[4] = CStringGetTextDatum(r->module);
	args[5] = CStringGetTextDatum(r->version);
	args[6] = CStringGetTextDatum(r->environment);
	args[7] = TimestampTzGetDatum(GetCurrentTimestamp());
	args[8] = TimestampTzGetDatum(r->run_at);
	nulls[8] = r->run_at == ARG_TIME_NULL;
	args[9] = TimestampTzGetDatum(r->start_by);
	nulls[9] = r->start_by == ARG_TIME_NULL;
	args[10] = CStringGetTextDatum(actor->person);
	args[11] = CStringGetTextDatum(actor->role);
	args[12] = r->key ? CStringGetTextDatum(r->key) : (Datum) 0;
	nulls[12] = r->key == NULL;
	args[13] = JsonbPGetDatum(r->metadata);
	args[14] = Int32GetDatum(d->chain.seq);
	args[15] = digest_datum(d->chain.hash);
	args[16] = BoolGetDatum(d->gated);
	args[17] = CStringGetTextDatum(d->login);
	(void) db_run(&insert_deployment, args, nulls);
}

/* The deployment that a request asks for, in memory. */
static void
describe(const Request *r, const AuditActor *actor, Deployment *d)
{
	bool later = r->run_at != ARG_TIME_NULL && r->run_at > GetCurrentTimestamp();

	memset(d, 0, sizeof(Deployment));
	d->tenant = r->tenant;
	d->id = r->id;
	d->status = later ? DEPLOYMENT_SCHEDULED : DEPLOYMENT_QUEUED;
	d->priority = r->priority;
	d->module = r->module;
	d->version = r->version;
	d->environment = r->environment;
	d->run_at = later ? r->run_at : TIME_NULL;
	d->requested_by = actor->person;
	d->login = actor->login;
	audit_chain_set(&d->chain, "deployment", &r->tenant, &r->id, 0, (Datum) 0, true);
	d->batch = audit_batch(actor);
}

/* Writes the deployment, its approvals, its first audit events and its work item. */
static void
create_deployment(const Request *r, const AuditActor *actor)
{
	Deployment d;

	describe(r, actor, &d);
	audit_add(d.batch, &d.chain, "request", NULL, deployment_machine.statuses[d.status], NULL,
			  audit_detail("module", r->module, "version", r->version, "environment",
						   r->environment, NULL));
	if (r->is_protected || r->require_approval != NIL)
		approval_open_path(&d, pipeline_path(&d.tenant, d.environment), r->require_approval, NIL);
	insert_request(r, actor, &d);
	insert_work_item(&d.tenant, &d.id, d.run_at == TIME_NULL ? GetCurrentTimestamp() : d.run_at,
					 d.priority);
	audit_flush(d.batch);
	wake_deployment(&d.tenant, &d.id, false);
}

/*
 * deploy(module, version, environment, idempotency_key, priority, run_at, start_by, metadata,
 *		  on_behalf_of, require_approval, tenant) returns the deployment's id
 *
 * See the COMMENT in sql/deployment.sql for limits and errors.  Waits for nobody but a concurrent
 * request with the same key.  Writes deployment, work_item, audit_event, the key, and, where
 * the path has a protected environment, approval and notification.
 */
Datum
hotswap_deploy(PG_FUNCTION_ARGS)
{
	Request r;
	AuditActor actor;
	DbScope scope;
	pg_uuid_t *result = palloc(sizeof(pg_uuid_t));
	uint8 print[DIGEST_LENGTH];
	bool is_new = true;

	read_request(fcinfo, &r);
	audit_actor(&actor, r.on_behalf_of);
	uuid7_generate(&r.id);
	if (r.key)
		fingerprint(&r, print);
	db_enter(&scope);
	access_require(&r.tenant, scope.caller, CAPABILITY_DEPLOYER, "deploy");
	if (r.on_behalf_of)
		access_require(&r.tenant, scope.caller, CAPABILITY_IMPERSONATOR,
					   psprintf("act on behalf of \"%s\"", r.on_behalf_of));
	if (r.key)
	{
		is_new = !idempotency_find(&r.tenant, "deploy", r.key, print, &r.id);
		if (is_new)
		{
			check_references(&r);
			is_new = idempotency_claim(&r.tenant, "deploy", r.key, print, &r.id);
		}
	}
	else
		check_references(&r);
	if (is_new)
		create_deployment(&r, &actor);
	db_leave(&scope);
	*result = r.id;
	PG_RETURN_UUID_P(result);
}

/* A status of a machine as a value of the function's result type. */
Datum
status_datum(FunctionCallInfo fcinfo, const Machine *machine, int status)
{
	return status_value(get_func_rettype(fcinfo->flinfo->fn_oid), machine, status);
}

/* The same of the enum with this OID. */
Datum
status_value(Oid type, const Machine *machine, int status)
{
	return OidInputFunctionCall(F_ENUM_IN, unconstify(char *, machine->statuses[status]), type, -1);
}

/* Locks a deployment of the caller's tenant; raises P0002.  The caller's rights there have been checked. */
void
deployment_lock_existing(Deployment *d, const pg_uuid_t *id, const AuditActor *actor)
{
	pg_uuid_t tenant = tenant_current();

	if (deployment_lock(d, &tenant, id, actor, false) == DEPLOYMENT_MISSING)
		deployment_refuse_missing(id);
}

/* Cancels a locked deployment, or asks the dispatcher to, and writes it. */
void
deployment_cancel(Deployment *d, char *reason)
{
	deployment_apply(d, DEPLOYMENT_CANCEL, reason);
	d->cancel_requested_at = GetCurrentTimestamp();
	d->cancel_reason = reason;
	if (deployment_is_final(d->status))
		plan_cancel_stages(d, NULL);
	deployment_save(d);
	if (!deployment_is_final(d->status))
		deployment_due(d, d->cancel_requested_at);
}

/*
 * cancel(deployment uuid, reason text) returns the status
 *
 * What has not started ends here and now; what runs is left to the dispatcher, which cannot miss
 * it: an executor that is about to record success locks the row that is locked here.
 */
Datum
hotswap_cancel(PG_FUNCTION_ARGS)
{
	pg_uuid_t id = arg_uuid(fcinfo, 0, "deployment");
	char *reason = arg_text(fcinfo, 1, "reason", REASON_LIMIT);
	Deployment d;
	pg_uuid_t tenant = tenant_current();
	AuditActor actor;
	DbScope scope;

	audit_actor(&actor, NULL);
	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_DEPLOYER, "cancel a deployment");
	deployment_lock_existing(&d, &id, &actor);
	if (d.status == DEPLOYMENT_RUNNING && d.cancel_requested_at != TIME_NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("deployment %s is already being cancelled", uuid_text(&id))));
	deployment_cancel(&d, reason);
	db_leave(&scope);
	return deployment_status_datum(fcinfo, d.status);
}

/* A rollback does not wait for its lane: whoever is there now would be in each other's way. */
static void
require_free_module(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 CStringGetTextDatum(d->module) };
	pg_uuid_t other;

	if (db_run(&running_query, args, NULL) == 0)
		return;
	other = db_uuid(0, 1);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot resume the rollback while another deployment of module \"%s\" is "
					"running",
					d->module),
			 errdetail("It is deployment %s.", uuid_text(&other)), errhint("Wait for its end.")));
}

/*
 * retry(deployment uuid) returns the status
 *
 * Whatever has to be reset in stages and tasks is reset by the dispatcher when it starts the
 * deployment again.  The tenant must be active.
 */
Datum
hotswap_retry(PG_FUNCTION_ARGS)
{
	pg_uuid_t id = arg_uuid(fcinfo, 0, "deployment");
	pg_uuid_t tenant = tenant_current();
	Deployment d;
	AuditActor actor;
	DbScope scope;

	audit_actor(&actor, NULL);
	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_DEPLOYER, "retry a deployment");
	installation_ensure();
	tenant_enter_active(&tenant);
	deployment_lock_existing(&d, &id, &actor);
	if (d.status == DEPLOYMENT_ROLLBACK_FAILED)
		require_free_module(&d);
	deployment_apply(&d,
					 d.status == DEPLOYMENT_ROLLBACK_FAILED ? DEPLOYMENT_RETRY_ROLLBACK :
															  DEPLOYMENT_RETRY,
					 NULL);
	if (d.gated && d.status == DEPLOYMENT_QUEUED)
		approval_open_path(&d, pipeline_path(&d.tenant, d.environment), NIL, approval_load(&d));
	deployment_save(&d);
	insert_work_item(&d.tenant, &d.id, GetCurrentTimestamp(), d.priority);
	db_leave(&scope);
	return deployment_status_datum(fcinfo, d.status);
}
