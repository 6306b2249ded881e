-- Hooks: the user's own SQL functions in the stages test and validate.

CREATE FUNCTION hotswap.register_hook(stage text, function regprocedure, module text DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_register_hook';
COMMENT ON FUNCTION hotswap.register_hook(text, regprocedure, text, uuid) IS
'Has the stage test or validate, of a module or of all (NULL), call function(deployment uuid) returning boolean (false or NULL fails the stage) or void.';
GRANT EXECUTE ON FUNCTION hotswap.register_hook TO PUBLIC;

CREATE FUNCTION hotswap.remove_hook(stage text, function text, module text DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_remove_hook';
COMMENT ON FUNCTION hotswap.remove_hook(text, text, text, uuid) IS
'Undoes register_hook() with the same arguments; function may also be the name that the view hooks shows.';
GRANT EXECUTE ON FUNCTION hotswap.remove_hook TO PUBLIC;

CREATE VIEW hotswap.hooks WITH (security_barrier) AS
SELECT v.tenant_id, h.stage, nullif(h.module, '') AS module, h.function
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.stage, t.module, t.function) t.* FROM hotswap.hook t
		WHERE t.tenant_id = v.tenant_id OFFSET 0) h;
COMMENT ON VIEW hotswap.hooks IS 'registered hooks; module NULL: every module';
GRANT SELECT ON hotswap.hooks TO PUBLIC;
