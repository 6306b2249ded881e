-- CALL work() has transactions of its own session only (src/run/task.c).
SELECT plan(3);

SELECT hotswap.register_node('development', 'n', run_as => 'postgres') \g /dev/null
SELECT hotswap.publish_version('m', '1', 'VACUUM', transactional => false) \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
CALL hotswap.work();
SELECT is(status_of(:'d'), 'failed', 'it cannot run what is outside of them');
SELECT is(t.sqlstate || ': ' || t.message || ' / ' || t.detail || ' / ' || t.hint,
	'0A000: version "1" of module "m" cannot run in a transaction / CALL hotswap.work() runs'
	|| ' scripts in transactions of its own session. / Add hotswap to shared_preload_libraries:'
	|| ' executors can run it.', 'and says so')
FROM hotswap.tasks t WHERE deployment_id = :'d';
SELECT is(count(*), 0::bigint, 'nothing is noted') FROM hotswap.statement;
SELECT * FROM finish();
