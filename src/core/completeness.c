/*
 * completeness.c
 *		Are the rows there to which others refer?
 *
 * There are no foreign keys (see sql/tables/schema.sql).  The functions keep what those would: they
 * look for what they refer to, and nothing of it is ever deleted, except with the tenant whose row
 * they have locked.  A copy of which a part was not restored is found out here, before it is used.
 * Reads all tables but the audit log, which has verify_audit(); locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "commands/dbcommands.h"
#include "core/completeness.h"
#include "miscadmin.h"

#define REFERENCE_IF(condition, child, columns, parent, key)                                     \
	{                                                                                            \
		child, parent,                                                                           \
			DB_STATEMENT0("SELECT WHERE EXISTS (SELECT " columns " FROM hotswap." child          \
						  " WHERE " condition " EXCEPT SELECT " key " FROM hotswap." parent ")") \
	}
#define REFERENCE(child, columns, parent, key) REFERENCE_IF("true", child, columns, parent, key)
#define OF_TENANT(child) REFERENCE_IF("tenant_id IS NOT NULL", child, "tenant_id", "tenant", "id")
#define OF_DEPLOYMENT(child) \
	REFERENCE(child, "tenant_id, deployment_id", "deployment", "tenant_id, id")

static struct
{
	const char *child;
	const char *parent;
	DbStatement find;
} references[] = {
	REFERENCE("tenant", "true", "installation", "singleton"),
	REFERENCE("tier_quota", "tier", "tier", "name"),
	REFERENCE("tier_quota", "resource", "resource", "name"),
	REFERENCE("tenant", "tier", "tier", "name"),
	OF_TENANT("access"),
	OF_TENANT("quota"),
	REFERENCE("quota", "resource", "resource", "name"),
	OF_TENANT("quota_usage"),
	REFERENCE("quota_usage", "resource", "resource", "name"),
	OF_TENANT("environment"),
	OF_TENANT("hook"),
	OF_TENANT("module"),
	OF_TENANT("signing_key"),
	OF_TENANT("approval_delegation"),
	OF_TENANT("deployment"),
	REFERENCE("environment_rule", "tenant_id, environment", "environment", "tenant_id, name"),
	REFERENCE("node", "tenant_id, environment", "environment", "tenant_id, name"),
	REFERENCE("node_module", "tenant_id, node_id", "node", "tenant_id, id"),
	REFERENCE("node_pin", "tenant_id, node_id", "node", "tenant_id, id"),
	REFERENCE("route", "tenant_id, node_id", "node", "tenant_id, id"),
	REFERENCE("route_slot", "tenant_id, node_id", "node", "tenant_id, id"),
	REFERENCE("module_version", "tenant_id, module", "module", "tenant_id, name"),
	REFERENCE("version_signature", "tenant_id, module, version", "module_version",
			  "tenant_id, module, version"),
	REFERENCE("version_signature", "tenant_id, signing_key", "signing_key", "tenant_id, name"),
	REFERENCE("installer_signature", "tenant_id, module, version", "module_version",
			  "tenant_id, module, version"),
	REFERENCE("installer_signature", "tenant_id, signing_key", "signing_key", "tenant_id, name"),
	REFERENCE("version_tag", "tenant_id, module, version", "module_version",
			  "tenant_id, module, version"),
	REFERENCE("release_module", "tenant_id, release", "release", "tenant_id, name"),
	REFERENCE("release_module", "tenant_id, module, version", "module_version",
			  "tenant_id, module, version"),
	REFERENCE("held_version", "tenant_id, environment", "environment", "tenant_id, name"),
	REFERENCE("gate", "tenant_id, environment", "environment", "tenant_id, name"),
	OF_TENANT("environment_window"),
	OF_TENANT("withdrawn_version"),
	OF_TENANT("release"),
	OF_DEPLOYMENT("rehearsal"),
	OF_DEPLOYMENT("work_item"),
	OF_DEPLOYMENT("stage"),
	OF_DEPLOYMENT("task"),
	OF_DEPLOYMENT("statement"),
	OF_DEPLOYMENT("rollout"),
	OF_DEPLOYMENT("rollout_gate"),
	OF_DEPLOYMENT("analysis"),
	OF_DEPLOYMENT("pause"),
	OF_DEPLOYMENT("failed_rollback"),
	OF_DEPLOYMENT("freeze_override"),
	OF_DEPLOYMENT("approval"),
	OF_DEPLOYMENT("approval_vote"),
	/* what has ended needs neither, and stays a while when its tenant's versions go */
	REFERENCE_IF("finished_at IS NULL", "deployment", "tenant_id, id", "work_item",
				 "tenant_id, deployment_id"),
	REFERENCE_IF("finished_at IS NULL AND release IS NULL", "deployment",
				 "tenant_id, module, version", "module_version", "tenant_id, module, version"),
	REFERENCE_IF("finished_at IS NULL AND release IS NOT NULL", "deployment", "tenant_id, release",
				 "release", "tenant_id, name"),
};

/* What is missing, in words; NULL: nothing is. */
char *
completeness_gap(void)
{
	for (int i = 0; i < (int) lengthof(references); i++)
		if (db_run(&references[i].find, NULL, NULL) > 0)
			return psprintf("rows of hotswap.%s that hotswap.%s refers to are missing",
							references[i].parent, references[i].child);
	return NULL;
}

/* Raises 55000 where something is missing. */
void
completeness_require(void)
{
	char *gap = completeness_gap();

	if (gap)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("database \"%s\" was not restored completely",
							   get_database_name(MyDatabaseId)),
						errdetail("In it %s.", gap),
						errhint("Restore it again, and see that there is no error.")));
}
