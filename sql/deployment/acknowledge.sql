-- Saying that a rollback that failed has been dealt with.

CREATE FUNCTION hotswap.acknowledge(deployment uuid, reason text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_acknowledge';
COMMENT ON FUNCTION hotswap.acknowledge(uuid, text) IS
'Declares, with a reason, that the nodes a failed rollback left behind have been dealt with: health() does not report it any more.';
GRANT EXECUTE ON FUNCTION hotswap.acknowledge TO PUBLIC;
