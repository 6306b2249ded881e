/*
 * scan.c
 *		The stage scan: are the scripts those that were published, signed where that is asked for,
 *		and do they keep to the static rules?
 *
 * Every environment on the path is asked, and the strictest one decides, so that nothing is swapped
 * anywhere when it could not go all the way.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/errors.h"
#include "base/kept.h"
#include "base/label.h"
#include "catalog/pg_language.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "module/examination.h"
#include "module/scan.h"
#include "module/signature_check.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

/* Findings that are named in a message; the others are counted. */
#define SHOWN_FINDINGS 10

static DbStatement policy_query =
	DB_STATEMENT("SELECT e.name, e.require_signature, r.rule::text, r.action::text"
				 " FROM hotswap.environment e LEFT JOIN hotswap.environment_rule r"
				 " ON r.tenant_id = e.tenant_id AND r.environment = e.name"
				 " WHERE e.tenant_id = $1 AND e.name = ANY ($2) ORDER BY e.rank",
				 UUIDOID, TEXTARRAYOID);

static Kept policies = KEPT(policy_query, "environment", "environment_rule");

/* Looked up one by one: a list of names could be planned as a walk through all versions of the module. */
static DbStatement steps_query =
	DB_STATEMENT("SELECT n.version, v.digest, v.findings::text, v.findings_digest, (SELECT m.routed"
				 " FROM hotswap.module m WHERE m.tenant_id = $1 AND m.name = $2)"
				 " FROM (SELECT DISTINCT unnest($3)) n (version) CROSS JOIN LATERAL"
				 " (SELECT * FROM hotswap.module_version v WHERE v.tenant_id = $1 AND v.module = $2"
				 " AND v.version = n.version OFFSET 0) v ORDER BY v.ordinal",
				 UUIDOID, TEXTOID, TEXTARRAYOID);

enum
{
	STEP_VERSION = 1,
	STEP_DIGEST,
	STEP_FINDINGS,
	STEP_FINDINGS_DIGEST,
	STEP_IS_ROUTED
};

/* ---- what is asked for ---- */

/* Takes an environment's actions, complete with the usual ones, into the policy. */
static void
merge_actions(ScanPolicy *policy, char *environment, const RuleAction *actions)
{
	for (int i = 0; i < RULE_COUNT; i++)
	{
		if (policy->strictest[i] && actions[i] <= policy->actions[i])
			continue;
		policy->actions[i] = actions[i];
		policy->strictest[i] = environment;
	}
}

static void
usual_actions(RuleAction *actions)
{
	for (int i = 0; i < RULE_COUNT; i++)
		actions[i] = rule_info[i].action;
}

/* Reads what the environments of a path ask for, together. */
void
scan_policy_load(const pg_uuid_t *tenant, List *path, ScanPolicy *policy)
{
	Datum args[] = { UUIDPGetDatum(tenant), db_text_array(path) };
	uint64 count = kept_run(&policies, args);
	RuleAction actions[RULE_COUNT];
	char *environment = NULL;

	memset(policy, 0, sizeof(ScanPolicy));
	for (uint64 i = 0; i < count; i++)
	{
		char *name = db_text(i, 1);

		if (environment == NULL || strcmp(environment, name) != 0)
		{
			if (environment)
				merge_actions(policy, environment, actions);
			environment = name;
			usual_actions(actions);
			if (policy->requires_signature == NULL && db_bool(i, 2))
				policy->requires_signature = name;
		}
		if (!db_isnull(i, 3))
			actions[label_parse(db_text(i, 3), rule_names, RULE_COUNT)] =
				label_parse(db_text(i, 4), rule_actions, RULE_ACTION_COUNT);
	}
	if (environment)
		merge_actions(policy, environment, actions);
}

/* ---- what is there ---- */

/*
 * Is the language one that cannot do harm outside of the database?  One that is not there is not.
 */
static bool
is_trusted(const char *language)
{
	HeapTuple tuple = SearchSysCache1(LANGNAME, CStringGetDatum(language));
	bool trusted;

	if (!HeapTupleIsValid(tuple))
		return false;
	trusted = ((Form_pg_language) GETSTRUCT(tuple))->lanpltrusted;
	ReleaseSysCache(tuple);
	return trusted;
}

/* Does it matter here and now, whatever is done about it then? */
static bool
counts(const Finding *f, bool is_routed)
{
	if (f->rule == RULE_INLINED_FUNCTION)
		return is_routed;
	return !(f->language && is_trusted(f->language));
}

/* Those findings that the policy does not let pass unseen; of a module that is routed, or not. */
List *
scan_findings(List *findings, const ScanPolicy *policy, bool is_routed)
{
	List *kept = NIL;
	ListCell *cell;

	foreach (cell, findings)
	{
		const Finding *f = lfirst(cell);

		if (policy->actions[f->rule] != RULE_OFF && counts(f, is_routed))
			kept = lappend(kept, lfirst(cell));
	}
	return kept;
}

/* Those that were kept when the scripts were examined; if they do not count, the scripts are read. */
static List *
find(const pg_uuid_t *tenant, Version *v, const ScanPolicy *policy)
{
	if (v->findings)
		return scan_findings(examination_read(v->findings), policy, v->is_routed);
	version_read_scripts(tenant, v);
	version_require_intact(v);
	return scan_findings(examine_scripts(v, EXAMINE_ONLY), policy, v->is_routed);
}

/* Words for the findings with an action, NULL if there is none. */
static char *
scan_describe(List *findings, const ScanPolicy *policy, RuleAction action, const Finding **first)
{
	StringInfoData words;
	int count = 0;
	ListCell *cell;

	initStringInfo(&words);
	foreach (cell, findings)
	{
		const Finding *f = lfirst(cell);

		if (policy->actions[f->rule] != action)
			continue;
		if (count == 0)
			*first = f;
		if (count++ < SHOWN_FINDINGS)
			appendStringInfo(&words, "%s%s in line %d of the %s (rule %s of %s)",
							 count > 1 ? "; " : "", f->what, f->line, script_labels[f->script],
							 rule_names[f->rule], policy->strictest[f->rule]);
	}
	if (count > SHOWN_FINDINGS)
		appendStringInfo(&words, "; and %d more", count - SHOWN_FINDINGS);
	return count > 0 ? words.data : NULL;
}

/*
 * Raises YH011 for what is denied; returns the warnings in words, or NULL.  step: the version, where it is not
 * the deployment's.
 */
static char *
apply_rules(List *findings, const ScanPolicy *policy, const char *step)
{
	const Finding *first;
	char *denied = scan_describe(findings, policy, RULE_DENY, &first);

	/* the hint is part of it: of what a stage has raised, only the message is kept */
	if (denied && step)
		ereport(ERROR,
				(errcode(ERRCODE_HOTSWAP_RULE), errmsg("denied in version \"%s\": %s. %s", step,
													   denied, rule_info[first->rule].hint)));
	if (denied)
		ereport(ERROR, (errcode(ERRCODE_HOTSWAP_RULE),
						errmsg("denied: %s. %s", denied, rule_info[first->rule].hint)));
	return scan_describe(findings, policy, RULE_WARN, &first);
}

/* ---- the stage ---- */

/*
 * Are the scripts those that were published?  Large ones are not read here: their digest is what is
 * scanned, and whoever runs them compares them with it.
 */
static void
require_intact(const Version *v)
{
	if (v->is_whole)
		version_require_intact(v);
}

/* Scans a version for the whole path of a deployment; returns what there is to say about it. */
char *
scan_version(const pg_uuid_t *tenant, Version *v, List *path)
{
	SignedVersion version = { tenant, v->module, v->name, v->digest, false };
	ScanPolicy policy;
	StringInfoData message;
	char *warnings;

	require_intact(v);
	scan_policy_load(tenant, path, &policy);
	initStringInfo(&message);
	appendStringInfo(&message, "sha256 %s", digest_hex(v->digest));
	if (policy.requires_signature)
		appendStringInfo(&message, ", signed by %s",
						 version_require_signature(&version, policy.requires_signature));
	warnings = apply_rules(find(tenant, v, &policy), &policy, NULL);
	if (warnings)
		appendStringInfo(&message, "; warning: %s", warnings);
	return message.data;
}

/* One of the versions that a path consists of: its name, and its findings as they are kept, if they count. */
typedef struct ScannedStep
{
	char *version;
	char *findings;
	bool is_routed; /* the module is */
} ScannedStep;

static List *
read_steps(const pg_uuid_t *tenant, const char *module, List *versions)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module), db_text_array(versions) };
	uint64 count = db_run(&steps_query, args, NULL);
	List *steps = NIL;

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < count; i++)
	{
		ScannedStep *step = palloc(sizeof(ScannedStep));
		uint8 digest[DIGEST_LENGTH];
		uint8 findings_digest[DIGEST_LENGTH];

		step->version = db_text(i, STEP_VERSION);
		step->findings = db_text(i, STEP_FINDINGS);
		step->is_routed = db_bool(i, STEP_IS_ROUTED);
		(void) db_digest(i, STEP_DIGEST, digest);
		if (!db_digest(i, STEP_FINDINGS_DIGEST, findings_digest) ||
			!version_findings_fit(digest, step->findings, findings_digest))
			step->findings = NULL;
		steps = lappend(steps, step);
	}
	return steps;
}

static List *
find_in_step(const pg_uuid_t *tenant, const char *module, const ScannedStep *step,
			 const ScanPolicy *policy)
{
	if (step->findings)
		return scan_findings(examination_read(step->findings), policy, step->is_routed);
	return find(tenant, version_read_existing(tenant, module, step->version, VERSION_WHOLE),
				policy);
}

/*
 * Scans the versions that nodes of an environment would run on their way, whichever of their scripts; what is
 * denied there is the failure of the deployment.
 */
void
scan_steps(const pg_uuid_t *tenant, const char *module, List *versions, char *environment)
{
	ScanPolicy policy;
	ListCell *cell;

	if (versions == NIL)
		return;
	scan_policy_load(tenant, list_make1(environment), &policy);
	foreach (cell, read_steps(tenant, module, versions))
	{
		const ScannedStep *step = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		(void) apply_rules(find_in_step(tenant, module, step, &policy), &policy, step->version);
	}
}

/*
 * Before something is swapped into an environment that requires a signature: is there one that
 * counts, now, for what is stored now?
 */
void
scan_signature(const pg_uuid_t *tenant, const Version *v, const char *environment)
{
	SignedVersion version = { tenant, v->module, v->name, v->digest, false };

	require_intact(v);
	(void) version_require_signature(&version, environment);
}

/* The same of an installer that a node would begin with; one that came with its version is signed by it. */
void
scan_installer(const pg_uuid_t *tenant, const char *module, const char *version,
			   const char *environment)
{
	const Version *v = version_read_existing(tenant, module, version, 0);
	SignedVersion installer = { tenant, v->module, v->name, v->install_digest, true };

	if (v->installer_is_later)
		(void) version_require_signature(&installer, environment);
}

/* Where the verify script of a version is all that is run of it. */
void
scan_verify(const pg_uuid_t *tenant, Version *v, char *environment)
{
	List *findings = NIL;
	ScanPolicy policy;
	ListCell *cell;

	scan_policy_load(tenant, list_make1(environment), &policy);
	foreach (cell, find(tenant, v, &policy))
		if (((Finding *) lfirst(cell))->script == SCRIPT_VERIFY)
			findings = lappend(findings, lfirst(cell));
	(void) apply_rules(findings, &policy, v->name);
}

/*
 * What there is to say about one script of a version and, unless it takes back, its verify script, in words; NULL:
 * nothing.
 */
char *
scan_script(const pg_uuid_t *tenant, Version *v, int script, const ScanPolicy *policy)
{
	List *findings = NIL;
	const Finding *first;
	char *denied;
	char *warned;
	ListCell *cell;

	foreach (cell, find(tenant, v, policy))
	{
		const Finding *f = lfirst(cell);

		if (f->script == script || (f->script == SCRIPT_VERIFY && script != SCRIPT_REVERT))
			findings = lappend(findings, lfirst(cell));
	}
	denied = scan_describe(findings, policy, RULE_DENY, &first);
	warned = scan_describe(findings, policy, RULE_WARN, &first);
	if (denied && warned)
		return psprintf("denied: %s; warning: %s", denied, warned);
	if (denied)
		return psprintf("denied: %s", denied);
	return warned ? psprintf("warning: %s", warned) : NULL;
}
