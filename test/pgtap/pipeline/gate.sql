-- The gate and the stage behind it see the same nodes.
SELECT plan(4);

-- Given an environment that needs an approval and has no node, before one that has one.
CREATE ROLE pipeline_gate_one LOGIN;
CREATE ROLE pipeline_gate_two LOGIN;
SELECT hotswap.grant_access('pg_monitor', 'viewer'), gen_random_uuid() AS t \gset
INSERT INTO hotswap.tenant (id, name, status) VALUES (:'t', 'gate', 'active');
SET hotswap.tenant = :'t';
SELECT hotswap.configure_environment('one', 1), hotswap.configure_environment('two', 2),
	hotswap.set_approval_policy('one', 1), hotswap.set_approval_policy('two', 0),
	hotswap.register_node('two', 'n', run_as => 'pipeline_gate_two'),
	hotswap.publish_version('m', '1', 'SELECT 1') \g /dev/null

-- When a node is registered after the gate, before the stage has read the nodes.
SELECT dblink_connect('holder', connection_of(session_user::text)),
	dblink_exec('holder', 'BEGIN') \g /dev/null
SELECT dblink_exec('holder', 'LOCK TABLE hotswap.node_module IN ACCESS EXCLUSIVE MODE') \g /dev/null
SELECT hotswap.deploy('m', '1', 'two') AS d \gset
CALL until('EXISTS (SELECT FROM pg_locks WHERE NOT granted
	AND relation = ''hotswap.node_module''::regclass)');
SELECT hotswap.register_node('one', 'n', run_as => 'pipeline_gate_one') \g /dev/null
SELECT dblink_exec('holder', 'COMMIT'), dblink_disconnect('holder') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it goes on');

-- Then nothing is swapped there without an approval.
SELECT is_empty(format('SELECT FROM hotswap.tasks WHERE deployment_id = %L
	AND environment = ''one''', :'d'), 'the new node is left alone');
SELECT is((SELECT status::text || ': ' || message FROM hotswap.stages
	WHERE deployment_id = :'d' AND environment = 'one'),
	'skipped: the environment has no nodes', 'as if it had come later');

-- The next deployment waits for the approval.
SELECT hotswap.deploy('m', '1', 'two') AS d \gset
CALL await(:'d', 'pending_approval');
SELECT pass('the next one is held back');
SELECT * FROM finish();
