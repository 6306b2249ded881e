-- Stopping and starting the line: adopt(), stop_dispatching(), start_dispatching()
-- (src/operations/dispatching.c).
SELECT plan(10);

-- Before the first use.
SELECT is((SELECT status || ': ' || detail FROM hotswap.health() WHERE component = 'dispatching'),
	'ok: nothing has been published yet', 'before the first use');
SELECT is(hotswap.adopt()::text, '', 'adopt() without need does nothing');
SELECT is((SELECT count(*) FROM hotswap.audit_log), 0::bigint, 'nothing at all');
SELECT throws_ok('SELECT hotswap.start_dispatching()', '55000',
	format('dispatching is not stopped in database "%s"', current_database()),
		'start_dispatching() without need');

-- Arguments.
SELECT throws_ok(q, '22023', m, q)
FROM (VALUES ('SELECT hotswap.stop_dispatching(NULL)', '"reason" must not be null'),
	('SELECT hotswap.stop_dispatching('''')', '"reason" must not be blank')) v (q, m);

CREATE ROLE operations_dispatching_node LOGIN;
CREATE SCHEMA w AUTHORIZATION operations_dispatching_node;
SELECT hotswap.publish_version('m', '1', 'SELECT 1'),
	hotswap.register_node('development', 'w', run_as => 'operations_dispatching_node',
		schema => 'w') \g /dev/null

-- The line is stopped: nothing new starts, and everybody can see why.
SELECT hotswap.stop_dispatching('maintenance of the rack') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT results_eq(format('SELECT reason, detail LIKE ''by %%: maintenance of the rack'',
	unblocked_by FROM hotswap.explain(%L)', :'d'),
	$$VALUES ('dispatching is stopped', true, 'hotswap.start_dispatching()')$$,
	'explain() says so');
SELECT matches((SELECT status || ': ' || detail FROM hotswap.health()
	WHERE component = 'dispatching'), '^warning: stopped by .*: maintenance of the rack$',
	'health() too');
SELECT is(hotswap.wait(:'d', '20 ms'), 'queued', 'nothing starts');

-- It goes on.
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the line goes on');
SELECT * FROM finish();
