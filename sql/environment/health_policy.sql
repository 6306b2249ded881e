-- When a node and an environment are healthy.

CREATE FUNCTION hotswap.set_health_policy(environment text, silent_after interval DEFAULT '2 min',
		max_cpu double precision DEFAULT 90, max_memory double precision DEFAULT 90,
		max_error_rate double precision DEFAULT 5, min_healthy integer DEFAULT NULL,
		metrics_from regrole DEFAULT NULL, measure text DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_health_policy';
COMMENT ON FUNCTION hotswap.set_health_policy(text, interval, double precision, double precision, double precision, integer, regrole, text, uuid) IS
'Says when a node of an environment is unhealthy, by what it reports (NULL: not by that), how many may be, whose reports count, and what is measured without reports.';
GRANT EXECUTE ON FUNCTION hotswap.set_health_policy TO PUBLIC;
