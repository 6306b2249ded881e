-- Static rules: what an environment does about kinds of statements in scripts.

CREATE FUNCTION hotswap.set_rule(environment text, rule text, action text, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_rule';
COMMENT ON FUNCTION hotswap.set_rule(text, text, text, uuid) IS
'Sets what an environment does about a kind of statement in scripts: action off, warn, deny, or NULL for the usual one.';
GRANT EXECUTE ON FUNCTION hotswap.set_rule TO PUBLIC;

CREATE FUNCTION hotswap.rule_list(OUT rule hotswap.static_rule, OUT action hotswap.rule_action,
		OUT about text, OUT hint text) RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'hotswap_rule_list';
COMMENT ON FUNCTION hotswap.rule_list() IS
'Returns the static rules: their usual action, what they are about, and what to do instead.';
GRANT EXECUTE ON FUNCTION hotswap.rule_list TO PUBLIC;

CREATE FUNCTION hotswap.lint_version(module text, version text, environment text, tenant uuid DEFAULT NULL,
		OUT rule hotswap.static_rule, OUT action hotswap.rule_action, OUT strictest text,
		OUT script text, OUT line integer, OUT message text, OUT hint text) RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_lint_version';
COMMENT ON FUNCTION hotswap.lint_version(text, text, text, uuid) IS
'Returns what the stage scan would warn of or deny if the version were deployed to the environment: rule, action, script, line, and what to do instead.';
GRANT EXECUTE ON FUNCTION hotswap.lint_version TO PUBLIC;

CREATE VIEW hotswap.rules WITH (security_barrier) AS
SELECT v.tenant_id, r.environment, r.rule, r.action, r.is_set, r.about
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (e.name, l.rule) e.name AS environment, l.rule,
			coalesce(s.action, l.action) AS action, s.action IS NOT NULL AS is_set, l.about
		FROM hotswap.environment e
			CROSS JOIN hotswap.rule_list() l
			LEFT JOIN hotswap.environment_rule s ON s.tenant_id = v.tenant_id AND s.environment = e.name
				AND s.rule = l.rule
		WHERE e.tenant_id = v.tenant_id OFFSET 0) r;
COMMENT ON VIEW hotswap.rules IS 'static rules and what each environment does about them';
GRANT SELECT ON hotswap.rules TO PUBLIC;
