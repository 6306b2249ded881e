/*
 * withdrawal.c
 *		Versions that are taken back: withdraw_version().
 *
 * A version that nothing refers to and that no protected environment has ever seen may go, so that its name
 * is free for another content.  What is left of it is a row of withdrawn_version and the module's history,
 * which tells those who keep the module's graph in memory.
 *
 * Locks: tenant row, the tenant's activity, then the rows of the module and of the version.  The tenant's row
 * keeps out children, tags, releases and declarations, its activity requests: whoever refers to the version has
 * committed, and is seen, or comes later and does not find it.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/release.h"
#include "core/tenant.h"
#include "core/version_graph.h"
#include "fmgr.h"
#include "module/tag.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_withdraw_version);

/* The first ten names of a query, in quotation marks; NULL: it has none. */
#define NAMES_OF(query)                                                                        \
	DB_STATEMENT("SELECT string_agg('\"' || q.name || '\"', ', ') FROM (" query " LIMIT 10) q" \
				 " (name)",                                                                    \
				 UUIDOID, TEXTOID, TEXTOID)

/* What has run on the nodes of the tenant: of each the last row, or all. */
#define SWAPPED(last)                                                                              \
	" CROSS JOIN LATERAL (SELECT s.version, s.heads, s.step FROM hotswap.node_module s"            \
	" WHERE s.tenant_id = $1 AND s.node_id = n.id AND s.module = $2 ORDER BY s.swap DESC" last ")" \
	" s"

#define IS_ABOUT_MODULE IS_ABOUT("d", "$2")

/*
 * What keeps a version where it is, in the order in which it is looked for: a deployment that ends in the
 * meantime has left its rows when the nodes are asked.  One that goes back needs the versions from before, and
 * so does a failed one that somebody may retry.
 */
static struct
{
	DbStatement find;
	const char *detail;
	const char *hint; /* NULL: it stays for good */
} obstacles[] = {
	{ NAMES_OF("SELECT v.version FROM hotswap.module_version v WHERE v.tenant_id = $1"
			   " AND v.module = $2 AND $3 = ANY (v.parents) ORDER BY v.ordinal"),
	  "Versions build on it: %s.", "Withdraw them first." },
	{ NAMES_OF("SELECT t.tag FROM hotswap.version_tag t WHERE t.tenant_id = $1 AND t.module = $2"
			   " AND t.version = $3 ORDER BY t.tag"),
	  "It is tagged: %s.", NULL },
	{ NAMES_OF("SELECT r.release FROM hotswap.release_module r WHERE r.tenant_id = $1"
			   " AND r.module = $2 AND r.version = $3 ORDER BY r.release"),
	  "Releases have it: %s.", NULL },
	{ NAMES_OF(
		  "SELECT d.id FROM (SELECT w.deployment_id FROM hotswap.work_item w"
		  " WHERE w.tenant_id = $1 UNION ALL SELECT f.deployment_id"
		  " FROM hotswap.failed_rollback f WHERE f.tenant_id = $1 AND f.put_right_by IS NULL) o"
		  " CROSS JOIN LATERAL (SELECT d.tenant_id, d.id, d.module, d.version, d.heads, d.release"
		  " FROM hotswap.deployment d"
		  " WHERE d.tenant_id = $1 AND d.id = o.deployment_id OFFSET 0) d"
		  " WHERE " IS_ABOUT_MODULE " AND (d.version = $3 OR $3 = ANY (d.heads)"
		  " OR EXISTS (SELECT FROM hotswap.task t"
		  " WHERE t.tenant_id = $1 AND t.deployment_id = d.id AND (t.previous_version = $3"
		  " OR $3 = ANY ((SELECT coalesce(s.heads, ARRAY[s.version]) FROM hotswap.node_module s WHERE s.tenant_id = $1"
		  " AND s.node_id = t.node_id AND s.module = $2 AND s.swap <= t.swap_from"
		  " ORDER BY s.swap DESC LIMIT 1)::text[]))))"
		  " ORDER BY d.id"),
	  "Deployments need it: %s.", "Cancel them, or wait for their end." },
	{ NAMES_OF("SELECT e.name FROM hotswap.environment e WHERE e.tenant_id = $1"
			   " AND e.min_approvals > 0 AND EXISTS (SELECT FROM hotswap.node n" SWAPPED(
				   "") " WHERE n.tenant_id = $1 AND n.environment = e.name"
					   " AND ($3 IN (s.version, s.step) OR $3 = ANY (s.heads))) ORDER BY e.rank"),
	  "It was applied in protected environments: %s.", NULL },
	{ NAMES_OF("SELECT n.environment || '/' || n.name FROM hotswap.node n" SWAPPED(
		  " LIMIT 1") " WHERE n.tenant_id = $1 AND n.removed_at IS NULL"
					  " AND (s.version = $3 OR $3 = ANY (s.heads)) ORDER BY 1"),
	  "Nodes run it: %s.", "Take it back there first." },
};

static DbStatement lock_module =
	DB_STATEMENT("SELECT m.history, v.digest FROM hotswap.module m JOIN hotswap.module_version v"
				 " ON v.tenant_id = $1 AND v.module = $2 AND v.version = $3"
				 " WHERE m.tenant_id = $1 AND m.name = $2 FOR NO KEY UPDATE OF m",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement update_history =
	DB_STATEMENT("UPDATE hotswap.module SET history = $3 WHERE tenant_id = $1 AND name = $2",
				 UUIDOID, TEXTOID, BYTEAOID);

static DbStatement move_version = DB_STATEMENT(
	"WITH gone AS (DELETE FROM hotswap.module_version"
	" WHERE tenant_id = $1 AND module = $2 AND version = $3 RETURNING *)"
	" INSERT INTO hotswap.withdrawn_version (tenant_id, module, version, ordinal, digest,"
	" published_at, published_by, withdrawn_at, withdrawn_by, reason)"
	" SELECT tenant_id, module, version, ordinal, digest, published_at, published_by,"
	" clock_timestamp(), $4, $5 FROM gone",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID);

static DbStatement delete_signatures =
	DB_STATEMENT("DELETE FROM hotswap.version_signature"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement delete_installer_signatures =
	DB_STATEMENT("DELETE FROM hotswap.installer_signature"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement delete_holds =
	DB_STATEMENT("DELETE FROM hotswap.held_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

typedef struct Withdrawal
{
	pg_uuid_t tenant;
	char *module;
	char *version;
	char *reason;
	Datum key[3]; /* of the version */
} Withdrawal;

/* Raises 55000 where something needs the version. */
static void
require_unused(Withdrawal *w)
{
	for (int i = 0; i < (int) lengthof(obstacles); i++)
	{
		char *names;

		(void) db_run_newest(&obstacles[i].find, w->key, NULL);
		names = db_text(0, 1);
		if (names)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("cannot withdraw version \"%s\" of module \"%s\"", w->version,
								   w->module),
							errdetail(obstacles[i].detail, names),
							obstacles[i].hint ? errhint("%s", obstacles[i].hint) : 0));
	}
}

/* The module's history goes on; returns the digest of what goes. */
static void
write_history(Withdrawal *w, uint8 *digest)
{
	DbArgs args = db_args(&update_history);
	uint8 history[DIGEST_LENGTH];
	bool has_history;

	if (db_run(&lock_module, w->key, NULL) == 0)
		version_refuse_missing(w->module, w->version);
	has_history = db_digest(0, 1, history);
	(void) db_digest(0, 2, digest);
	require_unused(w);
	graph_history_next(has_history ? history : NULL, true, digest, history);
	db_arg_uuid(&args, &w->tenant);
	db_arg_text(&args, w->module);
	db_arg_digest(&args, history);
	(void) db_run_args(&args);
}

static void
withdraw(Withdrawal *w, const AuditActor *actor)
{
	DbArgs args = db_args(&move_version);
	uint8 digest[DIGEST_LENGTH];

	write_history(w, digest);
	(void) db_run(&delete_signatures, w->key, NULL);
	(void) db_run(&delete_installer_signatures, w->key, NULL);
	(void) db_run(&delete_holds, w->key, NULL);
	db_arg_uuid(&args, &w->tenant);
	db_arg_text(&args, w->module);
	db_arg_text(&args, w->version);
	db_arg_text(&args, actor->person);
	db_arg_text(&args, w->reason);
	if (db_run_args(&args) != 1)
		elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", w->version, w->module);
	audit_tenant(actor, &w->tenant, "withdraw_version", NULL, NULL, w->reason,
				 audit_detail("module", w->module, "version", w->version, "digest",
							  digest_hex(digest), NULL));
}

/*
 * withdraw_version(module text, version text, reason text, tenant uuid)
 *
 * Errors: 22023; P0002 no such version or tenant; 55000 something needs it: a child, a tag, a release, a
 * deployment that has not ended, a node that runs it, or it was applied in a protected environment; 42501;
 * YH003.  Locks the tenant row, waits for requests of the tenant that have not committed, and locks the module
 * row; writes module, withdrawn_version and the audit log, and deletes the version with its signatures.
 */
Datum
hotswap_withdraw_version(PG_FUNCTION_ARGS)
{
	Withdrawal w = { .module = arg_module(fcinfo, 0),
					 .version = arg_version(fcinfo, 1, "version"),
					 .reason = arg_text(fcinfo, 2, "reason", REASON_LIMIT),
					 .tenant = tenant_argument(fcinfo, 3) };
	Call c;

	call_begin_change(&c, &w.tenant, CAPABILITY_OPERATOR, "withdraw a version");
	w.version = version_resolve(&w.tenant, w.module, w.version);
	w.key[0] = UUIDPGetDatum(&w.tenant);
	w.key[1] = CStringGetTextDatum(w.module);
	w.key[2] = CStringGetTextDatum(w.version);
	tenant_close(&w.tenant);
	withdraw(&w, &c.actor);
	call_end(&c);
	PG_RETURN_VOID();
}
