/*
 * health.c
 *		health() and worker_list(): how hotswap is, and which processes it has.
 *
 * Reads the tables and what the processes share; locks nothing but the latter, briefly.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/guc.h"
#include "base/uuid.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "core/access.h"
#include "core/completeness.h"
#include "core/installation.h"
#include "core/machine.h"
#include "core/release.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "operations/blocker.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "shm/executors.h"
#include "shm/shmem.h"
#include "shm/trouble.h"
#include "shm/worker_line.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(hotswap_health);
PG_FUNCTION_INFO_V1(hotswap_worker_list);

/* One pass over the queue, which may be long, without a look at its deployments; OFFSET 0: the status once. */
static DbStatement queue_counts = DB_STATEMENT0(
	"SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE w.status IN " STARTED_STATUSES
	"), pg_catalog.count(*) FILTER (WHERE w.status = 'paused'),"
	" pg_catalog.min(w.requested_at) FILTER (WHERE w.status = 'queued') FROM (SELECT " WORK_ITEM_STATUS(
		"w") " AS status, w.requested_at FROM hotswap.work_item w OFFSET 0) w");

static DbStatement approval_counts = DB_STATEMENT0(
	"SELECT (SELECT pg_catalog.count(*) FROM hotswap.approval WHERE status = 'pending'"
	" AND used_at IS NULL),"
	" (SELECT pg_catalog.count(*) FROM hotswap.approval"
	" WHERE status = 'bypassed' AND review_closed_at IS NULL)"
	" + (SELECT pg_catalog.count(*) FROM hotswap.freeze_override WHERE review_closed_at IS NULL)");

static DbStatement default_partition = DB_STATEMENT0(
	"SELECT EXISTS (SELECT 1 FROM hotswap.audit_event_default),"
	" pg_catalog.to_regclass('hotswap.audit_event_'"
	" || pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYYMM')) IS NOT NULL");

static DbStatement stopped =
	DB_STATEMENT0("SELECT stop_reason, stopped_by, stopped_at FROM hotswap.installation");

static DbStatement open_rollbacks = DB_STATEMENT0(
	"SELECT f.deployment_id, f.module, f.environment, f.failed_at, pg_catalog.count(*) OVER ()"
	" FROM hotswap.failed_rollback f WHERE f.put_right_by IS NULL AND f.acknowledged_at IS NULL"
	" ORDER BY f.failed_at LIMIT 1");

#define IS_ABOUT_MODULE IS_ABOUT("d", "m.module")

/*
 * Nodes that stayed behind and are there still: nothing has come to them since, and what left them behind was not
 * rolled back.
 */
static DbStatement behind_nodes = DB_STATEMENT0(
	"SELECT b.deployment_id, b.module, b.environment, b.name, pg_catalog.count(*) OVER ()"
	" FROM (SELECT DISTINCT ON (t.node_id, d.module) d.id AS deployment_id, d.module, d.environment, n.name"
	" FROM hotswap.deployment d JOIN hotswap.task t ON t.tenant_id = d.tenant_id"
	" AND t.deployment_id = d.id AND t.kind = 'swap' AND t.status = 'failed'"
	" JOIN hotswap.node n ON n.tenant_id = d.tenant_id AND n.id = t.node_id AND n.removed_at IS NULL"
	" WHERE d.nodes_behind > 0 AND NOT EXISTS (SELECT FROM hotswap.node_module m"
	" WHERE m.tenant_id = d.tenant_id AND m.node_id = t.node_id AND " IS_ABOUT_MODULE
	" AND m.swap > t.swap_from AND m.deployment_id IS DISTINCT FROM d.id)"
	" AND NOT EXISTS (SELECT FROM hotswap.deployment r WHERE r.tenant_id = d.tenant_id"
	" AND r.id > d.id AND r.rolls_back = d.id AND r.status = 'succeeded')"
	" ORDER BY t.node_id, d.module, d.id DESC) b ORDER BY b.deployment_id, b.name LIMIT 1");

static DbStatement sync_standbys =
	DB_STATEMENT0("SELECT pg_catalog.count(*)::integer FROM pg_catalog.pg_stat_replication"
				  " WHERE sync_state IN ('sync', 'quorum')");

static const char *const executor_states[] = { "free", "starting", "idle", "busy", "dead" };

/* ---- worker_list() ---- */

static void
put_name(Datum *values, bool *nulls, int i, char *name)
{
	nulls[i] = name == NULL;
	values[i] = name ? DirectFunctionCall1(namein, CStringGetDatum(name)) : (Datum) 0;
}

static void
add_worker(ReturnSetInfo *result, const char *kind, int pid, Oid database, Oid role,
		   const char *state, const pg_uuid_t *deployment, TimestampTz since)
{
	Datum values[7];
	bool nulls[7] = { false };

	values[0] = CStringGetTextDatum(kind);
	values[1] = Int32GetDatum(pid);
	nulls[1] = pid == 0;
	put_name(values, nulls, 2, OidIsValid(database) ? get_database_name(database) : NULL);
	put_name(values, nulls, 3, OidIsValid(role) ? GetUserNameFromId(role, true) : NULL);
	values[4] = CStringGetTextDatum(state);
	values[5] = UUIDPGetDatum(deployment);
	nulls[5] = deployment == NULL;
	values[6] = TimestampTzGetDatum(since);
	nulls[6] = since == 0;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
list_dispatchers(ReturnSetInfo *result)
{
	int count;
	DispatcherInfo *list = shmem_dispatchers(&count);

	for (int i = 0; i < count; i++)
		add_worker(result, "dispatcher", list[i].pid, list[i].database, InvalidOid, "running", NULL,
				   list[i].since);
}

static void
list_executors(ReturnSetInfo *result)
{
	int count;
	ExecutorSlot *list = executors_list(&count);

	for (int i = 0; i < count; i++)
		add_worker(result, "executor", list[i].pid, list[i].database, list[i].role,
				   executor_states[list[i].state],
				   list[i].queued > 0 ? &list[i].queue[0].deployment : NULL, list[i].since);
}

/*
 * May a role see what works for all tenants?  As with the server's own statistics, members of
 * pg_monitor may.
 */
static bool
may_watch(Oid role)
{
	return has_privs_of_role(role, ROLE_PG_MONITOR) ||
		   access_has_everywhere(role, CAPABILITY_VIEWER);
}

/* worker_list() returns (kind, pid, database, role, state, deployment_id, since) */
Datum
hotswap_worker_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int launcher;

	InitMaterializedSRF(fcinfo, 0);
	if (shared == NULL || !may_watch(GetUserId()))
		return (Datum) 0;
	launcher = shmem_launcher_pid();
	if (launcher != 0)
		add_worker(result, "launcher", launcher, InvalidOid, InvalidOid, "running", NULL, 0);
	list_dispatchers(result);
	list_executors(result);
	return (Datum) 0;
}

/* ---- health() ---- */

static void
health_report(ReturnSetInfo *result, const char *component, const char *status, const char *detail)
{
	Datum values[] = { CStringGetTextDatum(component), CStringGetTextDatum(status),
					   CStringGetTextDatum(detail) };
	bool nulls[3] = { false };

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * Does the library speak the version of the extension?  If not, the tables had better not be read.
 */
static bool
report_version(ReturnSetInfo *result)
{
	const char *version = db_extension_version(false);
	bool fits = strcmp(version, HOTSWAP_VERSION) == 0;

	health_report(
		result, "version", fits ? "ok" : "critical",
		fits ? version :
			   psprintf("extension %s, library %s: run ALTER EXTENSION hotswap UPDATE, or restart "
						"the server with the new library",
						version, HOTSWAP_VERSION));
	return fits;
}

static void
report_processes(ReturnSetInfo *result)
{
	int launcher = shmem_launcher_pid();
	bool none;

	if (shared == NULL)
	{
		health_report(
			result, "preload", "warning",
			"hotswap is not in shared_preload_libraries: nothing works in the background, only CALL hotswap.work()");
		return;
	}
	health_report(result, "preload", "ok", "loaded");
	if (RecoveryInProgress())
	{
		health_report(result, "launcher", "ok",
					  "this is a standby: it starts when the server is promoted");
		return;
	}
	health_report(result, "launcher", launcher ? "ok" : "critical",
				  launcher ? psprintf("process %d", launcher) :
							 "not running: is max_worker_processes large enough?");
	none = worker_line_waits(MyDatabaseId) >= WORKER_LINE_LONG_MS;
	health_report(result, "executors", none ? "critical" : "ok",
				  none ? "no worker slot is free: increase max_worker_processes" :
						 psprintf("at most %d", hotswap_max_executors));
}

/* So many of a kind, and the one that has lasted longest. */
static int
count_troubles(const Trouble *troubles, int count, TroubleKind from, TroubleKind to,
			   const Trouble **oldest)
{
	int n = 0;

	*oldest = NULL;
	for (int i = 0; i < count; i++)
	{
		if (troubles[i].kind < from || troubles[i].kind > to)
			continue;
		n++;
		if (*oldest == NULL || troubles[i].since < (*oldest)->since)
			*oldest = &troubles[i];
	}
	return n;
}

static char *
trouble_words(const Trouble *t)
{
	return psprintf("since %s, " INT64_FORMAT " times: %s", timestamptz_to_str(t->since), t->times,
					t->message);
}

static void
report_dispatcher(ReturnSetInfo *result, const Trouble *troubles, int count, bool in_scope)
{
	int pid = shmem_dispatcher_pid();
	const Trouble *t;
	char *blocker;

	if (pid == 0)
		health_report(result, "dispatcher", "critical",
					  worker_line_waits(LINE_LAUNCHER) >= 0 ?
						  "not running in this database: no worker slot is free for it: increase "
						  "max_worker_processes" :
						  "not running in this database: see the server log");
	else if (count_troubles(troubles, count, TROUBLE_DISPATCHER, TROUBLE_DISPATCHER, &t) > 0)
		health_report(result, "dispatcher", "critical",
					  psprintf("process %d fails %s", pid, trouble_words(t)));
	else if (in_scope && (blocker = blocker_of_process(pid, InvalidOid)) != NULL)
		health_report(result, "dispatcher", "warning",
					  psprintf("process %d is blocked by %s", pid, blocker));
	else
		health_report(result, "dispatcher", "ok", psprintf("process %d", pid));
}

static void
report_visits(ReturnSetInfo *result, const Trouble *troubles, int count)
{
	const Trouble *t;
	int n = count_troubles(troubles, count, TROUBLE_DEPLOYMENT, TROUBLE_DEPLOYMENT, &t);

	if (n > 0)
	{
		health_report(result, "visits", "critical",
					  psprintf("%d deployments are set aside, the first is %s, %s", n,
							   uuid_text(&t->deployment), trouble_words(t)));
		return;
	}
	n = count_troubles(troubles, count, TROUBLE_LOCKED, TROUBLE_LOCKED, &t);
	health_report(result, "visits", n > 0 ? "warning" : "ok",
				  n == 0 ?
					  "no deployment is set aside" :
					  psprintf("the rows of %d deployments are locked, the first is %s, since %s",
							   n, uuid_text(&t->deployment), timestamptz_to_str(t->since)));
}

/*
 * What the processes say of their work, where there are any.  It needs no table; only who blocks one is
 * asked in a scope.
 */
static void
report_work(ReturnSetInfo *result, bool in_scope)
{
	int count;
	Trouble *troubles;
	const Trouble *t;
	int n;

	if (shared == NULL || RecoveryInProgress())
		return;
	troubles = trouble_list(&count);
	report_dispatcher(result, troubles, count, in_scope);
	report_visits(result, troubles, count);
	n = count_troubles(troubles, count, TROUBLE_HOUSEKEEPING, INT_MAX, &t);
	health_report(result, "housekeeping", n > 0 ? "warning" : "ok",
				  n > 0 ? trouble_words(t) : "nothing has failed");
}

static void
report_dispatching(ReturnSetInfo *result)
{
	DispatchState state = installation_dispatch_state();
	char *gap = state == DISPATCH_FOREIGN || state == DISPATCH_NOTHING ? completeness_gap() : NULL;

	if (gap)
	{
		health_report(result, "dispatching", "critical",
					  psprintf("this database was not restored completely: %s", gap));
		return;
	}
	switch (state)
	{
		case DISPATCH_ALLOWED:
			health_report(result, "dispatching", "ok", "allowed");
			break;
		case DISPATCH_NOTHING:
			health_report(result, "dispatching", "ok", "nothing has been published yet");
			break;
		case DISPATCH_FOREIGN:
			health_report(
				result, "dispatching", "critical",
				"the rows were written in another database or cluster: hotswap.adopt() lets them be dispatched");
			break;
		case DISPATCH_STOPPED:
			(void) db_run(&stopped, NULL, NULL);
			health_report(result, "dispatching", "warning",
						  psprintf("stopped by %s at %s: %s", db_text(0, 2),
								   timestamptz_to_str(db_time(0, 3, 0)), db_text(0, 1)));
			break;
	}
}

static void
report_queue(ReturnSetInfo *result)
{
	int64 paused;
	int64 started;

	(void) db_run(&queue_counts, NULL, NULL);
	started = db_int64(0, 2);
	paused = db_int64(0, 3);
	health_report(result, "queue", "ok",
				  psprintf(INT64_FORMAT " waiting or scheduled, " INT64_FORMAT " running%s%s%s",
						   db_int64(0, 1) - started, started - paused,
						   paused > 0 ? psprintf(", " INT64_FORMAT " paused", paused) : "",
						   db_isnull(0, 4) ? "" : ", the oldest queued since ",
						   db_isnull(0, 4) ? "" : timestamptz_to_str(db_time(0, 4, 0))));
}

/* Environments whose nodes run different versions, and nobody has said that this is all right. */
static void
report_rollbacks(ReturnSetInfo *result)
{
	pg_uuid_t id;
	int64 others;

	if (db_run(&open_rollbacks, NULL, NULL) == 0)
	{
		health_report(result, "rollbacks", "ok", "none has failed that is not dealt with");
		return;
	}
	id = db_uuid(0, 1);
	others = db_int64(0, 5) - 1;
	health_report(result, "rollbacks", "critical",
				  psprintf("the rollback of deployment %s (%s in %s) failed at %s%s: "
						   "hotswap.retry(), another deployment, or hotswap.acknowledge()",
						   uuid_text(&id), db_text(0, 2), db_text(0, 3),
						   timestamptz_to_str(db_time(0, 4, 0)),
						   others > 0 ? psprintf(", and of " INT64_FORMAT " more", others) : ""));
}

/* Nodes that do not run what their deployment brought to the others. */
static void
report_nodes(ReturnSetInfo *result)
{
	pg_uuid_t id;

	if (db_run(&behind_nodes, NULL, NULL) == 0)
	{
		health_report(result, "nodes", "ok", "none has stayed behind");
		return;
	}
	id = db_uuid(0, 1);
	health_report(result, "nodes", "warning",
				  psprintf(INT64_FORMAT " have stayed behind, the first is %s in %s: deployment %s"
										" (%s) failed there: hotswap.retry(), or another"
										" deployment",
						   db_int64(0, 5), db_text(0, 4), db_text(0, 3), uuid_text(&id),
						   db_text(0, 2)));
}

static void
report_approvals(ReturnSetInfo *result)
{
	(void) db_run(&approval_counts, NULL, NULL);
	health_report(result, "approvals", db_int64(0, 2) > 0 ? "warning" : "ok",
				  psprintf(INT64_FORMAT " pending, " INT64_FORMAT " bypasses await their review",
						   db_int64(0, 1), db_int64(0, 2)));
}

static void
report_audit(ReturnSetInfo *result)
{
	bool has_default;

	(void) db_run(&default_partition, NULL, NULL);
	has_default = db_bool(0, 1);
	if (db_bool(0, 2))
		health_report(result, "audit", "ok", "the month has its own partition");
	else if (has_default)
		health_report(result, "audit", "warning",
					  "the events of this month are in the default partition");
	else
		health_report(result, "audit", "ok", "no events yet");
}

/*
 * Are the synchronous standbys there that commits wait for?  Where the caller's synchronous_commit does
 * not wait, it is likely that most others do not.
 */
static void
report_replication(ReturnSetInfo *result)
{
	int wanted = max_wal_senders > 0 && SyncRepConfig ? SyncRepConfig->num_sync : 0;
	int there;

	if (RecoveryInProgress() || wanted == 0)
	{
		health_report(result, "replication", "ok", "no synchronous standby is asked for");
		return;
	}
	(void) db_run(&sync_standbys, NULL, NULL);
	there = db_int32(0, 1);
	if (there >= wanted)
		health_report(result, "replication", "ok",
					  psprintf("%d of %d synchronous standbys", there, wanted));
	else
		health_report(result, "replication",
					  synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH ? "critical" : "warning",
					  psprintf("%d of %d synchronous standbys: a commit waits for them, unless its "
							   "synchronous_commit is local or off",
							   there, wanted));
}

/* health() returns (component, status, detail) */
Datum
hotswap_health(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	DbScope scope;
	bool fits;

	InitMaterializedSRF(fcinfo, 0);
	if (!may_watch(GetUserId()))
		access_require_everywhere(GetUserId(), CAPABILITY_VIEWER, "look at the health of hotswap");
	fits = report_version(result);
	report_processes(result);
	if (fits)
		db_enter(&scope);
	report_work(result, fits);
	if (!fits)
		return (Datum) 0;
	report_dispatching(result);
	report_queue(result);
	report_rollbacks(result);
	report_nodes(result);
	report_approvals(result);
	report_audit(result);
	report_replication(result);
	db_leave(&scope);
	return (Datum) 0;
}
