-- What differs between versions, and between environments.

CREATE FUNCTION hotswap.diff_versions(module text, a text, b text, tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_diff_versions';
COMMENT ON FUNCTION hotswap.diff_versions(text, text, text, uuid) IS
'Returns what leads from the scripts of a version to those of another one, as a unified diff; empty where they are equal.';
GRANT EXECUTE ON FUNCTION hotswap.diff_versions TO PUBLIC;

CREATE FUNCTION hotswap.diff_environments(module text, a text, b text, tenant uuid DEFAULT NULL,
		OUT environment text, OUT version text, OUT nodes text[], OUT missing text[])
	RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_diff_environments';
COMMENT ON FUNCTION hotswap.diff_environments(text, text, text, uuid) IS
'Returns the versions that nodes of one of two environments run and that nodes of the other one are missing.';
GRANT EXECUTE ON FUNCTION hotswap.diff_environments TO PUBLIC;
