-- Another go at what failed.

CREATE FUNCTION hotswap.retry(deployment uuid, in_doubt text DEFAULT NULL) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_retry';
COMMENT ON FUNCTION hotswap.retry(uuid, text) IS
'Has another go at a deployment that failed, was rolled back or whose rollback failed, and returns its status; attempts are counted anew. in_doubt: run or skip.';
GRANT EXECUTE ON FUNCTION hotswap.retry TO PUBLIC;
