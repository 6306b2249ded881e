-- Who may rehearse what: deploy(rehearse => true) (src/deployment/deploy.c,
-- src/core/rehearsal_right.c).
SELECT plan(27);
\ir ../include/approval.sql
SELECT hotswap.grant_access(named('boss')::regrole, 'operator'),
	hotswap.grant_access(named('boss')::regrole, 'deployer'),
	hotswap.set_approval_policy('production', 1, ARRAY[named('leads')]::regrole[]),
	hotswap.register_node('development', 'd', run_as => named('node')::regrole) \g /dev/null

-- The capability.
SELECT is(request(more => ', rehearse => false') IS NOT NULL, true, 'alice may deploy');
SELECT is(as_role(named('alice'), 'SELECT hotswap.deploy(''m'', ''1'', ''development'',
	rehearse => true)'), '42501', 'and not rehearse');
SELECT is((refusal($$SELECT hotswap.deploy('m', '1', 'development', rehearse => NULL)$$)).message,
	'"rehearse" must not be null', 'it is said or not');

-- In a protected environment, with an approval of its own.
SELECT request(more => ', rehearse => true', role => 'boss') AS d \gset
CALL await(:'d', 'pending_approval');
SELECT results_eq(format('SELECT environment, status::text FROM hotswap.approvals
	WHERE deployment_id = %L', :'d'), $$VALUES ('production', 'pending')$$,
	'and waits for its approval');
SELECT vote('bob', 'approve', :'d') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'with it, it runs');
SELECT results_eq(format('SELECT kind::text, only_target FROM hotswap.deployments WHERE id = %L',
	:'d'), $$VALUES ('rehearsal', true)$$, 'as what it is, there alone');
SELECT is((SELECT count(*) FROM hotswap.node_history WHERE environment = 'production'), 0::bigint,
	'and nothing came of it');

-- Its approval is not that of a deployment.
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(status_of(:'d'), 'pending_approval', 'a deployment of the same waits for its own');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null

-- Without one, where the environment says so.
SELECT hotswap.configure_environment('production', rehearse_without_approval => true) \g /dev/null
SELECT request(more => ', rehearse => true', role => 'boss') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it goes without');
SELECT is((SELECT count(*) FROM hotswap.approval WHERE deployment_id = :'d'), 0::bigint,
	'nobody was asked');
SELECT request(more => ', rehearse => true, require_approval => ''{production}''',
	role => 'boss') AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(status_of(:'d'), 'pending_approval', 'unless it was asked for');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null

-- What it does not do.
SELECT is((refusal(format('SELECT hotswap.rollback(%L, ''x'')', d.id))).detail,
	'It is a rehearsal, and has left nothing.', 'it cannot be rolled back')
FROM hotswap.deployment d WHERE d.kind = 'rehearsal' AND d.status = 'succeeded' LIMIT 1;
SELECT request('development') AS a \gset
SELECT is(hotswap.wait(:'a', '60 s'), 'succeeded', 'version 1 is in development');
SELECT hotswap.publish_version('m', '2', 'SELECT 2') \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS b \gset
SELECT is(hotswap.wait(:'b', '60 s'), 'succeeded', 'and version 2');
SELECT hotswap.rollback(:'b', 'not that') AS c \gset
SELECT is(hotswap.wait(:'c', '60 s'), 'succeeded', 'which is rolled back and held');
SELECT hotswap.deploy('m', '2', 'development', rehearse => true) AS d,
	hotswap.deploy('m', '2', 'development', rehearse => true, reapply => true) AS e \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'what is held is not rehearsed');
SELECT is(hotswap.wait(:'e', '60 s'), 'succeeded', 'but when that is asked for');
SELECT is((SELECT count(*) FROM hotswap.held_versions), 1::bigint, 'and is held as before');

-- Outside of transactions there is nothing to take back.
SELECT hotswap.publish_version('m', 'vacuum', 'VACUUM pg_class', transactional => false),
	hotswap.publish_version('g', '1', 'SELECT 1', parents => '{}'),
	hotswap.publish_version('g', '2', 'VACUUM pg_class', transactional => false,
		parents => '{1}'),
	hotswap.publish_version('g', '3', 'SELECT 1', parents => '{2}') \g /dev/null
SELECT results_eq($$SELECT (r).* FROM refusal('SELECT hotswap.deploy(''m'', ''vacuum'',
	''development'', rehearse => true)') r$$, $$VALUES ('0A000',
	'version "vacuum" of module "m" cannot be rehearsed on node "d"',
	'It runs outside of transactions: nothing would take it back.',
	'Rehearse the versions before it, and try this one in an environment of lower rank.')$$,
	'such a version is refused');
SELECT throws_ok($$SELECT hotswap.deploy('g', '3', 'development', rehearse => true)$$, '0A000',
	'version "2" of module "g" cannot be rehearsed on node "d"', 'so is what builds on it');
SELECT lives_ok($$SELECT hotswap.deploy('g', '1', 'development', rehearse => true)$$,
	'but not what it builds on');
SELECT hotswap.stop_dispatching('so that it starts later') \g /dev/null
SELECT hotswap.deploy('g', '3', 'qa', rehearse => true) AS d \gset
SELECT format('CREATE SCHEMA q AUTHORIZATION %I', named('node')) \gexec
SELECT hotswap.register_node('qa', 'q', run_as => named('node')::regrole, schema => 'q'),
	hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a node may be added before it starts');
SELECT is((SELECT message FROM hotswap.deployment WHERE id = :'d'),
	'version "2" of module "g" cannot be rehearsed on node "q"', 'it says why');

-- It brings nothing that others wait for, and a key stands for one of both.
SELECT hotswap.deploy('m', '1', 'development', 'key', rehearse => true) IS NOT NULL AS k \gset
SELECT is(hotswap.deploy('m', '1', 'development', 'key', rehearse => true), (SELECT id
	FROM hotswap.deployment WHERE idempotency_key = 'key'), 'the same key, the same rehearsal');
SELECT throws_ok($$SELECT hotswap.deploy('m', '1', 'development', 'key', only_target => true)$$,
	'YH001', NULL, 'it is no deployment');

-- What an environment says of rehearsals.
SELECT hotswap.configure_environment('qa', require_rehearsal => true, rehearse_max_lock => '2 s')
	\g /dev/null
SELECT results_eq($$SELECT rehearse_without_approval, require_rehearsal, rehearse_max_lock
	FROM hotswap.environments WHERE name IN ('development', 'qa') ORDER BY name$$,
	$$VALUES (false, false, interval '500 ms'), (false, true, '2 s')$$, 'it is shown');
SELECT results_eq($$SELECT (refusal(format('SELECT hotswap.configure_environment(''qa'',
	rehearse_max_lock => %L)', l))).message || ' ' || (refusal(format(
	'SELECT hotswap.configure_environment(''qa'', rehearse_max_lock => %L)', l))).detail
	FROM (VALUES ('9 ms'), ('1 h 1 s')) v (l)$$,
	$$VALUES ('"rehearse_max_lock" is out of range: 00:00:00.009 It must be between 10 ms and an '
	|| 'hour.'), ('"rehearse_max_lock" is out of range: 01:00:01 It must be between 10 ms and an '
	|| 'hour.')$$, 'within bounds');

SELECT * FROM finish();
