/*
 * deploy.c
 *		Requests: deploy().
 *
 * Locks: the tenant's activity (tenant_enter()), and the idempotency key.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/call.h"
#include "core/deployment_save.h"
#include "core/missing.h"
#include "core/path.h"
#include "core/person.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "lock/idempotency.h"
#include "module/examination.h"
#include "module/signature_check.h"
#include "module/tag.h"
#include "shm/shmem.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_deploy);

#define KEY_LIMIT 255

static DbStatement insert_deployment = DB_STATEMENT(
	"INSERT INTO hotswap.deployment (tenant_id, id, status, priority, module, version, environment,"
	" requested_at, run_at, start_by, requested_by, run_by_role, idempotency_key, metadata, audit_seq,"
	" audit_hash, gated, login, requester, login_role) VALUES ($1, $2, $3::hotswap.deployment_status, $4, $5, $6, $7, $8, $9,"
	" $10, $11, $12::name, $13, $14, $15, $16, $17, $18::name, $19::regrole, $20::regrole)",
	UUIDOID, UUIDOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, INT4OID, BYTEAOID, BOOLOID, TEXTOID,
	OIDOID, OIDOID);

/* everything a request refers to, in one look-up */
static DbStatement look_up = DB_STATEMENT(
	"SELECT (SELECT status FROM hotswap.tenant WHERE id = $1),"
	" (SELECT EXISTS (SELECT 1 FROM hotswap.environment p WHERE p.tenant_id = $1 AND p.rank <= e.rank"
	" AND (p.min_approvals > 0 OR p.require_signature))"
	" FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.name = $2),"
	" v.digest, v.findings::text, v.findings_digest FROM (VALUES (1)) one LEFT JOIN hotswap.module_version v"
	" ON v.tenant_id = $1 AND v.module = $3 AND v.version = $4",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

/* what the environments on a path ask for, if one asks for something */
static DbStatement demands_query = DB_STATEMENT(
	"SELECT bool_or(p.min_approvals > 0),"
	" (array_agg(p.name ORDER BY p.rank) FILTER (WHERE p.require_signature))[1]"
	" FROM hotswap.environment e JOIN hotswap.environment p ON p.tenant_id = $1 AND p.rank <= e.rank"
	" WHERE e.tenant_id = $1 AND e.name = $2",
	UUIDOID, TEXTOID);

/* A request, as deploy() checked it. */
typedef struct Request
{
	pg_uuid_t tenant;
	pg_uuid_t id;
	char *module;
	char *version;
	char *tag; /* by which it was named, or NULL */
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

static void
deploy_read_request(FunctionCallInfo fcinfo, Request *r)
{
	r->module = arg_module(fcinfo, 0);
	r->version = arg_version(fcinfo, 1, "version");
	r->tag = NULL;
	r->environment = arg_text(fcinfo, 2, "environment", NAME_LIMIT);
	r->key = arg_text_or_null(fcinfo, 3, "idempotency_key", KEY_LIMIT);
	r->priority = arg_int32(fcinfo, 4, "priority", -PRIORITY_LIMIT, PRIORITY_LIMIT);
	r->run_at = arg_time(fcinfo, 5, "run_at");
	r->start_by = arg_time(fcinfo, 6, "start_by");
	r->metadata = arg_object(fcinfo, 7, "metadata");
	r->on_behalf_of = arg_person(fcinfo, 8);
	r->require_approval = arg_names(fcinfo, 9, "require_approval", NAME_LIMIT);
	r->tenant = tenant_argument(fcinfo, 10);
	if (r->start_by != ARG_TIME_NULL && r->run_at != ARG_TIME_NULL && r->start_by <= r->run_at)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"start_by\" must be later than \"run_at\"")));
}

/* All arguments that matter; metadata in its canonical form. */
static void
deploy_fingerprint(const Request *r, uint8 *result)
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
	SignedVersion version = { &r->tenant, r->module, r->version, NULL, false };
	char *requires_signature;

	(void) db_run_newest(&demands_query, args, NULL);
	r->is_protected = db_bool(0, 1);
	requires_signature = db_text(0, 2);
	if (requires_signature)
		(void) version_require_signature(&version, requires_signature);
}

/* Looks up what the request refers to; the version may be given by a tag, which is seldom, and asked for then. */
static void
find_references(Request *r, uint8 *digest)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->environment),
					 CStringGetTextDatum(r->module), CStringGetTextDatum(r->version) };

	(void) db_run_newest(&look_up, args, NULL);
	tenant_require_active(&r->tenant, db_text(0, 1));
	if (db_isnull(0, 2))
		environment_refuse_missing(&r->tenant, r->environment);
	if (db_digest(0, 3, digest))
		return;
	r->tag = r->version;
	r->version = version_resolve(&r->tenant, r->module, r->tag);
	args[3] = CStringGetTextDatum(r->version);
	(void) db_run_newest(&look_up, args, NULL);
	if (!db_digest(0, 3, digest))
		version_refuse_missing(r->module, r->version);
}

static void
check_references(Request *r)
{
	uint8 digest[DIGEST_LENGTH];
	uint8 findings_digest[DIGEST_LENGTH];
	bool is_examined;

	tenant_enter(&r->tenant);
	find_references(r, digest);
	r->is_protected = db_bool(0, 2);
	is_examined = db_digest(0, 5, findings_digest) &&
				  version_findings_fit(digest, db_text(0, 4), findings_digest);
	if (r->is_protected)
		check_demands(r);
	if (!is_examined)
		examination_renew(&r->tenant, r->module, r->version);
}

static void
deploy_insert(const Request *r, const AuditActor *actor, const Deployment *d)
{
	DbArgs args = db_args(&insert_deployment);

	db_arg_uuid(&args, &r->tenant);
	db_arg_uuid(&args, &r->id);
	db_arg_text(&args, deployment_machine.statuses[d->status]);
	db_arg_int32(&args, r->priority);
	db_arg_text(&args, r->module);
	db_arg_text(&args, r->version);
	db_arg_text(&args, r->environment);
	db_arg_time(&args, GetCurrentTimestamp());
	db_arg_time(&args, r->run_at);
	db_arg_time(&args, r->start_by);
	db_arg_text(&args, actor->person);
	db_arg_text(&args, actor->role);
	db_arg_text(&args, r->key);
	db_arg_jsonb(&args, r->metadata);
	db_arg_int32(&args, d->chain.seq);
	db_arg_digest(&args, d->chain.hash);
	db_arg_bool(&args, d->gated);
	db_arg_text(&args, d->login);
	db_arg_oid(&args, d->requester);
	db_arg_oid(&args, d->login_role);
	(void) db_run_args(&args);
}

/* The deployment that a request asks for, in memory. */
static void
deploy_describe(const Request *r, const AuditActor *actor, Deployment *d)
{
	Person person;
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
	person_current(&person, r->on_behalf_of);
	d->requester = person.known;
	d->login_role = person.login_role;
	audit_chain_set(&d->chain, "deployment", &r->tenant, &r->id, 0, (Datum) 0, true);
	d->batch = audit_batch(actor);
}

/* Writes the deployment, its approvals, its first audit events and its work item. */
static void
create_deployment(const Request *r, const AuditActor *actor)
{
	Deployment d;

	deploy_describe(r, actor, &d);
	audit_add(d.batch, &d.chain, "request", NULL, deployment_machine.statuses[d.status], NULL,
			  audit_detail("module", r->module, "version", r->version, "environment",
						   r->environment, r->tag ? "tag" : NULL, r->tag, NULL));
	if (r->is_protected || r->require_approval != NIL)
		approval_open_path(&d, path_of_deployment(&d), r->require_approval, NIL);
	deploy_insert(r, actor, &d);
	deployment_enqueue(&d, d.run_at == TIME_NULL ? GetCurrentTimestamp() : d.run_at);
	audit_flush(d.batch);
	wake_deployment(&d.tenant, &d.id, false);
}

/* Without the preload nothing starts by itself: said once in a session. */
static void
tell_unattended(void)
{
	static bool told = false;

	if (shared != NULL || told)
		return;
	told = true;
	ereport(NOTICE, (errmsg("the deployment waits for CALL hotswap.work()"),
					 errdetail("Without hotswap in shared_preload_libraries nothing works in the "
							   "background.")));
}

/*
 * deploy(module, version, environment, idempotency_key, priority, run_at, start_by, metadata,
 *		  on_behalf_of, require_approval, tenant) returns the deployment's id
 *
 * In: key of 1 to 255 characters, kept for hotswap.idempotency_ttl; priority -1000 to 1000, higher
 * goes first; run_at: not before; start_by: expires when not started by then; metadata: an object
 * of at most 64 kB; require_approval: environments on the path that need an approval though their
 * policy asks for none. Errors: 22023; P0002 no such tenant, version or environment; 42501; YH001
 * the key was used with another request; YH003 tenant not active; 40001 REPEATABLE READ and a key
 * that was committed after the snapshot. Waits for nobody but a concurrent request with the same
 * key. Writes deployment, work_item, audit_event, the key, and, where the path has a protected
 * environment, approval and notification.
 */
Datum
hotswap_deploy(PG_FUNCTION_ARGS)
{
	Request r;
	Call c;
	pg_uuid_t *result = palloc(sizeof(pg_uuid_t));
	uint8 print[DIGEST_LENGTH];
	bool is_new = true;

	deploy_read_request(fcinfo, &r);
	uuid7_generate(&r.id);
	if (r.key)
		deploy_fingerprint(&r, print);
	call_begin_for(&c, &r.tenant, r.on_behalf_of, CAPABILITY_DEPLOYER, "deploy");
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
		create_deployment(&r, &c.actor);
	call_end(&c);
	tell_unattended();
	*result = r.id;
	PG_RETURN_UUID_P(result);
}
