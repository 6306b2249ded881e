-- retry() of what has failed (src/deployment/retry.c). Which errors are tried again by themselves
-- is tested in test/t/deployment/retry.pl.
SELECT plan(13);

SELECT hotswap.publish_version('plain', '1', 'SELECT 1'),
	hotswap.stop_dispatching('so that nothing starts') \g /dev/null
SELECT hotswap.deploy('plain', '1', 'qa') AS id, hotswap.deploy('plain', '1', 'qa') AS id2 \gset
SELECT hotswap.cancel(:'id', 'not today') \g /dev/null

-- What cannot be retried.
SELECT throws_ok(format('SELECT hotswap.retry(%L)', s), code, message,
	'retry() of ' || coalesce(s, 'NULL'))
FROM (VALUES (NULL, '22023', '"deployment" must not be null'),
	(:'id', '55000', 'deployment in status "cancelled" does not allow event "retry"'),
	(:'id2', '55000', 'deployment in status "queued" does not allow event "retry"')) a (s, code,
		message);
SELECT hotswap.cancel(:'id2', 'not today') \g /dev/null

-- Two nodes that run version 2.
CREATE ROLE deployment_retry_a LOGIN;
CREATE ROLE deployment_retry_b LOGIN;
CREATE SCHEMA a AUTHORIZATION deployment_retry_a;
CREATE SCHEMA b AUTHORIZATION deployment_retry_b;
SELECT hotswap.publish_version('billing', '2', 'SELECT 1'),
	hotswap.publish_version('billing', 'wrong', 'CREATE TABLE must_not_stay ()', 'SELECT false'),
	hotswap.start_dispatching() \g /dev/null
SELECT hotswap.register_node('development', 'dev', run_as => 'deployment_retry_a', schema => 'a'),
	hotswap.set_approval_policy('staging', 0),
	hotswap.register_node('staging', 'stage', run_as => 'deployment_retry_b',
		schema => 'b') \g /dev/null
SELECT hotswap.deploy('billing', '2', 'staging') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'version 2 is there');

-- A failure, and another go.
SELECT hotswap.deploy('billing', 'wrong', 'staging') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'the verify script says no');
SELECT results_eq(format('SELECT sqlstate, message FROM hotswap.deployment WHERE id = %L', :'d'),
	$$VALUES ('P0004', 'verification returned false')$$, 'the deployment says why');
SELECT results_eq(format('SELECT status::text, sqlstate, script, position, detail FROM hotswap.tasks
	WHERE deployment_id = %L', :'d'),
	$$VALUES ('failed', 'P0004', 'verify', 1, 'Statement: SELECT false')$$,
	'so does the task, with the place');
SELECT is(to_regclass('a.must_not_stay'), NULL, 'the swap is undone');
SELECT is((SELECT status::text FROM hotswap.stages
	WHERE deployment_id = :'d' AND environment = 'staging'), 'pending',
	'the next environment was not reached');
SELECT results_eq($$SELECT name, version FROM hotswap.nodes ORDER BY name$$,
	$$VALUES ('dev', '2'), ('stage', '2')$$, 'the nodes are where they were');
SELECT is(hotswap.retry(:'d'), 'queued', 'retry() puts it back');
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'it fails again');
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE subject_id = :'d' AND event = 'task.fail'),
	2::bigint, 'both attempts are in the audit log');
SELECT * FROM finish();
