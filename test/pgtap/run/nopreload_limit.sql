-- A script that takes longer than it has said ends itself, and not the call of work()
-- (src/run/script.c).
SELECT plan(2);

SELECT hotswap.register_node('development', 't') \g /dev/null
SELECT hotswap.publish_version('slow', '1', 'SET statement_timeout = 50; SELECT pg_sleep(600)'),
	hotswap.publish_version('quick', '1', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('slow', '1', 'development', priority => 1) AS slow,
	hotswap.deploy('quick', '1', 'development') AS quick \gset
CALL hotswap.work();
SELECT is((SELECT concat_ws(' ', status, sqlstate) FROM hotswap.deployments WHERE id = :'slow'),
	'failed 57014', 'the task has failed');
SELECT is((SELECT status FROM hotswap.deployments WHERE id = :'quick'), 'succeeded',
	'and the next one is done');

SELECT * FROM finish();
