/*
 * bring_up_right.c
 *		Does bringing a node up need an approval?
 *
 * It gets what others run.  Who approved the version has approved all that it builds on, and the installer that came
 * with it, since its digest covers them: so it goes without, if the version has succeeded here with an approval,
 * by votes or by a bypass that somebody has looked at since.  An installer that came later was approved only
 * where it ran.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/approval.h"
#include "core/bring_up_right.h"
#include "core/plan.h"
#include "core/release.h"
#include "utils/builtins.h"

#define IS_ABOUT_MODULE IS_ABOUT("d", "$3")
#define ITS_TARGETS TARGETS_OF("d")

/* The approvals ($1 tenant, $2 environment, $3 module) of what has succeeded. */
#define APPROVED                                                                                   \
	" hotswap.deployment d JOIN hotswap.approval a ON a.tenant_id = $1 AND a.deployment_id = d.id" \
	" AND a.environment = $2 AND " APPROVAL_COUNTS("a")
#define HAS_SUCCEEDED                                                                         \
	" d.tenant_id = $1 AND " IS_ABOUT_MODULE " AND d.kind IN ('deploy', 'bring_up')"          \
	" AND CASE WHEN d.environment = $2 THEN d.status = 'succeeded' ELSE EXISTS (SELECT FROM " \
	"hotswap.stage s WHERE s.tenant_id = $1 AND s.deployment_id = d.id AND s.kind = 'deploy'" \
	" AND s.environment = $2 AND s.status = 'succeeded') END"

static DbStatement right_query = DB_STATEMENT(
	"SELECT e.min_approvals = 0, NOT e.bring_up_needs_approval AND EXISTS (SELECT"
	" FROM hotswap.module_version v," APPROVED " WHERE" HAS_SUCCEEDED
	" AND EXISTS (SELECT FROM " ITS_TARGETS
	" t WHERE t.module = $3 AND t.version = $4) AND v.tenant_id = $1 AND v.module = $3 AND v.version = $4"
	" AND v.published_at <= a.used_at)"
	" FROM hotswap.environment e WHERE e.tenant_id = $1 AND e.name = $2",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

static DbStatement installer_query =
	DB_STATEMENT("SELECT v.install_published_at IS NULL OR EXISTS (SELECT FROM" APPROVED
				 " CROSS JOIN LATERAL jsonb_to_recordset(a.steps) e (direction text, digest text)"
				 " WHERE" HAS_SUCCEEDED " AND e.direction = 'install'"
				 " AND e.digest = encode($5, 'hex'))"
				 " FROM hotswap.module_version v"
				 " WHERE v.tenant_id = $1 AND v.module = $3 AND v.version = $4",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID);

static bool
is_approved(const pg_uuid_t *tenant, const char *environment, const Step *step)
{
	DbArgs args = db_args(&installer_query);

	if (step->direction != STEP_INSTALL)
		return true;
	db_arg_uuid(&args, tenant);
	db_arg_text(&args, environment);
	db_arg_text(&args, step->module);
	db_arg_text(&args, step->version);
	db_arg_digest(&args, step->digest);
	return db_run_args(&args) > 0 && db_bool(0, 1);
}

bool
bring_up_is_free(const pg_uuid_t *tenant, const char *environment, const char *module,
				 const char *version, List *plans)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment),
					 CStringGetTextDatum(module), CStringGetTextDatum(version) };
	ListCell *cell;
	ListCell *s;

	if (db_run_newest(&right_query, args, NULL) == 0)
		return false;
	if (db_bool(0, 1))
		return true;
	if (!db_bool(0, 2))
		return false;
	foreach (cell, plans)
		foreach (s, ((NodePlan *) lfirst(cell))->steps)
			if (!is_approved(tenant, environment, lfirst(s)))
				return false;
	return true;
}
