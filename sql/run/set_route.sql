-- A share of the callers of a routed module gets another version than the one that runs.

CREATE FUNCTION hotswap.set_route(module text, version text, share integer, roles regrole[] DEFAULT NULL,
		node uuid DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS integer
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_route';
COMMENT ON FUNCTION hotswap.set_route(text, text, integer, regrole[], uuid, uuid) IS
'Gives so many of 10,000 callers of a routed module, and those with some roles, an installed version beside the one that runs; 0 ends that. Returns the number of nodes changed.';
GRANT EXECUTE ON FUNCTION hotswap.set_route TO PUBLIC;
