-- extend_task(), report_progress(), complete_task(): leases, tokens and ends (src/agent/report.c).
SELECT plan(88);
\ir ../include/agent.sql
SELECT hotswap.configure_agents('development', lease => '1 h', attempts => 2) \g /dev/null

-- Arguments.
CREATE FUNCTION pg_temp.calls(task text, token text) RETURNS SETOF text LANGUAGE sql AS $$
	VALUES (format('SELECT hotswap.extend_task(%L, %L)', task, token)),
		(format('SELECT hotswap.report_progress(%L, %L, 1)', task, token)),
		(format('SELECT hotswap.complete_task(%L, %L, true)', task, token))
$$;
SELECT throws_ok(call, '22023', message, call)
FROM (VALUES (NULL, '1-00000000-0000-0000-0000-000000000000', '"task" must not be null'),
	('x', '1-00000000-0000-0000-0000-000000000000', 'invalid value for "task": "x"'),
	('00000000-0000-7000-8000-00000000dead/1', '1-00000000-0000-0000-0000-000000000000',
		'invalid value for "task": "00000000-0000-7000-8000-00000000dead/1"'),
	('00000000-0000-7000-8000-00000000dead/1/1', NULL, '"token" must not be null'),
	('00000000-0000-7000-8000-00000000dead/1/1', '1', 'invalid value for "token": "1"'),
	('00000000-0000-7000-8000-00000000dead/1/1', '1-00000000-0000-0000-0000-000000000000x',
		'invalid value for "token": "1-00000000-0000-0000-0000-000000000000x"'))
	v (task, token, message), pg_temp.calls(task, token) call;
SELECT throws_ok(call, 'YH002', 'task "00000000-0000-7000-8000-00000000dead/1/1" does not exist',
	call) FROM pg_temp.calls('00000000-0000-7000-8000-00000000dead/1/1',
		'1-00000000-0000-0000-0000-000000000000') call;

-- Two tasks that are claimed.
SELECT hotswap.deploy('web', '1.0', 'development') AS d \gset
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT task AS task1, token AS token1 FROM held WHERE node = :'first' \gset
SELECT task AS task2, token AS token2 FROM held WHERE node = :'second' \gset
SELECT throws_ok(call, '22023', message, call)
FROM (VALUES ('NULL', '"percent" must not be null'), ('-1', '"percent" is out of range: -1'),
	('101', '"percent" is out of range: 101'), ('1, '''' ', '"message" must not be blank'))
	v (args, message),
	format('SELECT hotswap.report_progress(%L, %L, %s)', :'task1', :'token1', args) call;
SELECT throws_ok(call, '22023', message, call)
FROM (VALUES ('NULL', '"success" must not be null'),
	('true, ''ab''', 'invalid value for "digest": "ab"'),
	('true, ''' || repeat('g', 64) || '''',
		'invalid value for "digest": "' || repeat('g', 64) || '"'),
	('true, details => ''1''', '"details" must be a JSON object')) v (args, message),
	format('SELECT hotswap.complete_task(%L, %L, %s)', :'task1', :'token1', args) call;

-- The right to a task is its token, and the role of the node.
SELECT throws_ok(call, 'YH002', NULL, call)
FROM pg_temp.calls(:'task1', :'token2') call;
SELECT throws_ok(call, 'YH002', NULL, call)
FROM pg_temp.calls(:'task1',
	regexp_replace(:'token1', '-.*', '-00000000-0000-0000-0000-000000000000')) call;
SET ROLE :"two";
SELECT throws_ok(call, '42501', 'permission denied to act as the agent of the node', call)
FROM pg_temp.calls(:'task1', :'token1') call;
RESET ROLE;

-- While it runs.
SELECT results_eq(format('SELECT lease_until > now() + ''59 min'', cancelled
		FROM hotswap.extend_task(%L, %L)', :'task1', :'token1'), $$VALUES (true, false)$$,
	'the lease is extended');
UPDATE hotswap.task SET lease_until = now() + '10 min' WHERE node_id = :'first';
SELECT results_eq(format('SELECT lease_until > now() + ''59 min'', cancelled
		FROM hotswap.report_progress(%L, %L, 40, ''unpacking'')', :'task1', :'token1'),
	$$VALUES (true, false)$$, 'by a report as well');
UPDATE hotswap.task SET lease_until = now() + '10 min' WHERE node_id = :'first';
SELECT lives_ok(format('SELECT hotswap.heartbeat(%L, task => %L, token => %L)', :'first', :'task1',
	:'token1'), 'and by a report of how the node is');
SELECT ok(lease_until > now() + '59 min', 'for as long') FROM hotswap.task WHERE node_id = :'first';
SELECT throws_ok(format('SELECT hotswap.heartbeat(%L, %s)', :'second', args), code, NULL, args)
FROM (VALUES (format('task => %L, token => %L', :'task1', :'token2'), 'YH002'),
	(format('task => %L', :'task1'), '22023')) v (args, code);
SELECT results_eq($$SELECT name, percent, progress, lease_until > now() + '59 min'
		FROM hotswap.nodes WHERE kind = 'agent' ORDER BY name$$,
	$$VALUES ('one', 40, 'unpacking', true), ('two', NULL, NULL, true)$$, 'which is seen');
SELECT is((SELECT detail LIKE '%, percent done: 40.' FROM hotswap.explain(:'d') LIMIT 1), true,
	'in explain(), too');

-- A lease that runs out: nobody can use it, and the task is given out again with a larger token.
UPDATE hotswap.task SET lease_until = clock_timestamp() WHERE node_id = :'first';
SELECT throws_ok(call, 'YH002', NULL, call) FROM pg_temp.calls(:'task1', :'token1') call;
UPDATE hotswap.task SET percent = 7 WHERE node_id = :'first';
SELECT hotswap.extend_task(:'task2', :'token2') \g /dev/null
SELECT hotswap.configure_agents('development', lease => '1 s') \g /dev/null
SELECT hotswap.extend_task(:'task2', :'token2') \g /dev/null
CALL work_for(:'first');
SELECT results_eq($$SELECT status::text, attempt, percent FROM hotswap.tasks WHERE node = 'one'$$,
	$$VALUES ('running', 2, NULL::integer)$$, 'the dispatcher has seen it by itself');
SELECT is((SELECT message FROM hotswap.tasks WHERE node = 'one'), 'the lease of the agent ran out',
	'and says why');
SELECT hotswap.configure_agents('development', lease => '1 h') \g /dev/null
SELECT is(claim(:'first'), 'activate 1.0', 'given out again');
SELECT ok(split_part(token, '-', 1)::bigint > split_part(:'token1', '-', 1)::bigint,
	'with a larger token') FROM held WHERE node = :'first';
SELECT throws_ok(call, 'YH002', NULL, 'the first agent comes back: ' || call)
FROM pg_temp.calls(:'task1', :'token1') call;
SELECT is((SELECT status::text FROM hotswap.tasks WHERE node = 'one'), 'running',
	'and changes nothing');
CALL work_for(:'second');
SELECT is(claim(:'second'), 'activate 1.0', 'so it was with the second node');

-- The last attempt: what nobody has said to be done has failed, and is taken back.
UPDATE hotswap.task SET lease_until = clock_timestamp() WHERE node_id = :'first';
SELECT obey(:'second') \g /dev/null
CALL await(:'d', 'rolling_back');
SELECT is((SELECT message FROM hotswap.deployment WHERE id = :'d'),
	'the lease of the agent ran out during the last attempt',
	'after the attempts of the environment');
SELECT is((SELECT sqlstate FROM hotswap.deployment WHERE id = :'d'), '57P01', 'its SQLSTATE');
CALL work_for(:'first');
CALL work_for(:'second');
SELECT is(claim(:'first') || ', ' || claim(:'second'), 'remove 1.0, remove 1.0',
	'of both: nobody knows what the one has done');
SELECT is(complete(:'first', true, NULL) || ', ' || complete(:'second', true, NULL),
	'succeeded, succeeded', 'where nothing is to run, there is no digest');
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'taken back');
SELECT is_empty($$SELECT FROM hotswap.nodes WHERE version IS NOT NULL$$, 'nothing runs');
SELECT results_eq($$SELECT name, swaps FROM (SELECT n.name, count(m.swap) FROM hotswap.node n
		LEFT JOIN hotswap.node_module m ON m.node_id = n.id GROUP BY 1) c (name, swaps)
		WHERE name IN ('one', 'two') ORDER BY 1$$, $$VALUES ('one', 0::bigint), ('two', 2)$$,
	'what was not said to be there was not recorded');

-- Success is not what an agent says, but what it has installed.
SELECT hotswap.deploy('web', '1.0', 'development', on_failure => 'stay') AS d \gset
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT is(complete(:'first', true, NULL), 'failed', 'success without a digest');
SELECT is(complete(:'second', true, sha('2.0')), 'failed', 'with another one');
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'the deployment has failed');
SELECT results_eq(format('SELECT node, sqlstate, message FROM hotswap.tasks
		WHERE deployment_id = %L AND node IS NOT NULL ORDER BY node', :'d'),
	$$VALUES ('one', '38000', 'the agent has not said which artifact it has installed'),
		('two', '38000', 'the agent has installed another artifact: its SHA-256 is '
			|| sha('2.0') || ', not ' || sha('1.0'))$$, 'and says why');

-- It failed, in its own words.
SELECT hotswap.deploy('web', '1.0', 'development', on_failure => 'stay') AS d \gset
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT is(hotswap.complete_task(task, token, false, message => 'no disk', details => '{"free": 0}'),
	'failed', 'a failure') FROM held WHERE node = :'first';
SELECT is(complete(:'second', false, NULL), 'failed', 'without a word');
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'the deployment has failed');
SELECT results_eq(format('SELECT node, sqlstate, message, result FROM hotswap.tasks
		WHERE deployment_id = %L AND node IS NOT NULL ORDER BY node', :'d'),
	$$VALUES ('one', '38000', 'no disk', '{"free": 0}'::jsonb),
		('two', '38000', 'the agent has failed', NULL)$$, 'as the agent has said');

-- Something where nothing was to be.
SELECT hotswap.deploy('web', '1.0', 'development') AS d \gset
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT obey(:'first'), complete(:'second', false, NULL) \g /dev/null
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT is(complete(:'first', true, sha('1.0')), 'failed', 'a digest after a removal');
SELECT is(complete(:'second', false, NULL), 'failed', 'a revert that failed');
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed', 'the rollback has failed');
SELECT results_eq(format('SELECT node, kind::text, status::text FROM hotswap.tasks
		WHERE deployment_id = %L AND node IS NOT NULL ORDER BY kind, node', :'d'),
	$$VALUES ('one', 'revert', 'failed'), ('two', 'revert', 'failed'), ('one', 'swap', 'succeeded'),
		('two', 'swap', 'failed')$$, 'what had not succeeded is not said to have');

-- retry() tries the reverts again.
SELECT hotswap.retry(:'d') \g /dev/null
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT obey(:'first'), obey(:'second') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'retried');

-- Cancelled: what is not claimed is over, who has claimed is told, and what is done is taken back.
SELECT hotswap.deploy('web', '1.0', 'development') AS d \gset
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first') \g /dev/null
SELECT hotswap.cancel(:'d', 'a mistake') \g /dev/null
CALL until($$EXISTS (SELECT FROM hotswap.tasks WHERE node = 'two' AND status = 'cancelled')$$);
SELECT is(claim(:'second'), NULL, 'there is nothing to claim any more');
SELECT results_eq($$SELECT e.cancelled, e.lease_until = t.lease_until FROM held h,
		hotswap.tasks t, hotswap.extend_task(h.task, h.token) e
		WHERE t.node = 'one' AND t.status = 'running'$$,
	$$VALUES (true, true)$$, 'the agent is told to stop, and gets no more time');
SELECT is(obey(:'first'), 'succeeded', 'it was quicker');
CALL work_for(:'first');
SELECT is(claim(:'first'), 'remove 1.0', 'then it is taken back');
SELECT is(obey(:'first'), 'succeeded', 'and gone');
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'cancelled');
SELECT hotswap.deploy('web', '1.0', 'development') AS d \gset
CALL work_for(:'first');
SELECT claim(:'first') \g /dev/null
SELECT hotswap.cancel(:'d', 'a mistake') \g /dev/null
SELECT is(complete(:'first', false, NULL), 'cancelled', 'an agent that has stopped');
CALL work_for(:'first');
SELECT claim(:'first') \g /dev/null
SELECT obey(:'first') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'after it has seen that nothing is left');

-- Nobody claims.
SELECT hotswap.configure_agents('development', claim_within => '1 s') \g /dev/null
SELECT hotswap.deploy('web', '1.0', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a task that nobody claims fails');
SELECT results_eq(format('SELECT DISTINCT sqlstate, message FROM hotswap.tasks
		WHERE deployment_id = %L', :'d'),
	$$VALUES ('57P03', 'no agent has claimed the task within 00:00:01')$$, 'and says so');
SELECT * FROM finish();
