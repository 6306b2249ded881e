-- Loading the queue takes a look-up by key for each deployment, even if the plan dates from the time
-- when the tables were known to be empty (src/dispatch/load.c).
SELECT plan(2);

SELECT hotswap.register_node('development', 'load', run_as => session_user::text::regrole);
SELECT hotswap.publish_version('m', '1', 'SELECT 1');
VACUUM ANALYZE hotswap.work_item, hotswap.deployment;
SELECT hotswap.stop_dispatching('test of loading');
CALL hotswap.work();
SELECT count(hotswap.deploy('m', '1', 'development')) FROM generate_series(1, 1000);
CREATE FUNCTION pg_temp.entries_read() RETURNS bigint LANGUAGE sql AS $$
	SELECT pg_stat_force_next_flush();
	SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelid = 'hotswap.deployment_pkey'::regclass
$$;
SELECT pg_temp.entries_read();
SELECT pg_temp.entries_read() AS before \gset
CALL hotswap.work();
SELECT pg_temp.entries_read();
SELECT pg_temp.entries_read() AS after \gset
SELECT ok(:after - :before >= 1000, 'the queue was loaded');
SELECT ok(:after - :before < 5000, 'by reading each deployment about once');
