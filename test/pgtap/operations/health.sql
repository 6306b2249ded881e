-- health(): what an operator looks at first, and the queue (src/operations/health.c).
SELECT plan(4);

CREATE ROLE operations_health_node LOGIN;
CREATE SCHEMA w AUTHORIZATION operations_health_node;
SELECT hotswap.publish_version('m', '1', 'SELECT 1'),
	hotswap.register_node('development', 'w', run_as => 'operations_health_node',
		schema => 'w') \g /dev/null

-- While the line is stopped.
SELECT hotswap.stop_dispatching('maintenance of the rack') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT hotswap.deploy('m', '1', 'development', run_at => '2100-01-01') \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa') AS second \gset
SELECT matches((SELECT detail FROM hotswap.health() WHERE component = 'queue'),
	'^3 waiting or scheduled, 0 running, the oldest queued since ', 'the queue in health()');
SELECT results_eq('SELECT deployment_id, status::text FROM hotswap.queue WHERE status = ''queued''
	ORDER BY requested_at', format('VALUES (%L::uuid, ''queued''), (%L, ''queued'')', :'d',
	:'second'), 'the queue');

-- All is well again.
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it goes on');
SELECT set_eq($$SELECT component, status FROM hotswap.health()$$,
	$$VALUES ('version', 'ok'), ('preload', 'ok'), ('launcher', 'ok'), ('dispatcher', 'ok'),
		('executors', 'ok'), ('visits', 'ok'), ('housekeeping', 'ok'), ('dispatching', 'ok'),
		('queue', 'ok'), ('approvals', 'ok'), ('audit', 'ok'), ('rollbacks', 'ok'),
		('replication', 'ok'), ('nodes', 'ok')$$,
	'all is well');
SELECT * FROM finish();
