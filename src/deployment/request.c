/*
 * request.c
 *		Puts a deployment that was asked for into the tables: its row, its approvals, its first audit events and
 *		its place in the queue.
 *
 * Locks nothing: all of it is new.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/deployment_save.h"
#include "core/path.h"
#include "core/person.h"
#include "core/plan.h"
#include "core/release.h"
#include "core/tenant.h"
#include "deployment/request.h"
#include "module/examination.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"

static DbStatement insert_deployment = DB_STATEMENT(
	"INSERT INTO hotswap.deployment (tenant_id, id, status, priority, module, version, environment,"
	" requested_at, run_at, start_by, requested_by, run_by_role, idempotency_key, metadata, audit_seq,"
	" audit_hash, gated, login, requester, login_role, kind, rolls_back, reason, nodes, allow_revert,"
	" only_target, reapply, on_failure, overtake, heads, release)"
	" VALUES ($1, $2, $3::hotswap.deployment_status, $4, $5, $6, $7, $8, $9, $10, $11, $12::name, $13,"
	" $14, $15, $16, $17, $18::name, $19::regrole, $20::regrole, $21::hotswap.deployment_kind, $22, $23,"
	" $24, $25, $26, $27, $28::hotswap.failure_action, $29, $30, $31)",
	UUIDOID, UUIDOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, INT4OID, BYTEAOID, BOOLOID, TEXTOID,
	OIDOID, OIDOID, TEXTOID, UUIDOID, TEXTOID, UUIDARRAYOID, BOOLOID, BOOLOID, BOOLOID, TEXTOID,
	BOOLOID, TEXTARRAYOID, TEXTOID);

/* Of a deployment that is for its target alone, as all are that deploy() does not make. */
void
request_begin(Request *r, DeploymentKind kind, char *reason)
{
	memset(r, 0, sizeof(Request));
	r->kind = kind;
	r->reason = reason;
	r->tenant = tenant_current();
	r->run_at = r->start_by = ARG_TIME_NULL;
	r->only_target = true;
	r->on_failure = ON_FAILURE_UNSAID;
	r->metadata = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	uuid7_generate(&r->id);
}

static void
insert(const Request *r, const AuditActor *actor, const Deployment *d)
{
	DbArgs args = db_args(&insert_deployment);

	db_arg_uuid(&args, &r->tenant);
	db_arg_uuid(&args, &r->id);
	db_arg_text(&args, deployment_machine.statuses[d->status]);
	db_arg_int32(&args, r->priority);
	db_arg_text(&args, r->module);
	db_arg_text(&args, r->version);
	db_arg_text(&args, r->environment);
	db_arg_time(&args, d->requested_at);
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
	db_arg_text(&args, deployment_kind_names[d->kind]);
	db_arg_uuid(&args, r->rolls_back);
	db_arg_text(&args, r->reason);
	db_arg_datum(&args, UUIDARRAYOID, r->nodes, !r->has_nodes);
	db_arg_bool(&args, d->allow_revert);
	db_arg_bool(&args, d->only_target);
	db_arg_bool(&args, d->reapply);
	db_arg_text(&args, failure_action_label(d->on_failure));
	db_arg_bool(&args, r->overtake);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(r->heads), r->heads == NIL);
	db_arg_text(&args, r->release);
	(void) db_run_args(&args);
}

/* The deployment that a request asks for, in memory. */
static void
describe(const Request *r, const AuditActor *actor, Deployment *d)
{
	Person person;
	bool later = r->run_at != ARG_TIME_NULL && r->run_at > GetCurrentTimestamp();

	memset(d, 0, sizeof(Deployment));
	d->tenant = r->tenant;
	d->id = r->id;
	d->status = later ? DEPLOYMENT_SCHEDULED : DEPLOYMENT_QUEUED;
	d->kind = r->kind;
	if (r->rolls_back)
		d->rolls_back = *r->rolls_back;
	/* a node that went back does not come again because another one did not */
	d->on_failure =
		r->kind == KIND_ROLLBACK || r->kind == KIND_DECLARE || r->kind == KIND_REHEARSAL ?
			ON_FAILURE_STAY :
			r->on_failure;
	d->priority = r->priority;
	d->release = r->release;
	d->module = r->module;
	d->version = r->version;
	d->environment = r->environment;
	d->nodes = r->nodes;
	d->all_nodes = !r->has_nodes;
	d->allow_revert = r->allow_revert;
	d->only_target = r->only_target;
	d->reapply = r->reapply;
	d->heads = r->heads;
	d->requested_at = GetCurrentTimestamp();
	d->run_at = later ? r->run_at : TIME_NULL;
	d->requested_by = actor->person;
	d->login = actor->login;
	person_current(&person, r->on_behalf_of);
	d->requester = person.known;
	d->login_role = person.login_role;
	audit_chain_set(&d->chain, "deployment", &r->tenant, &r->id, 0, (Datum) 0, true);
	d->batch = audit_batch(actor);
}

static bool
has_options(const Request *r)
{
	return r->has_nodes || r->allow_revert || r->only_target || r->reapply || r->overtake ||
		   r->on_failure != ON_FAILURE_UNSAID;
}

/* What the first audit event says of it; of a release its name and its digest. */
static Jsonb *
request_detail(const Request *r)
{
	const char *what = r->release ? "release" : "module";
	char *name = r->release ? r->release : r->module;
	const char *which = r->release ? "digest" : "version";

	if (r->kind == KIND_ROLLBACK)
		return audit_detail(what, name, which, r->version, "environment", r->environment,
							"rolls_back", uuid_text(r->rolls_back), NULL);
	if (r->kind == KIND_DECLARE)
		return audit_detail(what, name, which, r->version, "environment", r->environment, "node",
							uuid_text(uuid_array_first(r->nodes)), "heads",
							OidOutputFunctionCall(F_ARRAY_OUT, db_text_array(r->heads)), NULL);
	if (!has_options(r))
		return audit_detail(what, name, which, r->version, "environment", r->environment,
							r->tag ? "tag" : NULL, r->tag, NULL);
	return audit_detail(what, name, which, r->version, "environment", r->environment, "nodes",
						r->has_nodes ? OidOutputFunctionCall(F_ARRAY_OUT, r->nodes) : NULL,
						"allow_revert", r->allow_revert ? "true" : NULL, "only_target",
						r->only_target ? "true" : NULL, "reapply", r->reapply ? "true" : NULL,
						"overtake", r->overtake ? "true" : NULL, "on_failure",
						failure_action_label(r->on_failure), "supersede",
						r->supersede ? "true" : NULL, r->kind == KIND_REHEARSAL ? "rehearse" : NULL,
						"true", NULL);
}

void
request_examine(const pg_uuid_t *tenant, List *targets)
{
	ListCell *cell;

	foreach (cell, targets)
	{
		const PlanTarget *target = lfirst(cell);

		examination_keep(tenant, target->module, target->version);
	}
}

void
request_create(const Request *r, const AuditActor *actor)
{
	Deployment d;

	describe(r, actor, &d);
	audit_add(d.batch, &d.chain, "request", NULL, deployment_machine.statuses[d.status], r->reason,
			  request_detail(r));
	if (r->is_protected || r->require_approval != NIL)
		approval_open_path(&d, path_of_deployment(&d), r->require_approval, NIL);
	insert(r, actor, &d);
	deployment_enqueue(&d, d.run_at == TIME_NULL ? GetCurrentTimestamp() : d.run_at);
	audit_flush(d.batch);
	wake_deployment(&d.tenant, &d.id, false);
}
