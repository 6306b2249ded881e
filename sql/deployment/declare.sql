-- What a node runs is declared.

CREATE FUNCTION hotswap.set_node_version(node uuid, module text, version text[], reason text) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_node_version';
COMMENT ON FUNCTION hotswap.set_node_version(uuid, text, text[], text) IS
'Declares, with a reason, that a node runs versions of a module; only their verify scripts are run. Returns the id of the deployment that does it.';
GRANT EXECUTE ON FUNCTION hotswap.set_node_version TO PUBLIC;
