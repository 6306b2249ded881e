-- By what the waves of an environment are judged.

CREATE FUNCTION hotswap.set_analysis_policy(environment text, confidence double precision DEFAULT 0.95,
		more_errors double precision DEFAULT 50, more_latency double precision DEFAULT 100,
		more_cpu double precision DEFAULT 30, more_memory double precision DEFAULT 30,
		looks integer DEFAULT 5, adaptive boolean DEFAULT false, min_bake interval DEFAULT '5 min',
		require_metrics boolean DEFAULT false, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_analysis_policy';
COMMENT ON FUNCTION hotswap.set_analysis_policy(text, double precision, double precision, double precision, double precision, double precision, integer, boolean, interval, boolean, uuid) IS
'Says by what the waves of an environment are judged: how sure, which percent more are too much (NULL: not compared), how often, and whether without numbers it pauses.';
GRANT EXECUTE ON FUNCTION hotswap.set_analysis_policy TO PUBLIC;
