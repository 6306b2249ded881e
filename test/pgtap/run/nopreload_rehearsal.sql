-- Rehearsals in the session of CALL work() (src/run/rehearsal.c, src/run/lock_watch.c).
SELECT plan(8);
\ir ../include/rehearsal.sql
SELECT hotswap.publish_version('m', '1', 'UPDATE items SET name = ''new'';
	ALTER TABLE items ADD more int', 'SELECT count(*) = 2000 FROM items WHERE name = ''new'''),
	hotswap.publish_version('m', 'error', 'SELECT 1/0'),
	hotswap.publish_version('m', 'long', 'LOCK TABLE items; SELECT pg_sleep(600)') \g /dev/null
SELECT everything() AS before \gset

-- What succeeds, fails, and is stopped.
SELECT hotswap.deploy('m', '1', 'development', rehearse => true) AS good \gset
CALL hotswap.work();
SELECT is(status_of(:'good'), 'succeeded', 'it succeeds');
SELECT results_eq('SELECT rows, mode FROM hotswap.rehearsals r JOIN hotswap.rehearsal_locks l
	USING (deployment_id, step) WHERE relation = ''public.items''',
	$$VALUES (2000::bigint, 'AccessExclusiveLock')$$, 'and says what it took');
SELECT hotswap.configure_environment('development', rehearse_max_lock => '50 ms') \g /dev/null
SELECT hotswap.deploy('m', 'error', 'development', rehearse => true) AS error,
	hotswap.deploy('m', 'long', 'development', rehearse => true) AS long \gset
CALL hotswap.work();
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'error'), 'division by zero',
	'an error is that of the script');
SELECT is((SELECT sqlstate FROM hotswap.deployments WHERE id = :'long'), 'YH012',
	'a lock that is held for too long ends it, and not the call');
SELECT is((SELECT string_agg(script, ' ') FROM hotswap.tasks WHERE deployment_id IN (:'error',
	:'long') AND position IS NOT NULL), 'deploy deploy', 'both know where');
SELECT results_eq('SELECT module, version FROM hotswap.rehearsals WHERE version <> ''1''
	ORDER BY deployment_id', $$VALUES ('m', 'error'), ('m', 'long')$$, 'a row for each');
SELECT is(everything(), :'before', 'nothing has changed');

-- The session is as before.
BEGIN;
LOCK TABLE items;
SELECT is((SELECT count(*) FROM pg_sleep(0.2)), 1::bigint, 'the session may lock what it likes');
COMMIT;

SELECT * FROM finish();
