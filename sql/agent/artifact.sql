-- Reading artifacts.

CREATE FUNCTION hotswap.read_artifact(module text, version text, "offset" bigint DEFAULT 0,
		length integer DEFAULT 1048576) RETURNS bytea
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_read_artifact';
COMMENT ON FUNCTION hotswap.read_artifact(text, text, bigint, integer) IS
'Returns a part of an artifact that is stored here: at most so many bytes from the offset on, none behind its end.';
GRANT EXECUTE ON FUNCTION hotswap.read_artifact TO PUBLIC;
