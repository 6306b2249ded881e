-- How the nodes of an environment are taken in waves.

CREATE FUNCTION hotswap.configure_rollout(environment text, first_wave text DEFAULT NULL,
		wave_step text DEFAULT NULL, first_bake interval DEFAULT NULL, bake interval DEFAULT NULL,
		bake_last boolean DEFAULT NULL, pause_timeout interval DEFAULT NULL,
		health_timeout interval DEFAULT NULL, canary_by text DEFAULT NULL,
		max_parallel integer DEFAULT NULL, order_by text[] DEFAULT NULL, tenant uuid DEFAULT NULL)
		RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_configure_rollout';
COMMENT ON FUNCTION hotswap.configure_rollout(text, text, text, interval, interval, boolean, interval, interval, text, integer, text[], uuid) IS
'Says how large the waves of an environment are, and how long a rollout waits between them; NULL leaves what is there.';
GRANT EXECUTE ON FUNCTION hotswap.configure_rollout TO PUBLIC;
