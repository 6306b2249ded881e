-- start_by holds for every stage that swaps (src/pipeline/gate.c). Approvals are tested in
-- test/pgtap/approval.
SELECT plan(8);

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
SELECT * FROM finish();
