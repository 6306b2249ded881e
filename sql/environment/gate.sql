-- Gates: the user's own SQL functions that are asked after each wave of a rollout.

CREATE FUNCTION hotswap.register_gate(environment text, function regprocedure, module text DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_register_gate';
COMMENT ON FUNCTION hotswap.register_gate(text, regprocedure, text, uuid) IS
'Has rollouts to an environment, of a module or of all (NULL), ask function(deployment uuid, stage integer, wave integer) returning gate_result after each wave.';
GRANT EXECUTE ON FUNCTION hotswap.register_gate TO PUBLIC;

CREATE FUNCTION hotswap.remove_gate(environment text, function text, module text DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_remove_gate';
COMMENT ON FUNCTION hotswap.remove_gate(text, text, text, uuid) IS
'Undoes register_gate() with the same arguments; function may also be the name that the view gates shows.';
GRANT EXECUTE ON FUNCTION hotswap.remove_gate TO PUBLIC;

CREATE VIEW hotswap.gates WITH (security_barrier) AS
SELECT v.tenant_id, g.environment, nullif(g.module, '') AS module, g.function
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.environment, t.module, t.function) t.* FROM hotswap.gate t
		WHERE t.tenant_id = v.tenant_id OFFSET 0) g;
COMMENT ON VIEW hotswap.gates IS 'functions that rollouts ask; module NULL: every module';
GRANT SELECT ON hotswap.gates TO PUBLIC;
