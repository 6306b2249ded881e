/*
 * deploy.c
 *		Requests: deploy(), and deploy_release(), which is the same for several modules at once.
 *
 * Locks: the tenant's activity (tenant_enter()), and the idempotency key.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "base/names.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/path.h"
#include "core/person.h"
#include "core/plan.h"
#include "core/rehearsal_right.h"
#include "core/release.h"
#include "core/tenant.h"
#include "deployment/request.h"
#include "deployment/supersede.h"
#include "deployment/target_nodes.h"
#include "fmgr.h"
#include "lock/idempotency.h"
#include "module/examination.h"
#include "module/signature_check.h"
#include "module/tag.h"
#include "shm/shmem.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

PG_FUNCTION_INFO_V1(hotswap_deploy);
PG_FUNCTION_INFO_V1(hotswap_deploy_release);

#define KEY_LIMIT 255

/* of tenant $1: its status, and whether the path to environment $2 is protected */
#define LOOK_UP(only_target)                                                                           \
	"SELECT (SELECT status FROM hotswap.tenant WHERE id = $1),"                                        \
	" (SELECT EXISTS (SELECT 1 FROM hotswap.environment p WHERE p.tenant_id = $1 AND p.rank <= e.rank" \
	" AND (p.rank = e.rank OR NOT " only_target                                                        \
	") AND (p.min_approvals > 0 OR p.require_signature))"                                              \
	" FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.name = $2),"

/* everything a request refers to, in one look-up */
static DbStatement look_up = DB_STATEMENT(
	LOOK_UP(
		"$5") " v.digest, v.findings::text, v.findings_digest FROM (VALUES (1)) one LEFT JOIN hotswap.module_version v"
			  " ON v.tenant_id = $1 AND v.module = $3 AND v.version = $4",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID);

static DbStatement look_up_release =
	DB_STATEMENT(LOOK_UP("$4") " r.digest FROM (VALUES (1)) one LEFT JOIN hotswap.release r"
							   " ON r.tenant_id = $1 AND r.name = $3",
				 UUIDOID, TEXTOID, TEXTOID, BOOLOID);

/* what the environments on a path ask for, if one asks for something */
static DbStatement demands_query = DB_STATEMENT(
	"SELECT bool_or(p.min_approvals > 0),"
	" (array_agg(p.name ORDER BY p.rank) FILTER (WHERE p.require_signature))[1]"
	" FROM hotswap.environment e JOIN hotswap.environment p ON p.tenant_id = $1 AND p.rank <= e.rank"
	" AND (p.rank = e.rank OR NOT $3) WHERE e.tenant_id = $1 AND e.name = $2",
	UUIDOID, TEXTOID, BOOLOID);

/* what an environment lets people do */
static DbStatement options_query =
	DB_STATEMENT("SELECT may_skip_environments, coalesce(allow_revert::text,"
				 " CASE WHEN min_approvals > 0 THEN 'no' ELSE 'operator' END)"
				 " FROM hotswap.environment WHERE tenant_id = $1 AND name = $2",
				 UUIDOID, TEXTOID);

/* The arguments after those that say what is deployed; the environment is argument n. */
static void
read_options(FunctionCallInfo fcinfo, int n, Request *r)
{
	r->environment = arg_text(fcinfo, n, "environment", NAME_LIMIT);
	r->key = arg_text_or_null(fcinfo, n + 1, "idempotency_key", KEY_LIMIT);
	r->priority = arg_int32(fcinfo, n + 2, "priority", -PRIORITY_LIMIT, PRIORITY_LIMIT);
	r->run_at = arg_time(fcinfo, n + 3, "run_at");
	r->start_by = arg_time(fcinfo, n + 4, "start_by");
	r->metadata = arg_object(fcinfo, n + 5, "metadata");
	r->on_behalf_of = arg_person(fcinfo, n + 6);
	r->require_approval = arg_names(fcinfo, n + 7, "require_approval", NAME_LIMIT);
	r->has_nodes = target_nodes_argument(fcinfo, n + 8, &r->nodes);
	r->allow_revert = arg_bool(fcinfo, n + 9, "allow_revert");
	r->only_target = arg_bool(fcinfo, n + 10, "only_target") || r->has_nodes;
	r->reapply = arg_bool(fcinfo, n + 11, "reapply");
	r->overtake = arg_bool(fcinfo, n + 12, "overtake");
	r->on_failure = PG_ARGISNULL(n + 13) ? ON_FAILURE_UNSAID :
										   arg_label(fcinfo, n + 13, "on_failure",
													 failure_action_names, ON_FAILURE_UNSAID);
	r->supersede = arg_bool(fcinfo, n + 14, "supersede");
	if (arg_bool(fcinfo, n + 15, "rehearse"))
		r->kind = KIND_REHEARSAL;
	r->only_target = r->only_target || r->kind == KIND_REHEARSAL;
	r->tenant = tenant_argument(fcinfo, n + 16);
	if (r->start_by != ARG_TIME_NULL && r->run_at != ARG_TIME_NULL && r->start_by <= r->run_at)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"start_by\" must be later than \"run_at\"")));
	if (!r->supersede)
		return;
	if (r->run_at != ARG_TIME_NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"run_at\" must be null with \"supersede\""),
						errdetail("What runs ends now.")));
	r->priority = REQUEST_FIRST;
	r->overtake = true;
}

/* All arguments that matter; metadata in its canonical form. */
static void
deploy_fingerprint(const Request *r, uint8 *result)
{
	pg_cryptohash_ctx *ctx = digest_begin();
	ListCell *cell;

	if (r->release)
		digest_field(ctx, r->release);
	else
	{
		digest_field(ctx, r->module);
		digest_field(ctx, r->version);
	}
	digest_field(ctx, r->environment);
	digest_int64(ctx, r->priority);
	digest_int64(ctx, r->run_at);
	digest_int64(ctx, r->start_by);
	digest_field(ctx, jsonb_text(r->metadata));
	digest_field(ctx, r->on_behalf_of);
	foreach (cell, r->require_approval)
		digest_field(ctx, lfirst(cell));
	/* as it was before there were these */
	if (r->only_target || r->allow_revert || r->reapply || r->overtake ||
		r->on_failure != ON_FAILURE_UNSAID)
	{
		digest_field(ctx, r->has_nodes ? OidOutputFunctionCall(F_ARRAY_OUT, r->nodes) : NULL);
		digest_int64(ctx, r->allow_revert);
		digest_int64(ctx, r->only_target);
		digest_int64(ctx, r->reapply);
		digest_int64(ctx, r->overtake);
		digest_int64(ctx, r->on_failure);
		digest_int64(ctx, r->supersede);
		if (r->kind == KIND_REHEARSAL)
			digest_field(ctx, "rehearse");
	}
	digest_end(ctx, result);
}

/* Notes whether the path is protected; refuses versions that lack a signature they need there. */
static void
check_demands(Request *r)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->environment),
					 BoolGetDatum(r->only_target) };
	char *requires_signature;
	ListCell *cell;

	(void) db_run_newest(&demands_query, args, NULL);
	r->is_protected = db_bool(0, 1);
	requires_signature = db_text(0, 2);
	foreach (cell, requires_signature ? r->targets : NIL)
	{
		const PlanTarget *target = lfirst(cell);
		SignedVersion version = { &r->tenant, target->module, target->version, NULL, false };

		(void) version_require_signature(&version, requires_signature);
	}
}

/* Skipping environments is nothing where they have nothing to run of it. */
static void
require_passed(const Request *r)
{
	List *path = path_of(&r->tenant, r->environment);
	ListCell *cell;

	foreach (cell, path)
	{
		PlanRequest request = { .tenant = &r->tenant,
								.release = r->release,
								.targets = r->targets,
								.environment = lfirst(cell),
								.all_nodes = true };
		ListCell *node;

		if (strcmp(lfirst(cell), r->environment) == 0)
			break;
		foreach (node, plan_environment(&request))
			if (((NodePlan *) lfirst(node))->outcome != NODE_SKIPPED)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("environment \"%s\" must not be skipped on the way to \"%s\"",
								(char *) lfirst(cell), r->environment),
						 r->release ? errdetail("Release \"%s\" has not come to node \"%s\" there.",
												r->release, ((NodePlan *) lfirst(node))->name) :
									  errdetail("Version \"%s\" has not come to node \"%s\" there.",
												r->version, ((NodePlan *) lfirst(node))->name),
						 errhint("Deploy it there first, or let \"%s\" skip environments with"
								 " hotswap.configure_environment().",
								 r->environment)));
	}
}

/* Who may take back versions that were not asked for to go. */
static void
check_revert(Request *r, const char *policy, Oid caller)
{
	if (strcmp(policy, "no") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("environment \"%s\" does not allow reverts", r->environment),
				 errhint("Use hotswap.rollback() to take a deployment back, or allow them with"
						 " hotswap.configure_environment().")));
	if (strcmp(policy, "operator") == 0)
		access_require(&r->tenant, caller, CAPABILITY_OPERATOR, "take versions back");
	if (strcmp(policy, "approval") == 0 && !names_have(r->require_approval, r->environment))
		r->require_approval = lappend(r->require_approval, r->environment);
}

/* What cannot be rehearsed is refused at once, as far as it is known now. */
static void
check_rehearsal(Request *r)
{
	Deployment d = { .kind = r->kind,
					 .tenant = r->tenant,
					 .release = r->release,
					 .module = r->module,
					 .version = r->version,
					 .environment = r->environment,
					 .allow_revert = r->allow_revert,
					 .only_target = true,
					 .reapply = r->reapply,
					 .nodes = r->nodes,
					 .all_nodes = !r->has_nodes };
	List *plans;

	plans = plan_of_deployment(&d, d.environment);
	plan_refuse_rehearsal_by_agents(&d, plans);
	rehearsal_require_possible(plans);
	if (rehearsal_is_free(&d.tenant, d.environment))
		r->is_protected = false;
}

/* What deploy() does not do unasked. */
static void
check_options(Request *r, Oid caller)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->environment) };
	MemoryContext context = CurrentMemoryContext;
	bool may_skip;
	char *policy;

	if (r->supersede)
		access_require(&r->tenant, caller, CAPABILITY_OPERATOR, "supersede deployments");
	if (!r->only_target && !r->allow_revert)
		return;
	(void) db_run_newest(&options_query, args, NULL);
	may_skip = db_bool(0, 1);
	policy = db_text(0, 2);
	MemoryContextSwitchTo(context);
	if (r->has_nodes)
		r->nodes = target_nodes_find(&r->tenant, r->environment, r->nodes);
	if (r->only_target && !may_skip && r->kind != KIND_REHEARSAL)
		require_passed(r);
	if (r->allow_revert)
		check_revert(r, policy, caller);
	if (r->kind == KIND_REHEARSAL)
		check_rehearsal(r);
}

/* Looks up what the request refers to; the version may be given by a tag, which is seldom, and asked for then. */
static void
find_references(Request *r, uint8 *digest)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->environment),
					 CStringGetTextDatum(r->module), CStringGetTextDatum(r->version),
					 BoolGetDatum(r->only_target) };

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
check_version(Request *r, Oid caller)
{
	uint8 digest[DIGEST_LENGTH];
	uint8 findings_digest[DIGEST_LENGTH];
	PlanTarget *target = palloc(sizeof(PlanTarget));
	bool is_examined;

	find_references(r, digest);
	target->module = r->module;
	target->version = r->version;
	r->targets = list_make1(target);
	r->is_protected = db_bool(0, 2);
	is_examined = db_digest(0, 5, findings_digest) &&
				  version_findings_fit(digest, db_text(0, 4), findings_digest);
	if (r->is_protected)
		check_demands(r);
	check_options(r, caller);
	if (!is_examined)
		examination_renew(&r->tenant, r->module, r->version);
}

static void
check_release(Request *r, Oid caller)
{
	Datum args[] = { UUIDPGetDatum(&r->tenant), CStringGetTextDatum(r->environment),
					 CStringGetTextDatum(r->release), BoolGetDatum(r->only_target) };
	uint8 digest[DIGEST_LENGTH];

	(void) db_run_newest(&look_up_release, args, NULL);
	tenant_require_active(&r->tenant, db_text(0, 1));
	if (db_isnull(0, 2))
		environment_refuse_missing(&r->tenant, r->environment);
	if (!db_digest(0, 3, digest))
		release_refuse_missing(r->release);
	r->is_protected = db_bool(0, 2);
	r->module = r->release;
	r->version = digest_hex(digest);
	r->targets = release_targets(&r->tenant, r->release);
	if (r->is_protected)
		check_demands(r);
	check_options(r, caller);
	request_examine(&r->tenant, r->targets);
}

static void
check_references(Request *r, Oid caller)
{
	tenant_enter(&r->tenant);
	if (r->release)
		check_release(r, caller);
	else
		check_version(r, caller);
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

/* Makes the deployment that is asked for, unless its key has made one before; returns the id. */
static Datum
request(Request *r)
{
	Call c;
	pg_uuid_t *result = palloc(sizeof(pg_uuid_t));
	uint8 print[DIGEST_LENGTH];
	bool is_new = true;

	uuid7_generate(&r->id);
	if (r->key)
		deploy_fingerprint(r, print);
	if (r->kind == KIND_REHEARSAL)
		call_begin_for(&c, &r->tenant, r->on_behalf_of, CAPABILITY_OPERATOR,
					   "rehearse a deployment");
	else
		call_begin_for(&c, &r->tenant, r->on_behalf_of, CAPABILITY_DEPLOYER, "deploy");
	if (r->key)
	{
		is_new = !idempotency_find(&r->tenant, "deploy", r->key, print, &r->id);
		if (is_new)
		{
			check_references(r, c.caller);
			is_new = idempotency_claim(&r->tenant, "deploy", r->key, print, &r->id);
		}
	}
	else
		check_references(r, c.caller);
	if (is_new && r->supersede)
		supersede_running(r, &c.actor);
	if (is_new)
		request_create(r, &c.actor);
	call_end(&c);
	tell_unattended();
	*result = r->id;
	PG_RETURN_UUID_P(result);
}

/*
 * deploy(module, version, environment, idempotency_key, priority, run_at, start_by, metadata,
 *		  on_behalf_of, require_approval, nodes, allow_revert, only_target, reapply, overtake,
 *		  on_failure, supersede, rehearse, tenant)
 *		returns the deployment's id
 *
 * In: key of 1 to 255 characters, kept for hotswap.idempotency_ttl; priority -1000 to 1000, higher
 * goes first; run_at: not before; start_by: expires when not started by then; metadata: an object
 * of at most 64 kB; require_approval: environments on the path that need an approval though their
 * policy asks for none; nodes: names or ids of at most 10,000 nodes of the environment, which alone
 * are swapped; allow_revert: what the version does not build on is taken back in the environment;
 * only_target: environments of lower rank are not passed through, as with nodes; reapply: versions
 * that are held come again; overtake: it does not wait for approvals of what was requested before;
 * on_failure: back or stay, where the nodes go when it fails, NULL: as the environment says;
 * supersede: what runs in a lane of its path is cancelled, and it goes next; rehearse: it
 * runs on the nodes of the environment, and is taken back there: for operators.
 * Errors: 0A000 a version cannot be rehearsed; 22023; P0002 no such tenant, version, environment or node; 42501;
 * 55000 the environment lets nobody take back, or skip what has something to run; YH001 the key was used with
 * another request; YH003 tenant not active; 40001 REPEATABLE READ and a key that was committed after the
 * snapshot. Waits for nobody but a concurrent request with the same
 * key, unless a statement of a task waits for its snapshot (55P03). Writes deployment, work_item, audit_event, the key, and, where the path has a protected
 * environment, approval and notification.
 */
Datum
hotswap_deploy(PG_FUNCTION_ARGS)
{
	Request r = { .kind = KIND_DEPLOY };

	args_require_count(fcinfo, 19);
	r.module = arg_module(fcinfo, 0);
	r.version = arg_version(fcinfo, 1, "version");
	read_options(fcinfo, 2, &r);
	return request(&r);
}

/*
 * deploy_release(release, environment, idempotency_key, priority, run_at, start_by, metadata, on_behalf_of,
 *		  require_approval, nodes, allow_revert, only_target, reapply, overtake, on_failure, supersede,
 *		  rehearse, tenant)
 *		returns the deployment's id
 *
 * In: the name of a release; the rest as of deploy().  A node gets those of its versions that it does not run,
 * in one transaction.  Errors: those of deploy(); P0002 no such release.  Locks and writes what deploy() does.
 */
Datum
hotswap_deploy_release(PG_FUNCTION_ARGS)
{
	Request r = { .kind = KIND_DEPLOY, .release = arg_identifier(fcinfo, 0, "release") };

	read_options(fcinfo, 1, &r);
	return request(&r);
}
