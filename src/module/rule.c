/*
 * rule.c
 *		What an environment does about the static rules: set_rule(), rule_list(), lint_version().
 *
 * An environment has a row for a rule only where its action was set.
 *
 * Locks: tenant row, then the environment's row, then the row of the rule.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/environment_row.h"
#include "core/missing.h"
#include "core/path.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "funcapi.h"
#include "module/examination.h"
#include "module/scan.h"
#include "module/tag.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_set_rule);
PG_FUNCTION_INFO_V1(hotswap_rule_list);
PG_FUNCTION_INFO_V1(hotswap_lint_version);

static DbStatement read_rule = DB_STATEMENT(
	"SELECT action::text FROM hotswap.environment_rule WHERE tenant_id = $1 AND environment = $2"
	" AND rule = $3::hotswap.static_rule",
	UUIDOID, TEXTOID, TEXTOID);

static DbStatement write_rule = DB_STATEMENT(
	"INSERT INTO hotswap.environment_rule (tenant_id, environment, rule, action)"
	" VALUES ($1, $2, $3::hotswap.static_rule, $4::hotswap.rule_action)"
	" ON CONFLICT (tenant_id, environment, rule) DO UPDATE SET action = EXCLUDED.action",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID);

static DbStatement delete_rule =
	DB_STATEMENT("DELETE FROM hotswap.environment_rule"
				 " WHERE tenant_id = $1 AND environment = $2 AND rule = $3::hotswap.static_rule",
				 UUIDOID, TEXTOID, TEXTOID);

/* ---- set_rule() ---- */

static void
change_rule(const pg_uuid_t *tenant, const char *environment, const char *rule, const char *action,
			const AuditActor *actor)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(environment),
					 CStringGetTextDatum(rule), action ? CStringGetTextDatum(action) : (Datum) 0 };
	char *before;

	environment_lock(tenant, environment);
	before = db_run(&read_rule, args, NULL) > 0 ? db_text(0, 1) : NULL;
	if (before == action || (before && action && strcmp(before, action) == 0))
		return;
	(void) db_run(action ? &write_rule : &delete_rule, args, NULL);
	audit_tenant(actor, tenant, "set_rule", before, action, NULL,
				 audit_detail("environment", environment, "rule", rule, NULL));
}

/*
 * set_rule(environment text, rule text, action text, tenant uuid)
 *
 * In: action NULL goes back to the usual one.  Errors: 22023, P0002 no such environment or tenant,
 * 42501, YH003.  Locks the tenant row and the environment; writes environment_rule and, when
 * something has changed, the audit log.
 */
Datum
hotswap_set_rule(PG_FUNCTION_ARGS)
{
	char *environment = arg_text(fcinfo, 0, "environment", NAME_LIMIT);
	const char *rule = rule_names[arg_label(fcinfo, 1, "rule", rule_names, RULE_COUNT)];
	const char *action =
		PG_ARGISNULL(2) ?
			NULL :
			rule_actions[arg_label(fcinfo, 2, "action", rule_actions, RULE_ACTION_COUNT)];
	pg_uuid_t tenant = tenant_argument(fcinfo, 3);
	Call c;

	call_begin_change(&c, &tenant, CAPABILITY_ADMIN, "set a rule");
	change_rule(&tenant, environment, rule, action, &c.actor);
	call_end(&c);
	PG_RETURN_VOID();
}

/* ---- reading ---- */

/* rule_list() returns (rule, action, about, hint): see the view rules */
Datum
hotswap_rule_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AttInMetadata *columns;

	InitMaterializedSRF(fcinfo, 0);
	columns = TupleDescGetAttInMetadata(result->setDesc);
	for (int i = 0; i < RULE_COUNT; i++)
	{
		const RuleInfo *rule = &rule_info[i];
		char *values[] = { unconstify(char *, rule_names[i]),
						   unconstify(char *, rule_actions[rule->action]),
						   unconstify(char *, rule->about), unconstify(char *, rule->hint) };

		tuplestore_puttuple(result->setResult, BuildTupleFromCStrings(columns, values));
	}
	return (Datum) 0;
}

static void
return_finding(ReturnSetInfo *result, AttInMetadata *columns, const Finding *f,
			   const ScanPolicy *policy)
{
	char *values[] = { unconstify(char *, rule_names[f->rule]),
					   unconstify(char *, rule_actions[policy->actions[f->rule]]),
					   policy->strictest[f->rule],
					   unconstify(char *, script_labels[f->script]),
					   psprintf("%d", f->line),
					   unconstify(char *, f->what),
					   unconstify(char *, rule_info[f->rule].hint) };

	tuplestore_puttuple(result->setResult, BuildTupleFromCStrings(columns, values));
}

/* Every finding, not only those that are kept; errors in bodies as they were found at publication. */
static List *
find_all(const Version *v)
{
	List *findings = examine_scripts(v, EXAMINE_ONLY);
	ListCell *cell;

	foreach (cell, v->findings ? examination_read(v->findings) : NIL)
		if (((Finding *) lfirst(cell))->rule == RULE_BROKEN_BODY)
			findings = lappend(findings, lfirst(cell));
	return findings;
}

/* What the rules have to say of a version on its way to an environment. */
static List *
rule_lint(const pg_uuid_t *tenant, const char *module, const char *version, const char *environment,
		  ScanPolicy *policy)
{
	List *path = path_of(tenant, environment);
	Version *v;

	if (path == NIL)
		environment_refuse_missing(tenant, environment);
	version = version_resolve(tenant, module, version);
	v = version_read(tenant, module, version, VERSION_WHOLE);
	if (v == NULL)
		version_refuse_missing(module, version);
	version_require_intact(v);
	scan_policy_load(tenant, path, policy);
	return scan_findings(find_all(v), policy, v->is_routed);
}

/*
 * lint_version(module text, version text, environment text, tenant uuid)
 *		returns (rule, action, strictest, script, line, message, hint)
 *
 * Errors: 22023, P0002 no such version or environment, 42501, XX001.  Locks and writes nothing.
 */
Datum
hotswap_lint_version(PG_FUNCTION_ARGS)
{
	char *module = arg_module(fcinfo, 0);
	char *version = arg_version(fcinfo, 1, "version");
	char *environment = arg_text(fcinfo, 2, "environment", NAME_LIMIT);
	pg_uuid_t tenant = tenant_argument(fcinfo, 3);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AttInMetadata *columns;
	ScanPolicy policy;
	DbScope scope;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	columns = TupleDescGetAttInMetadata(result->setDesc);
	db_enter(&scope);
	access_require(&tenant, scope.caller, CAPABILITY_VIEWER, "look at a version");
	foreach (cell, rule_lint(&tenant, module, version, environment, &policy))
		return_finding(result, columns, lfirst(cell), &policy);
	db_leave(&scope);
	return (Datum) 0;
}
