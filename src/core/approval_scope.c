/*
 * approval_scope.c
 *		What an approval is about beyond the names: the steps that will run, and as which roles.
 *
 * A version that is complete is what is approved, whatever a node runs.  Where versions build on each
 * other, in a release and in a rollback, what will run depends on the nodes: the steps are kept with the
 * approval, and when the stage starts, each step that is to run must be among them.  Fewer are no matter.
 * Nodes that are added run as a role that was seen, or the approval is void.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/label.h"
#include "catalog/pg_type.h"
#include "core/approval_scope.h"
#include "core/columns.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"

static DbStatement load_scope = DB_STATEMENT(
	"SELECT a.roles::oid[], a.steps IS NOT NULL, e.module, e.version, e.direction, decode(e.digest, 'hex')"
	" FROM hotswap.approval a LEFT JOIN LATERAL jsonb_to_recordset(a.steps)"
	" e (module text, version text, direction text, digest text) ON true"
	" WHERE a.tenant_id = $1 AND a.deployment_id = $2 AND a.environment = $3 AND a.round = $4",
	UUIDOID, UUIDOID, TEXTOID, INT4OID);

enum
{
	S_ROLES = 1,
	S_HAS_STEPS,
	S_MODULE,
	S_VERSION,
	S_DIRECTION,
	S_DIGEST
};

/* A module of complete versions needs no plan. */
static DbStatement roles_query = DB_STATEMENT(
	"SELECT (SELECT m.is_graph FROM hotswap.module m WHERE m.tenant_id = $1 AND m.name = $3),"
	" ARRAY(SELECT DISTINCT n.run_as::oid FROM hotswap.node n WHERE n.tenant_id = $1"
	" AND n.environment = $2 AND n.removed_at IS NULL AND ($4 IS NULL OR n.id = ANY ($4)) ORDER BY 1)",
	UUIDOID, TEXTOID, TEXTOID, UUIDARRAYOID);

/* What makes two steps the same. */
typedef struct StepKey
{
	char module[MODULE_LIMIT + 1];
	StepDirection direction;
	uint8 digest[DIGEST_LENGTH];
} StepKey;

static HTAB *
step_set(void)
{
	HASHCTL ctl = { .keysize = sizeof(StepKey),
					.entrysize = sizeof(StepKey),
					.hcxt = CurrentMemoryContext };

	return hash_create("hotswap steps", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static StepKey
step_key(const Step *step)
{
	StepKey key;

	memset(&key, 0, sizeof(key));
	strlcpy(key.module, step->module, sizeof(key.module));
	key.direction = step->direction;
	memcpy(key.digest, step->digest, DIGEST_LENGTH);
	return key;
}

static void
scope_of_plans(List *plans, ApprovalScope *scope)
{
	HTAB *seen = step_set();
	ListCell *cell;

	memset(scope, 0, sizeof(*scope));
	scope->plans = plans;
	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);
		ListCell *s;

		scope->roles = list_append_unique_oid(scope->roles, p->run_as);
		foreach (s, p->steps)
		{
			StepKey key = step_key(lfirst(s));
			bool found;

			(void) hash_search(seen, &key, HASH_ENTER, &found);
			if (!found)
				scope->steps = lappend(scope->steps, lfirst(s));
		}
	}
	hash_destroy(seen);
}

void
approval_scope_plan(const Deployment *d, const char *environment, ApprovalScope *scope)
{
	bool is_target = strcmp(environment, d->environment) == 0;
	MemoryContext context = CurrentMemoryContext;
	DbArgs args = db_args(&roles_query);
	bool isnull;

	db_arg_uuid(&args, &d->tenant);
	db_arg_text(&args, environment);
	db_arg_text(&args, d->module);
	db_arg_datum(&args, UUIDARRAYOID, d->nodes, d->all_nodes || !is_target);
	(void) db_run_args(&args);
	if (d->release || db_bool(0, 1) || d->kind == KIND_ROLLBACK || d->kind == KIND_DECLARE)
	{
		MemoryContextSwitchTo(context);
		scope_of_plans(plan_of_deployment(d, environment), scope);
		return;
	}
	memset(scope, 0, sizeof(*scope));
	MemoryContextSwitchTo(context);
	scope->roles = db_oid_list(db_datum(0, 2, &isnull));
}

bool
approval_scope_load(const Deployment *d, const char *environment, int32 round, ApprovalScope *scope)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(&d->tenant), UUIDPGetDatum(&d->id),
					 CStringGetTextDatum(environment), Int32GetDatum(round) };
	uint64 n = db_run_newest(&load_scope, args, NULL);
	bool isnull;
	Datum roles = db_datum(0, S_ROLES, &isnull);

	memset(scope, 0, sizeof(*scope));
	if (isnull)
		return false;
	MemoryContextSwitchTo(context);
	scope->roles = db_oid_list(roles);
	for (uint64 i = 0; i < n && db_bool(0, S_HAS_STEPS); i++)
	{
		Step *step = palloc0(sizeof(Step));

		step->module = db_text(i, S_MODULE);
		step->version = db_text(i, S_VERSION);
		step->direction =
			label_parse(db_text(i, S_DIRECTION), step_direction_names, STEP_DECLARED + 1);
		(void) db_digest(i, S_DIGEST, step->digest);
		scope->steps = lappend(scope->steps, step);
	}
	return true;
}

/* The parameters of APPROVAL_SCOPE_VALUES. */
void
approval_scope_args(DbArgs *args, const ApprovalScope *scope)
{
	static const Oid types[] = { TEXTOID, TEXTOID, TEXTOID, BYTEAOID, BOOLOID };
	Columns *rows = columns_make(types, lengthof(types));
	ListCell *cell;

	foreach (cell, scope->steps)
	{
		const Step *step = lfirst(cell);

		columns_add_row(rows);
		columns_put_text(rows, 0, step->module);
		columns_put_text(rows, 1, step->version);
		columns_put_text(rows, 2, step_direction_names[step->direction]);
		columns_put(rows, 3, digest_datum(step->digest), false);
		columns_put(rows, 4, BoolGetDatum(step->transactional), false);
	}
	db_arg_datum(args, OIDARRAYOID, db_oid_array(scope->roles), false);
	for (int i = 0; i < rows->ncolumns; i++)
		db_arg_datum(args, get_array_type(types[i]), columns_array(rows, i), false);
}

static char *
role_name(Oid role)
{
	char *name = GetUserNameFromId(role, true);

	return name ? name : psprintf("%u", role);
}

char *
approval_scope_excess(const ApprovalScope *scope, const ApprovalScope *approved)
{
	HTAB *set = step_set();
	ListCell *cell;

	foreach (cell, scope->roles)
		if (!list_member_oid(approved->roles, lfirst_oid(cell)))
			return psprintf("a node runs scripts as \"%s\", as none did then",
							role_name(lfirst_oid(cell)));
	foreach (cell, approved->steps)
	{
		StepKey key = step_key(lfirst(cell));

		(void) hash_search(set, &key, HASH_ENTER, NULL);
	}
	foreach (cell, scope->steps)
	{
		const Step *step = lfirst(cell);
		StepKey key = step_key(step);

		if (hash_search(set, &key, HASH_FIND, NULL) == NULL)
			return psprintf(
				"it would run the %s script of version \"%s\", which was not part of it",
				step_script_names[step->direction], step->version);
	}
	return NULL;
}
