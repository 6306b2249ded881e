-- Static rules: what an environment does about kinds of statements in scripts.

CREATE TYPE hotswap.static_rule AS ENUM ('security_definer_search_path', 'grant_to_public', 'alter_system',
	'copy_program', 'create_extension', 'untrusted_language', 'drop_table', 'truncate', 'dynamic_do');
COMMENT ON TYPE hotswap.static_rule IS 'what scripts are scanned for; see rule_list()';

CREATE TYPE hotswap.rule_action AS ENUM ('off', 'warn', 'deny');
COMMENT ON TYPE hotswap.rule_action IS
'what happens when a script does it: off = nothing; warn = the stage scan and the audit log say so; deny = the stage scan fails';

CREATE TABLE hotswap.environment_rule (
	tenant_id uuid NOT NULL,
	environment text NOT NULL,
	rule hotswap.static_rule NOT NULL,
	action hotswap.rule_action NOT NULL,
	PRIMARY KEY (tenant_id, environment, rule),
	FOREIGN KEY (tenant_id, environment) REFERENCES hotswap.environment
);
COMMENT ON TABLE hotswap.environment_rule IS 'actions that were set; where there is none, the rule has its usual action';

CREATE FUNCTION hotswap.set_rule(environment text, rule text, action text, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_rule';
COMMENT ON FUNCTION hotswap.set_rule(text, text, text, uuid) IS
'Sets what an environment does about a kind of statement: action off, warn, deny, or NULL for the usual one. A deployment obeys the strictest environment on its path, as it is when the stage scan starts. Only for those who have admin. Errors: 22023 bad argument, rule or action, P0002 no such environment or tenant, 42501 not allowed, YH003 tenant not active. Locks the tenant row and the environment; audited with before and after.';

CREATE FUNCTION hotswap.rule_list(OUT rule hotswap.static_rule, OUT action hotswap.rule_action,
		OUT about text, OUT hint text) RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'hotswap_rule_list';
COMMENT ON FUNCTION hotswap.rule_list() IS
'Returns the static rules: their usual action, what they are about, and what to do instead.';

CREATE FUNCTION hotswap.lint_version(module text, version text, environment text, tenant uuid DEFAULT NULL,
		OUT rule hotswap.static_rule, OUT action hotswap.rule_action, OUT strictest text,
		OUT script text, OUT line integer, OUT message text, OUT hint text) RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_lint_version';
COMMENT ON FUNCTION hotswap.lint_version(text, text, text, uuid) IS
'Returns what the stage scan would warn of or deny if the version were deployed to the environment: the rule, the action and the environment on the path that is the strictest about it, the script, the line in it, what is there, and what to do instead. Only for those who have viewer. Errors: 22023 bad argument, P0002 no such version or environment, 42501 not allowed, XX001 the scripts are not those that were published.';

CREATE VIEW hotswap.rules WITH (security_barrier) AS
SELECT e.tenant_id, e.name AS environment, l.rule, coalesce(r.action, l.action) AS action,
	r.action IS NOT NULL AS is_set, l.about
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.environment e ON e.tenant_id = v.tenant_id
	CROSS JOIN hotswap.rule_list() l
	LEFT JOIN hotswap.environment_rule r ON r.tenant_id = e.tenant_id AND r.environment = e.name
		AND r.rule = l.rule;
COMMENT ON VIEW hotswap.rules IS 'static rules and what each environment does about them';
