-- Another go at what failed.

CREATE FUNCTION hotswap.retry(deployment uuid) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_retry';
COMMENT ON FUNCTION hotswap.retry(uuid) IS
'Has another go at a deployment that failed, was rolled back or whose rollback failed, and returns its status; attempts are counted anew.';
GRANT EXECUTE ON FUNCTION hotswap.retry TO PUBLIC;
