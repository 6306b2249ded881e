-- What functions of users say of waves (src/pipeline/gate_tasks.c, src/run/hook.c).
SELECT plan(52);

SELECT format('CREATE ROLE %I LOGIN', named('judge')) \gexec
SELECT format('CREATE SCHEMA n%s', i) FROM generate_series(1, 3) i \gexec
SELECT hotswap.register_node('development', 'n' || i, schema => 'n' || i)
	FROM generate_series(1, 3) i \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'canary'),
	hotswap.configure_rollout('development', first_wave => '1', wave_step => '1', bake => '0 s')
	\g /dev/null
SELECT hotswap.publish_version('m', v::text, 'SELECT ' || v, revert_sql => 'SELECT 1')
	FROM generate_series(1, 20) v \g /dev/null

-- A gate that does what it is told, and says who has asked it.
CREATE TABLE orders (wave integer, says hotswap.gate_result, sql text);
GRANT SELECT ON orders TO PUBLIC;
CREATE FUNCTION ask(deployment uuid, stage integer, wave integer) RETURNS hotswap.gate_result
	LANGUAGE plpgsql AS $$
DECLARE
	o orders = (SELECT o FROM orders o WHERE o.wave = ask.wave);
BEGIN
	RAISE LOG 'asked of % % % by %', deployment, stage, wave, session_user;
	IF o.sql IS NOT NULL THEN
		EXECUTE o.sql;
	END IF;
	RETURN o.says;
END $$;
SELECT format('ALTER FUNCTION ask OWNER TO %I', named('judge')) \gexec
SELECT hotswap.register_gate('development', 'ask(uuid,int,int)', 'm') \g /dev/null
CREATE PROCEDURE told(says text[], sql text = NULL) LANGUAGE sql AS $$
	DELETE FROM orders;
	INSERT INTO orders SELECT n, s::hotswap.gate_result, told.sql
	FROM unnest(says) WITH ORDINALITY e (s, n) $$;
CREATE FUNCTION verdicts(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', wave, function, verdict, gate), ', ' ORDER BY at, function)
	FROM hotswap.analyses WHERE deployment_id = d AND metric = 'function' $$;
CREATE FUNCTION reason(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT reason FROM hotswap.analyses WHERE deployment_id = d AND metric = 'function'
	ORDER BY at DESC LIMIT 1 $$;
CREATE FUNCTION gates(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', detail ->> 'wave', detail ->> 'verdict'), ', ' ORDER BY seq)
	FROM hotswap.audit_log WHERE subject_id = d AND event = 'rollout.gate' $$;
CREATE FUNCTION notices(d uuid, event text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT reason FROM hotswap.notification n WHERE deployment_id = d
		AND n.event::text = notices.event ORDER BY id $$;

-- It says pass.
CALL told('{pass,pass,pass}');
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'what passes goes on');
SELECT is(verdicts(:'d'), '1 public.ask pass pass, 2 public.ask pass pass, 3 public.ask pass pass',
	'it is asked after each wave');
SELECT is(gates(:'d'), '1 pass, 2 pass, 3 pass', 'where nobody measures, its word is the verdict');
SELECT results_eq(format($$SELECT kind::text, status::text, hook, wave, verdict::text, node
	FROM hotswap.tasks WHERE deployment_id = %L AND kind = 'gate' ORDER BY wave LIMIT 1$$, :'d'),
	$$VALUES ('gate', 'succeeded', 'public.ask', 1, 'pass', NULL)$$, 'by a task');
SELECT results_eq(format($$SELECT DISTINCT method::text, nodes_with, since, reason,
	function_digest = encode(sha256(convert_to(pg_get_functiondef('ask'::regproc), 'UTF8')), 'hex')
	FROM hotswap.analyses WHERE deployment_id = %L AND metric = 'function'$$, :'d'),
	$$VALUES ('function', NULL::integer, NULL::timestamptz, 'gate public.ask says pass', true)$$,
	'kept with the digest of what was asked');
SELECT is_empty(format('SELECT notices(%L, %L)', :'d', 'gate'), 'nobody is told');
SELECT is((SELECT count(*) FROM notices(:'d', 'bake')), 3::bigint, 'but of each bake');
SELECT matches((SELECT min(n) FROM notices(:'d', 'bake') n), '^wave 1 of 3 bakes until \d',
	'until when it is');

-- It says fail.
CALL told('{fail}');
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'what fails goes back');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'d'),
	'wave 1 of 3 is worse: gate public.ask says fail', 'and says who says so');
SELECT is((SELECT count(*) FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'revert'
	AND status = 'succeeded'), 1::bigint, 'the node of the first wave');
SELECT results_eq(format('SELECT notices(%L, %L)', :'d', 'gate'),
	$$VALUES ('wave 1 of 3 is worse: gate public.ask says fail')$$, 'people are told');

-- It does not know: the rollout asks before it goes beyond half, and beyond that goes on.
CALL told('{inconclusive,inconclusive,pass}');
SELECT hotswap.deploy('m', '3', 'development') AS d \gset
CALL await(:'d', 'paused');
SELECT is((SELECT reason FROM hotswap.pauses WHERE deployment_id = :'d'),
	'after wave 1 of 3: gate public.ask says inconclusive', 'it pauses, and says why');
SELECT is((SELECT unblocked_by FROM hotswap.explain(:'d') WHERE detail LIKE '%public.ask says%'),
	'hotswap.promote()', 'explain() says what to do');
SELECT hotswap.promote(:'d', 'fine') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'promote() lets it go on');
SELECT is(gates(:'d'), '1 inconclusive, 2 inconclusive, 3 pass', 'all were asked');
SELECT results_eq(format('SELECT notices(%L, %L)', :'d', 'gate'), $$VALUES
	('after wave 1 of 3: gate public.ask says inconclusive'),
	('wave 2 of 3 goes on: gate public.ask says inconclusive')$$, 'people are told of both');

-- What says nothing is inconclusive, and its error is kept.
CREATE PROCEDURE mute(version text, wanted text, name text, sql text = NULL, says text = 'pass')
		LANGUAGE plpgsql AS $$
DECLARE
	d uuid;
BEGIN
	CALL told(ARRAY[says], sql);
	d := hotswap.deploy('m', version, 'development');
	COMMIT;
	CALL until(format('EXISTS (SELECT FROM hotswap.pauses WHERE deployment_id = %L)', d));
	INSERT INTO heard SELECT name, gates(d), reason(d), wanted, (SELECT format('%s %s %s', status,
		sqlstate, verdict) FROM hotswap.tasks WHERE deployment_id = d AND kind = 'gate'),
		EXISTS (SELECT FROM hotswap.explain(d) WHERE reason = 'a task has failed'
			AND detail LIKE 'The gate on public.ask failed%');
	PERFORM hotswap.cancel(d, 'enough');
	COMMIT;
	CALL until(format('status_of(%L) = %L', d, 'cancelled'));
END $$;
CREATE TABLE secret ();
CREATE TABLE heard (name text, gates text, reason text, wanted text, task text, explained boolean);
CALL mute('4', 'P0004: gate "public.ask" returned null', 'NULL', says => NULL);
CALL mute('5', '22012: division by zero', 'an error', 'SELECT 1 / 0');
CALL mute('6', '25006: cannot execute DELETE in a read-only transaction', 'what writes',
	'DELETE FROM orders');
CALL mute('7', '25001: cannot set transaction read-write mode inside a read-only transaction',
	'what would write', 'SET transaction_read_only = off');
CALL mute('8', '42501: permission denied for table secret', 'who may not read it',
	'SELECT FROM secret');
SELECT is(gates, '1 inconclusive', name) FROM heard;
SELECT is(reason, 'gate public.ask has failed: ' || wanted, 'why: ' || name) FROM heard;
SELECT ok(explained, 'explain() has it: ' || name) FROM heard;
SELECT is(string_agg(DISTINCT split_part(task, ' ', 1), ','), 'failed', 'the tasks have failed')
	FROM heard;
SELECT is((SELECT count(*) FROM hotswap.deployments WHERE status = 'failed'), 0::bigint,
	'and no deployment has, by that');

-- It is asked as it was when the rollout began.
SELECT hotswap.configure_rollout('development', bake => '1 h') \g /dev/null
CALL told('{pass}');
SELECT hotswap.deploy('m', '9', 'development') AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'d'));
SELECT hotswap.pause(:'d', 'time is moved') \g /dev/null
CALL await(:'d', 'paused');
CREATE OR REPLACE FUNCTION ask(deployment uuid, stage integer, wave integer)
	RETURNS hotswap.gate_result LANGUAGE sql AS $$SELECT 'pass'::hotswap.gate_result$$;
UPDATE hotswap.rollout SET bake_left = '0 s' WHERE deployment_id = :'d';
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(format('EXISTS (SELECT FROM hotswap.pauses WHERE deployment_id = %L
	AND kind = ''inconclusive'')', :'d'));
SELECT is(reason(:'d'), 'gate public.ask has failed: 55000: function '
	'public.ask(uuid,integer,integer) was changed after the rollout had begun',
	'another definition says nothing');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT hotswap.wait(:'d', '60 s') \g /dev/null
SELECT hotswap.deploy('m', '10', 'development') AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'d'));
SELECT hotswap.remove_gate('development', 'public.ask', 'm') \g /dev/null
SELECT hotswap.promote(:'d', 'now', full => true) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'one that was removed meanwhile');
SELECT is((SELECT count(*) FROM hotswap.analyses WHERE deployment_id = :'d'
	AND metric = 'function'), 3::bigint, 'is asked all the same');
SELECT hotswap.configure_rollout('development', bake => '0 s') \g /dev/null
SELECT hotswap.deploy('m', '11', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the next one');
SELECT is(gates(:'d'), '1 not measured, 2 not measured, 3 not measured', 'does not ask it');

-- Two: the worse counts. One that is about another module is not asked.
CREATE FUNCTION says_no(uuid, int, int) RETURNS hotswap.gate_result
	LANGUAGE sql AS $$SELECT 'fail'::hotswap.gate_result$$;
CREATE FUNCTION others(uuid, int, int) RETURNS hotswap.gate_result
	LANGUAGE sql AS $$SELECT 'fail'::hotswap.gate_result$$;
SELECT hotswap.register_gate('development', 'ask(uuid,int,int)'),
	hotswap.register_gate('development', 'says_no(uuid,int,int)'),
	hotswap.register_gate('development', 'others(uuid,int,int)', 'another') \g /dev/null
SELECT hotswap.deploy('m', '12', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'one of two says fail');
SELECT is(verdicts(:'d'), '1 public.ask pass fail, 1 public.says_no fail fail', 'both were asked');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'d'),
	'wave 1 of 3 is worse: gate public.says_no says fail', 'the one is named');
SELECT hotswap.remove_gate('development', 'public.says_no') \g /dev/null

-- While it is at work.
CREATE OR REPLACE FUNCTION ask(deployment uuid, stage integer, wave integer)
	RETURNS hotswap.gate_result LANGUAGE sql AS
	$$SELECT pg_advisory_xact_lock_shared(7); SELECT 'pass'::hotswap.gate_result$$;
SELECT pg_advisory_lock(7) \g /dev/null
SELECT hotswap.deploy('m', '13', 'development') AS d \gset
CALL until('at_gate(7)');
SELECT ok(EXISTS (SELECT FROM hotswap.explain(:'d') WHERE reason = 'a task waits for a lock'
	AND detail LIKE 'The gate on public.ask, in process %'), 'explain() says that it is asked');
SELECT hotswap.pause(:'d', 'x') \g /dev/null
SELECT hotswap.resume(:'d', 'x') \g /dev/null
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'a cancel ends it');
SELECT is((SELECT status::text FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'gate'),
	'cancelled', 'what was asked');
SELECT pg_advisory_unlock(7) \g /dev/null

-- auto takes nodes in waves where a gate is registered; direct asks nothing.
SELECT format('CREATE SCHEMA q%s', i) FROM generate_series(1, 20) i \gexec
SELECT hotswap.register_node('qa', 'q' || lpad(i::text, 2, '0'), schema => 'q' || i)
	FROM generate_series(1, 20) i \g /dev/null
SELECT hotswap.configure_environment('qa', strategy => 'auto', may_skip_environments => true),
	hotswap.configure_rollout('qa', first_wave => '5', wave_step => '10', bake => '0 s',
		bake_last => true) \g /dev/null
SELECT hotswap.deploy('m', '14', 'qa', only_target => true) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'without a gate');
SELECT is_empty(format('SELECT FROM hotswap.rollouts WHERE deployment_id = %L', :'d'),
	'auto is direct');
SELECT hotswap.register_gate('qa', 'ask(uuid,int,int)') \g /dev/null
SELECT hotswap.deploy('m', '15', 'qa', only_target => true) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'with one');
SELECT is((SELECT strategy::text FROM hotswap.rollouts WHERE deployment_id = :'d'), 'rolling',
	'it goes by the name of the environment');
SELECT is(verdicts(:'d'), '1 public.ask pass pass, 2 public.ask pass pass, 3 public.ask pass pass',
	'and asks after each of its waves, of many nodes, too');

-- An approval is about what is asked.
SELECT hotswap.set_approval_policy('qa', min_approvals => 1, allow_self_approval => true)
	\g /dev/null
SELECT hotswap.stop_dispatching('wait') \g /dev/null
SELECT hotswap.deploy('m', '16', 'qa', only_target => true) AS d \gset
SELECT hotswap.approve(:'d') \g /dev/null
CREATE OR REPLACE FUNCTION ask(deployment uuid, stage integer, wave integer)
	RETURNS hotswap.gate_result LANGUAGE sql AS $$SELECT 'pass'::hotswap.gate_result$$;
SELECT hotswap.start_dispatching() \g /dev/null
CALL await(:'d', 'pending_approval');
SELECT is((SELECT reason FROM hotswap.approvals WHERE deployment_id = :'d' AND round = 1),
	'what will run is not what the approval is about', 'who replaces it needs another one');
SELECT hotswap.approve(:'d') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'seen and done');

SELECT format('DROP OWNED BY %I CASCADE', named('judge')) \gexec
SELECT format('DROP ROLE %I', named('judge')) \gexec
SELECT * FROM finish();
