-- start_by holds for every stage that swaps, and a stage sees the nodes that its gate has seen
-- (src/pipeline/gate.c). Approvals are tested in test/pgtap/approval.
SELECT plan(12);

SELECT named('node') AS node \gset
CREATE ROLE :node LOGIN;
CREATE SCHEMA d AUTHORIZATION :node;
CREATE SCHEMA q AUTHORIZATION :node;
CREATE SCHEMA s AUTHORIZATION :node;
SELECT hotswap.register_node('development', 'd', run_as => :'node', schema => 'd'),
	hotswap.register_node('qa', 'q', run_as => :'node', schema => 'q'),
	hotswap.register_node('staging', 's', run_as => :'node', schema => 's'),
	hotswap.publish_version('slow', '1', 'CREATE TABLE slow (); SET LOCAL lock_timeout = 0;
		SELECT pg_advisory_xact_lock_shared(79)'),
	hotswap.publish_version('quick', '1', 'CREATE TABLE quick ()') \g /dev/null

-- The first stage begins in time and takes longer than that.
SELECT pg_advisory_lock(79), clock_timestamp() + '3 s' AS limit \gset
SELECT hotswap.deploy('slow', '1', 'qa', start_by => :'limit') AS d \gset
CALL until('at_gate(79)');
CALL until(format('clock_timestamp() > %L', :'limit'));
SELECT pg_advisory_unlock(79) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'expired', 'the next stage does not begin');
SELECT matches((SELECT message FROM hotswap.deployments WHERE id = :'d'),
	'^the stage of qa was not started by ', 'the deployment says which');
SELECT is(to_regclass('d.slow')::text, 'd.slow', 'what was swapped in before stays');
SELECT is(to_regclass('q.slow'), NULL, 'nothing is swapped in after it');
SELECT throws_ok(format('SELECT hotswap.retry(%L)', :'d'), '55000', NULL, 'it has ended');

-- It waits for an approval meanwhile.
SELECT hotswap.deploy('quick', '1', 'staging', start_by => clock_timestamp() + '2 s') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'expired', 'the time is over without a vote');
SELECT is((SELECT status::text FROM hotswap.approvals WHERE deployment_id = :'d'), 'void',
	'nobody can give one any more');
SELECT is(to_regclass('s.quick'), NULL, 'nothing is swapped in');

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
