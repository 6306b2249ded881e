-- What nodes have reported, summed up.

CREATE FUNCTION hotswap.node_levels(environment text, since timestamptz, until timestamptz DEFAULT NULL,
		tenant uuid DEFAULT NULL, OUT node_id uuid, OUT node text, OUT reports integer, OUT requests bigint,
		OUT errors bigint, OUT latency_ms double precision, OUT cpu double precision, OUT memory double precision)
		RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_node_levels';
COMMENT ON FUNCTION hotswap.node_levels(text, timestamptz, timestamptz, uuid) IS
'Returns what each node of an environment reported from since on and before until (NULL: now): requests and errors in all, and the geometric means of the rest.';
GRANT EXECUTE ON FUNCTION hotswap.node_levels TO PUBLIC;
