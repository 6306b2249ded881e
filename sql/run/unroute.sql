-- A routed module is called directly again.

CREATE FUNCTION hotswap.unroute(module text, node uuid DEFAULT NULL, tenant uuid DEFAULT NULL)
		RETURNS integer
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_unroute';
COMMENT ON FUNCTION hotswap.unroute(text, uuid, uuid) IS
'Puts the functions of the version that callers get in the place of its entries, and drops what is installed of a routed module; node NULL: on all nodes. Returns the number of nodes.';
GRANT EXECUTE ON FUNCTION hotswap.unroute TO PUBLIC;
