-- wait(): for the end of a deployment (src/deployment/wait.c).
SELECT plan(11);

CREATE ROLE deployment_wait_node LOGIN;
CREATE SCHEMA w AUTHORIZATION deployment_wait_node;
SELECT hotswap.publish_version('m', '1', 'SELECT 1'),
	hotswap.register_node('development', 'w', run_as => 'deployment_wait_node',
		schema => 'w') \g /dev/null

-- Arguments.
SELECT throws_ok(q, '22023', m, q)
FROM (VALUES ('SELECT hotswap.wait(NULL)', '"deployment" must not be null')) v (q, m);

-- While the line is stopped it does not end.
SELECT hotswap.stop_dispatching('maintenance of the rack') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '0'), 'queued', 'wait() with zero does not wait');
SELECT is(hotswap.wait(:'d', '20 ms'), 'queued', 'at the timeout it returns the current status');
SELECT throws_ok(format('SELECT hotswap.wait(%L, ''-1 s'')', :'d'), '22023',
	'"timeout" must not be negative', 'a negative timeout');
SELECT throws_ok($$SELECT hotswap.wait('00000000-0000-7000-8000-00000000dead')$$, 'P0002',
	'deployment "00000000-0000-7000-8000-00000000dead" does not exist', 'an unknown deployment');

-- In which transactions one can wait.
SELECT throws_like('SELECT hotswap.wait(hotswap.deploy(''m'', ''1'', ''development''))',
	'cannot wait for deployment % which this transaction has requested or changed',
	'one of the own transaction');
BEGIN;
SELECT hotswap.cancel(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d'), 'cancelled',
	'one that the own transaction has ended: nothing to wait for');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT throws_ok(format('SELECT hotswap.wait(%L)', :'d'), '55000',
	'cannot wait in a transaction of this isolation level', 'REPEATABLE READ');
ROLLBACK;
CREATE FUNCTION pg_temp.cancelled(d uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM hotswap.wait(d);
	RETURN false;
EXCEPTION WHEN query_canceled THEN
	RETURN true;
END $$;

-- Long enough to get there on a busy machine
SET statement_timeout = '1s';
SELECT ok(pg_temp.cancelled(:'d'), 'it can be cancelled');
RESET statement_timeout;

-- It is woken.
SELECT hotswap.deploy('m', '1', 'qa') AS second, hotswap.start_dispatching() \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the line goes on');
SELECT is(hotswap.wait(:'second', '60 s'), 'failed', 'for all');
SELECT * FROM finish();
