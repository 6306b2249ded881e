-- A new node gets what the others run.

CREATE FUNCTION hotswap.bring_up(node uuid, reason text DEFAULT NULL) RETURNS uuid[]
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_bring_up';
COMMENT ON FUNCTION hotswap.bring_up(uuid, text) IS
'Requests that a node gets of each module what has succeeded last in its environment, and returns the ids of the deployments; may be called with register_node().';
GRANT EXECUTE ON FUNCTION hotswap.bring_up TO PUBLIC;
