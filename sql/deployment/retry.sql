-- Another go at what failed.

CREATE FUNCTION hotswap.retry(deployment uuid) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_retry';
COMMENT ON FUNCTION hotswap.retry(uuid) IS
'Has another go at a deployment that failed, was rolled back, whose rollback failed, or that left nodes behind, which it then takes alone, and returns its status.';
GRANT EXECUTE ON FUNCTION hotswap.retry TO PUBLIC;
