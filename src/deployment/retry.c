/*
 * retry.c
 *		Taking up a deployment that has failed, or left nodes behind: retry().
 *
 * Locks: the tenant's activity (tenant_enter()), then the deployment's row, then what
 * examination_renew() locks.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/call.h"
#include "core/deployment_save.h"
#include "core/failed_rollback.h"
#include "core/installation.h"
#include "core/missing.h"
#include "core/path.h"
#include "core/release.h"
#include "core/tenant.h"
#include "deployment/request.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_retry);

#define ITS_TARGETS TARGETS_OF("d")
#define SAME_MODULE SHARES_MODULE("o", "d")

static DbStatement running_query =
	DB_STATEMENT("SELECT d.id FROM hotswap.work_item w CROSS JOIN LATERAL"
				 " (SELECT * FROM hotswap.deployment d"
				 " WHERE d.tenant_id = w.tenant_id AND d.id = w.deployment_id OFFSET 0) d"
				 " WHERE w.tenant_id = $1 AND d.id <> $2 AND EXISTS (SELECT FROM " ITS_TARGETS
				 " t WHERE t.module = ANY ($3))"
				 " AND d.status IN " STARTED_STATUSES " LIMIT 1",
				 UUIDOID, UUIDOID, TEXTARRAYOID);

static DbStatement forget_start_by =
	DB_STATEMENT("UPDATE hotswap.deployment SET start_by = NULL WHERE tenant_id = $1 AND id = $2",
				 UUIDOID, UUIDOID);

static DbStatement doubts_query =
	DB_STATEMENT("SELECT n.name, s.version, s.script, s.statement FROM hotswap.statement s"
				 " JOIN hotswap.node n ON n.tenant_id = $1 AND n.id = s.node_id"
				 " WHERE s.tenant_id = $1 AND s.deployment_id = $2 AND s.in_doubt ORDER BY n.name",
				 UUIDOID, UUIDOID);

/* Skipped, as if it had ended; or as if it had failed and done nothing. */
static DbStatement resolve_doubts = DB_STATEMENT(
	"UPDATE hotswap.statement SET in_doubt = false, skipped = $3,"
	" finished_at = CASE WHEN $3 THEN pg_catalog.now() END, started_at = CASE WHEN $3 THEN started_at END"
	" WHERE tenant_id = $1 AND deployment_id = $2 AND in_doubt",
	UUIDOID, UUIDOID, BOOLOID);

static DbStatement version_query = DB_STATEMENT(
	"SELECT EXISTS (SELECT FROM hotswap.withdrawn_version w WHERE w.tenant_id = $1"
	" AND w.module = $2 AND w.version = $3 AND w.withdrawn_at >= (SELECT d.requested_at"
	" FROM hotswap.deployment d WHERE d.tenant_id = $1 AND d.id = $4))"
	" FROM hotswap.module_version v"
	" WHERE v.tenant_id = $1 AND v.module = $2 AND v.version = $3",
	UUIDOID, TEXTOID, TEXTOID, UUIDOID);

/* Who has come to the environment since, or is there now. */
static DbStatement later_query = DB_STATEMENT(
	"SELECT o.id FROM hotswap.deployment d JOIN hotswap.deployment o ON o.tenant_id = $1"
	" AND o.id <> d.id AND " SAME_MODULE " AND o.environment = d.environment"
	" AND o.kind IN ('deploy', 'rollback') AND (o.status IN " STARTED_STATUSES ""
	" OR o.status = 'succeeded' AND o.finished_at > d.finished_at)"
	" WHERE d.tenant_id = $1 AND d.id = $2 ORDER BY o.finished_at DESC NULLS FIRST LIMIT 1",
	UUIDOID, UUIDOID);

/* The nodes that are there, and have got nothing else of the modules since. */
static DbStatement behind_query = DB_STATEMENT(
	"SELECT b.nodes, pg_catalog.cardinality(b.nodes) FROM (SELECT ARRAY(SELECT t.node_id"
	" FROM hotswap.task t JOIN hotswap.node n ON n.tenant_id = $1 AND n.id = t.node_id"
	" AND n.removed_at IS NULL WHERE t.tenant_id = $1 AND t.deployment_id = $2 AND t.kind = 'swap'"
	" AND (t.status = 'failed' OR t.status = 'skipped' AND t.steps > 0)"
	" AND NOT EXISTS (SELECT FROM hotswap.node_module m"
	" WHERE m.tenant_id = $1 AND m.node_id = t.node_id AND m.module = ANY ($3)"
	" AND m.swap > t.swap_from"
	" AND m.deployment_id IS DISTINCT FROM $2) ORDER BY t.node_id) AS nodes) b",
	UUIDOID, UUIDOID, TEXTARRAYOID);

static DbStatement take_nodes =
	DB_STATEMENT("UPDATE hotswap.deployment SET nodes = $3, only_target = true"
				 " WHERE tenant_id = $1 AND id = $2",
				 UUIDOID, UUIDOID, UUIDARRAYOID);

/* Whoever asks for another go means it, late as it may be. */
static void
drop_start_by(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id) };

	if (d->start_by != TIME_NULL)
		(void) db_run(&forget_start_by, args, NULL);
}

/* A rollback does not wait for its lane: whoever is there now would be in each other's way. */
static void
require_free_module(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 db_text_array(target_modules(deployment_targets(d))) };
	pg_uuid_t other;

	if (db_run_newest(&running_query, args, NULL) == 0)
		return;
	other = db_uuid(0, 1);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 d->release ?
				 errmsg("cannot resume the rollback while another deployment of a module of release"
						" \"%s\" is running",
						d->release) :
				 errmsg("cannot resume the rollback while another deployment of module \"%s\" is "
						"running",
						d->module),
			 errdetail("It is deployment \"%s\".", uuid_text(&other)),
			 errhint("Wait for its end.")));
}

/* What a later deployment has put right would be undone. */
static void
require_nothing_later(const Deployment *d)
{
	pg_uuid_t other;

	if (!failed_rollback_put_right_by(d, &other))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot resume the rollback: a later deployment has put the nodes right"),
			 errdetail("It is deployment \"%s\".", uuid_text(&other)),
			 errhint("Deploy the version that shall run there.")));
}

/*
 * What has ended keeps no version from being withdrawn, and its name from being given to another content, which
 * would go on where the first one has been scanned and tested.
 */
static void
require_version(const Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(d->module),
					 CStringGetTextDatum(d->version), UUIDPGetDatum(&d->id) };

	if (db_run_newest(&version_query, args, NULL) == 0)
		version_refuse_missing(d->module, d->version);
	if (db_bool(0, 1))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "version \"%s\" of module \"%s\" was withdrawn after the deployment was requested",
				 d->version, d->module),
			 errdetail("What has its name now was published later."),
			 errhint("Request it anew with hotswap.deploy().")));
}

/* Which statement is in doubt, in words. */
static char *
doubt_words(uint64 row)
{
	return psprintf("statement %d of the %s script of version \"%s\" on node \"%s\"",
					db_int32(row, 4), db_text(row, 3), db_text(row, 2), db_text(row, 1));
}

/* Statements in doubt run again or are left out; 55000 if there are some and nothing is said, or none. */
static void
resolve(Deployment *d, const char *decision)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 BoolGetDatum(decision && strcmp(decision, "skip") == 0) };
	const char *status = deployment_machine.statuses[d->status];
	uint64 n = db_run_newest(&doubts_query, args, NULL);

	if ((n == 0) == (decision == NULL))
	{
		for (uint64 i = 0; i < n; i++)
			audit_add(d->batch, &d->chain, "resolve_doubt", status, status, NULL,
					  audit_detail("in_doubt", decision, "node", db_text(i, 1), "version",
								   db_text(i, 2), "script", db_text(i, 3), "statement",
								   psprintf("%d", db_int32(i, 4)), NULL));
		if (n > 0)
			(void) db_run(&resolve_doubts, args, NULL);
		return;
	}
	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("no statement of deployment \"%s\" is in doubt", uuid_text(&d->id)),
						errhint("Leave \"in_doubt\" out.")));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("deployment \"%s\" has a statement in doubt", uuid_text(&d->id)),
					errdetail("It is %s.", doubt_words(0)),
					errhint("Find out what it has done, and say in_doubt => 'run' or 'skip'.")));
}

/* The argument "in_doubt": run, skip or NULL. */
static char *
decision_argument(FunctionCallInfo fcinfo, int n)
{
	char *decision = arg_text_or_null(fcinfo, n, "in_doubt", NAME_LIMIT);

	if (decision && strcmp(decision, "run") != 0 && strcmp(decision, "skip") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for \"in_doubt\": \"%s\"", decision),
						errhint("Use run or skip.")));
	return decision;
}

static void
refuse_behind(const Deployment *d, char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("deployment \"%s\" has succeeded, and there is no node to retry it on",
						   uuid_text(&d->id)),
					errdetail_internal("%s", detail), hint ? errhint("%s", hint) : 0));
}

/*
 * One that has succeeded is from now on for the nodes that stayed behind, and for no others: who has been brought
 * on by somebody else is not taken back.
 */
static void
take_behind(Deployment *d)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 db_text_array(target_modules(deployment_targets(d))) };
	pg_uuid_t other;
	bool isnull;

	if (d->nodes_behind == 0)
		refuse_behind(d, "No node stayed behind.", NULL);
	if (db_run_newest(&later_query, args, NULL) > 0)
	{
		other = db_uuid(0, 1);
		refuse_behind(d,
					  psprintf("Deployment \"%s\" has come to environment \"%s\" since.",
							   uuid_text(&other), d->environment),
					  "Retry that one, or use hotswap.deploy() with \"nodes\".");
	}
	(void) db_run_newest(&behind_query, args, NULL);
	if (db_int32(0, 2) == 0)
		refuse_behind(d, "The nodes that stayed behind have been brought on or removed.", NULL);
	d->nodes = PointerGetDatum(DatumGetArrayTypePCopy(db_datum(0, 1, &isnull)));
	d->all_nodes = false;
	d->only_target = true;
	args[2] = d->nodes;
	(void) db_run(&take_nodes, args, NULL);
}

/*
 * retry(deployment uuid, in_doubt text) returns the status
 *
 * In: in_doubt: run or skip, what becomes of statements in doubt; NULL: there is none.
 *
 * Whatever has to be reset in stages and tasks is reset by the dispatcher when it starts the
 * deployment again.  The tenant must be active.
 *
 * Errors: 22023, P0002 no such deployment, or its version was withdrawn, 55000 not in such a state, or it has
 * succeeded and no node is behind, or another deployment has come since, or the version was published again since,
 * or something is in doubt and nothing is said about it, or the other way round, or a rollback while another
 * deployment of the module is running or after one that has put the nodes right, YH003 tenant not active, 42501.
 * Locks the deployment.
 */
Datum
hotswap_retry(PG_FUNCTION_ARGS)
{
	pg_uuid_t id = arg_uuid(fcinfo, 0, "deployment");
	char *decision = decision_argument(fcinfo, 1);
	pg_uuid_t tenant = tenant_current();
	Deployment d;
	Call c;

	call_begin(&c, &tenant, CAPABILITY_DEPLOYER, "retry a deployment");
	installation_ensure();
	tenant_enter_active(&tenant);
	deployment_lock_existing(&d, &id, &c.actor);
	if (machine_allows(&deployment_machine, d.status, DEPLOYMENT_RETRY) ||
		d.status == DEPLOYMENT_ROLLBACK_FAILED)
		resolve(&d, decision);
	if (d.status == DEPLOYMENT_ROLLBACK_FAILED)
	{
		require_free_module(&d);
		require_nothing_later(&d);
		failed_rollback_remove(&d);
	}
	if (d.status == DEPLOYMENT_SUCCEEDED)
		take_behind(&d);
	deployment_apply(&d,
					 d.status == DEPLOYMENT_ROLLBACK_FAILED ? DEPLOYMENT_RETRY_ROLLBACK :
															  DEPLOYMENT_RETRY,
					 NULL);
	if (d.status == DEPLOYMENT_QUEUED)
	{
		/* a release keeps its versions from being withdrawn */
		if (d.release == NULL)
			require_version(&d);
		request_examine(&d.tenant, deployment_targets(&d));
	}
	if (d.gated && d.status == DEPLOYMENT_QUEUED)
		approval_open_path(&d, path_of_deployment(&d), NIL, approval_load(&d));
	drop_start_by(&d);
	deployment_save(&d);
	deployment_enqueue(&d, GetCurrentTimestamp());
	call_end(&c);
	return deployment_status_datum(fcinfo, d.status);
}
