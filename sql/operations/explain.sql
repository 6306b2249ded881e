-- Why a deployment does not move.

CREATE FUNCTION hotswap.explain(deployment uuid, OUT reason text, OUT detail text, OUT unblocked_by text)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_explain';
COMMENT ON FUNCTION hotswap.explain(uuid) IS
'Returns every reason why a deployment is not moving now, and what would unblock it.';
GRANT EXECUTE ON FUNCTION hotswap.explain TO PUBLIC;
