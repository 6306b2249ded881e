-- await_task() and claim_tasks(): an agent gets its tasks (src/agent/claim.c).
SELECT plan(44);
\ir ../include/agent.sql

-- Arguments.
SELECT throws_ok(q, '22023', m, q)
FROM (VALUES ('SELECT hotswap.claim_tasks(NULL)', '"node" must not be null'),
	('SELECT hotswap.claim_tasks(gen_random_uuid(), NULL)', '"max" must not be null'),
	('SELECT hotswap.claim_tasks(gen_random_uuid(), 0)', '"max" is out of range: 0'),
	('SELECT hotswap.claim_tasks(gen_random_uuid(), 101)', '"max" is out of range: 101'))
	v (q, m);
SELECT throws_ok($$SELECT hotswap.claim_tasks('00000000-0000-7000-8000-00000000dead')$$, 'P0002',
	'node "00000000-0000-7000-8000-00000000dead" does not exist', 'an unknown node');
CREATE SCHEMA s;
SELECT throws_ok(format('SELECT hotswap.claim_tasks(%L)',
	hotswap.register_node('qa', 'db', schema => 's')), '55000', NULL, 'a node without an agent');
SELECT throws_ok(format('CALL hotswap.await_task(%L, ''0'')', :'first'), '2D000',
	'await_task() cannot be called inside a transaction block',
	'not where it would keep a snapshot');
SELECT is((refusal(format('CALL hotswap.await_task(%L, ''-1 s'')', :'first'))).code, '22023',
	'a negative timeout');

-- Nothing to do.
CALL hotswap.await_task(:'first', '0') \gset
SELECT ok(NOT :'ready', 'it does not wait for nothing');
SELECT is_empty(format('SELECT * FROM hotswap.claim_tasks(%L)', :'first'), 'nothing to claim');

-- Both agents are given their task.
SELECT hotswap.deploy('web', '1.0', 'development', metadata => '{"ticket": "A-1"}') AS d \gset
CALL hotswap.await_task(:'first', '60 s') \gset
SELECT ok(:'ready', 'it is woken');
CALL work_for(:'second');
SELECT results_eq($$SELECT node, kind::text, status::text, action::text, version_after, claimed_by,
		lease_until BETWEEN now() + '9 min' AND now() + '10 min', attempt
		FROM hotswap.tasks WHERE stage_kind = 'deploy' ORDER BY node$$,
	$$VALUES ('one', 'swap', 'running', 'activate', '1.0', NULL, true, 1),
		('two', 'swap', 'running', 'activate', '1.0', NULL, true, 1)$$,
	'what is given out waits to be claimed for ten minutes');
SELECT results_eq(format('SELECT reason, unblocked_by FROM hotswap.explain(%L)', :'d'),
	$$VALUES ('a task waits for its agent', 'hotswap.claim_tasks()'),
		('a task waits for its agent', 'hotswap.claim_tasks()')$$, 'explain() says so');

-- What nobody but its agent gets.
SELECT is(as_role(:'two', format('SELECT hotswap.claim_tasks(%L)::text', :'first')), 'P0002',
	'the agent of another node does not');
SELECT is(as_role(:'DBNAME', format('SELECT hotswap.claim_tasks(%L)::text', :'first')), 'P0002',
	'nor somebody else');
SET ROLE :"two";
SELECT throws_ok(format('SELECT hotswap.claim_tasks(%L)', :'first'), 'P0002',
	format('node "%s" does not exist', :'first'), 'SET ROLE makes no difference');
RESET ROLE;
SELECT hotswap.grant_access(:'DBNAME', 'operator') \g /dev/null
SELECT is(as_role(:'DBNAME', format('SELECT hotswap.claim_tasks(%L)::text', :'first')), '42501',
	'a capability is no right to it');

-- Who gets it.
SET ROLE :"one";
SELECT * FROM hotswap.claim_tasks(:'first') \gset
SELECT is_empty('SELECT FROM hotswap.visible_tenants()', 'who sees nothing else, ');
RESET ROLE;
SELECT results_eq(format('SELECT %L, %L, %L, %L, %L::bigint', :'action', :'module', :'version',
	:'digest', :'size'), $$SELECT 'activate', 'web', '1.0', sha('1.0'), 3::bigint$$,
	'is told what to do');
SELECT is(:'task', :'d'::text || '/4/1', 'the name of the task');
SELECT ok(:'token' ~ '^\d+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
	'a token is a number and something nobody can guess');
SELECT ok(:'lease_until'::timestamptz BETWEEN now() + '29 s' AND now() + '31 s', 'for 30 s');
SELECT is(:'settings'::jsonb, jsonb_build_object('deployment', :'d', 'environment', 'development',
	'node', 'one', 'labels', '{}'::jsonb, 'metadata', '{}'::jsonb, 'attempt', 1),
	'and where it is');
SELECT is_empty(format('SELECT * FROM hotswap.claim_tasks(%L)', :'first'),
	'nobody gets it a second time');
SELECT results_eq($$SELECT node, claimed_by, claimed_at IS NOT NULL, lease_until < now() + '31 s'
		FROM hotswap.tasks WHERE node = 'one'$$,
	format('VALUES (''one'', session_user::text COLLATE "default", true, true)'),
	'the view tells who has it');
SELECT results_eq($$SELECT name, action::text, lease_until IS NOT NULL FROM hotswap.nodes
		WHERE kind = 'agent' ORDER BY name$$,
	$$VALUES ('one', 'activate', true), ('two', 'activate', true)$$, 'so does that of the nodes');
SELECT is((SELECT reason FROM hotswap.explain(:'d') LIMIT 1), 'an agent has a task',
	'and explain()');

-- A claim that is rolled back is none.
BEGIN;
SELECT claim(:'second') IS NOT NULL AS claimed \gset
ROLLBACK;
SELECT ok(:'claimed', 'claimed and rolled back');
SELECT is(claim(:'second'), 'activate 1.0', 'it is still there, and a member of the role has it');

-- Done: what runs is recorded, the stage goes on.
SELECT is(hotswap.complete_task(:'task', :'token', true, sha('1.0')), 'succeeded', 'done');
SELECT is(obey(:'second'), 'succeeded', 'by the other one as well');
CALL work_for(:'first');
CALL work_for(:'second');
SELECT is(claim(:'first') || ', ' || claim(:'second'), 'verify 1.0, verify 1.0',
	'the stage validate has both look');
SELECT is(obey(:'first') || ', ' || obey(:'second'), 'succeeded, succeeded', 'it runs');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the deployment has succeeded');
SELECT results_eq($$SELECT name, module, version, action FROM hotswap.nodes WHERE kind = 'agent'
		ORDER BY name$$,
	$$VALUES ('one', 'web', '1.0', NULL::hotswap.agent_action), ('two', 'web', '1.0', NULL)$$,
	'the nodes run it');
SELECT results_eq($$SELECT event, before, after, detail->>'agent' FROM hotswap.audit_log
		WHERE event LIKE 'task.%' AND detail->>'kind' = 'swap' ORDER BY seq$$,
	$$VALUES ('task.start', 'pending', 'running', NULL),
		('task.start', 'pending', 'running', NULL),
		('task.succeed', 'running', 'succeeded', session_user::text COLLATE "default"),
		('task.succeed', 'running', 'succeeded', session_user::text COLLATE "default")$$,
	'the audit log tells whose agent it was');

-- What runs already is not given out again.
SELECT hotswap.deploy('web', '1.0', 'development') AS again \gset
CALL work_for(:'first');
SELECT is(claim(:'first') || ', ' || claim(:'second'), 'verify 1.0, verify 1.0', 'only looked at');
SELECT is(obey(:'first') || ', ' || obey(:'second'), 'succeeded, succeeded', 'it still runs');
SELECT is(hotswap.wait(:'again', '60 s'), 'succeeded', 'nothing else was to be done');

-- The next version, and the way back by hand.
SELECT hotswap.deploy('web', '2.0', 'development') AS next \gset
CALL work_for(:'second');
SELECT is(claim(:'first') || ', ' || claim(:'second'),
	'activate 2.0 from 1.0, activate 2.0 from 1.0',
	'an agent is told what runs before');
SELECT obey(:'first'), obey(:'second') \g /dev/null
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT obey(:'first'), obey(:'second') \g /dev/null
SELECT is(hotswap.wait(:'next', '60 s'), 'succeeded', 'the next version');
SELECT hotswap.rollback(:'next', 'it is slow') AS back \gset
CALL work_for(:'second');
SELECT is(claim(:'first') || ', ' || claim(:'second'), 'revert 1.0 from 2.0, revert 1.0 from 2.0',
	'rollback() has the version before run again');
SELECT obey(:'first'), obey(:'second') \g /dev/null
SELECT is(hotswap.wait(:'back', '60 s'), 'succeeded', 'which needs no script');

-- A role that is dropped cannot have an agent.
ALTER ROLE :"two" NOLOGIN;
SELECT hotswap.deploy('web', '2.0', 'development', reapply => true) AS d \gset
CALL until(format('status_of(%L) = ''running''', :'d'));
CALL work_for(:'first');
SELECT is((SELECT sqlstate FROM hotswap.tasks WHERE deployment_id = :'d' AND node = 'two'), '28000',
	'a task whose role cannot log in fails');
SELECT * FROM finish();
