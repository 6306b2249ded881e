/*
 * examination.c
 *		What was found in the scripts of a version, kept with them.
 *
 * A dispatcher works for all tenants and reads no large script: who publishes a version has parsed its
 * scripts, and what the rules are about in them is kept beside them, as JSON.  It counts as long as its
 * digest fits: to the version, to the rules of this library and to the grammar of this server.  Where it
 * does not (after an update), deploy() and retry() examine the scripts again, and keeps that.
 *
 * Whether a language is trusted is asked when the version is scanned, so uses of languages are kept, and
 * no answer.
 *
 * Locks: examination_renew() locks the version's row unless somebody else has it.
 */
#include "postgres.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/db.h"
#include "base/label.h"
#include "base/subxact.h"
#include "catalog/pg_type.h"
#include "module/body_check.h"
#include "module/examination.h"
#include "module/finding.h"
#include "module/rule_walk.h"
#include "module/toplevel.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

/* How many findings of a rule are kept of a script, and with how many languages. */
#define KEPT_FINDINGS 100
#define KEPT_LANGUAGES 100

static DbStatement read_findings = DB_STATEMENT(
	"SELECT f.rule, f.script, f.line, f.language, f.message FROM json_to_recordset($1::json)"
	" f (rule text, script integer, line integer, language text, message text)",
	TEXTOID);

enum
{
	FINDING_RULE = 1,
	FINDING_SCRIPT,
	FINDING_LINE,
	FINDING_LANGUAGE,
	FINDING_MESSAGE
};

static DbStatement lock_version =
	DB_STATEMENT("SELECT 1 FROM hotswap.module_version WHERE tenant_id = $1 AND module = $2"
				 " AND version = $3 FOR NO KEY UPDATE SKIP LOCKED",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement update_version =
	DB_STATEMENT("UPDATE hotswap.module_version SET findings = $4::json, findings_digest = $5"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID);

/* ---- examining ---- */

/*
 * The findings in a version's scripts, whatever is done about them; in the current context.  Raises what
 * script_parse() raises and, if asked to refuse, what script_check() and toplevel_check() do.  Bodies are compiled only where
 * the findings are kept: that makes functions and rolls them back.
 */
List *
examine_scripts(const Version *v, Examination how)
{
	char *const *scripts = v->scripts;
	bool refuse = how != EXAMINE_ONLY;
	MemoryContext results = CurrentMemoryContext;
	List *findings = NIL;

	for (int i = 0; i < SCRIPT_COUNT; i++)
	{
		MemoryContext context;
		ParsedScript *script;

		if (scripts[i] == NULL)
			continue;
		context = AllocSetContextCreate(results, "hotswap script", ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(context);
		script = i == SCRIPT_VERIFY ? script_parse_verify(scripts[i]) :
									  script_parse(script_labels[i], scripts[i]);
		if (refuse && (v->transactional || i == SCRIPT_VERIFY))
			script_check(script);
		else if (refuse)
			toplevel_check(script);
		rule_walk_script(i, script->text, script->statements,
						 how == EXAMINE_BODIES ? body_check : NULL, results, &findings);
		MemoryContextSwitchTo(results);
		MemoryContextDelete(context);
	}
	return findings;
}

/* ---- keeping ---- */

/* How often something was found: a rule in a script, of which a language makes several. */
typedef struct Tally
{
	int script;
	Rule rule;
	const char *language;
	int count;
} Tally;

static Tally *
tally_of(List **tallies, int script, Rule rule, const char *language)
{
	Tally *tally;
	ListCell *cell;

	foreach (cell, *tallies)
	{
		tally = lfirst(cell);
		if (tally->script == script && tally->rule == rule &&
			(language && tally->language ? strcmp(tally->language, language) == 0 :
										   language == tally->language))
			return tally;
	}
	tally = palloc0(sizeof(Tally));
	tally->script = script;
	tally->rule = rule;
	tally->language = language;
	*tallies = lappend(*tallies, tally);
	return tally;
}

static void
append_finding(StringInfo text, const Finding *f, const char *language)
{
	appendStringInfo(text, "%s{\"rule\": \"%s\", \"script\": %d, \"line\": %d, ",
					 text->len > 1 ? ",\n" : "", rule_names[f->rule], f->script, f->line);
	if (language)
	{
		appendStringInfoString(text, "\"language\": ");
		escape_json(text, language);
		appendStringInfoString(text, ", ");
	}
	appendStringInfoString(text, "\"message\": ");
	escape_json(text, f->what);
	appendStringInfoChar(text, '}');
}

/*
 * The findings as JSON, the first ones of each kind.  One whose language is left out counts whatever
 * languages there are, so that nothing is hidden by very many of them.
 */
char *
examination_text(List *findings)
{
	List *tallies = NIL;
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	appendStringInfoChar(&text, '[');
	foreach (cell, findings)
	{
		const Finding *f = lfirst(cell);
		bool many = list_length(tallies) >= KEPT_LANGUAGES;
		const char *language = many ? NULL : f->language;

		CHECK_FOR_INTERRUPTS();
		if (tally_of(&tallies, f->script, f->rule, language)->count++ < KEPT_FINDINGS)
			append_finding(&text, f, language);
	}
	appendStringInfoChar(&text, ']');
	return text.data;
}

/* The findings out of what was kept. */
List *
examination_read(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[] = { CStringGetTextDatum(text) };
	List *findings = NIL;
	uint64 n;

	if (strcmp(text, "[]") == 0)
		return NIL;
	n = db_run(&read_findings, args, NULL);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		Finding *f = palloc(sizeof(Finding));

		f->rule = label_parse(db_text(i, FINDING_RULE), rule_names, RULE_COUNT);
		f->script = db_int32(i, FINDING_SCRIPT);
		f->line = db_int32(i, FINDING_LINE);
		f->language = db_text(i, FINDING_LANGUAGE);
		f->what = db_text(i, FINDING_MESSAGE);
		findings = lappend(findings, f);
	}
	return findings;
}

/* ---- again ---- */

typedef struct Renewal
{
	const pg_uuid_t *tenant;
	const Version *version;
} Renewal;

static void
renew(void *arg)
{
	const Renewal *r = arg;
	DbArgs args = db_args(&update_version);
	uint8 digest[DIGEST_LENGTH];
	char *text;

	version_require_intact(r->version);
	text = examination_text(examine_scripts(r->version, EXAMINE_BODIES));
	version_digest_findings(r->version->digest, text, digest);
	db_arg_uuid(&args, r->tenant);
	db_arg_text(&args, r->version->module);
	db_arg_text(&args, r->version->name);
	db_arg_text(&args, text);
	db_arg_digest(&args, digest);
	(void) db_run_args(&args);
}

/*
 * Examines a version again and keeps that.  What is wrong with its scripts is for the stages to say; if
 * another session does the same now, it is left to that.
 */
void
examination_renew(const pg_uuid_t *tenant, const char *module, const char *version)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module),
					 CStringGetTextDatum(version) };
	Renewal r = { .tenant = tenant };
	ErrorData *error;

	if (db_run(&lock_version, args, NULL) == 0)
		return;
	r.version = version_read(tenant, module, version, VERSION_WHOLE);
	error = subxact_run(renew, &r);
	if (error && backoff_is_outside(error->sqlerrcode))
		ReThrowError(error);
}

/* Examines a version again if what is kept does not count. */
void
examination_keep(const pg_uuid_t *tenant, const char *module, const char *version)
{
	if (version_read_existing(tenant, module, version, 0)->findings == NULL)
		examination_renew(tenant, module, version);
}
