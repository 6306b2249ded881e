-- explain(): why a deployment is where it is, and what would help (src/operations/explain.c).
SELECT plan(12);

CREATE FUNCTION pg_temp.why(d uuid) RETURNS text
	LANGUAGE sql AS $$SELECT string_agg(reason, '; ') FROM hotswap.explain(d)$$;

CREATE ROLE operations_explain_node LOGIN;
CREATE SCHEMA w AUTHORIZATION operations_explain_node;
SELECT hotswap.publish_version('m', '1', 'SELECT 1'),
	hotswap.register_node('development', 'w', run_as => 'operations_explain_node',
		schema => 'w') \g /dev/null

-- Arguments.
SELECT throws_ok(q, '22023', m, q)
FROM (VALUES ('SELECT hotswap.explain(NULL)', '"deployment" must not be null')) v (q, m);
SELECT throws_ok($$SELECT * FROM hotswap.explain('00000000-0000-7000-8000-00000000dead')$$, 'P0002',
	'deployment "00000000-0000-7000-8000-00000000dead" does not exist', 'an unknown deployment');

-- While the line is stopped.
SELECT hotswap.stop_dispatching('maintenance of the rack') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.deploy('m', '1', 'development', run_at => '2100-01-01')::text <> '', true,
	'a scheduled one');
SELECT is(pg_temp.why(id), 'its time has not come; dispatching is stopped', 'both reasons')
	FROM hotswap.deployment WHERE status = 'scheduled';
SELECT hotswap.deploy('m', '1', 'qa') AS second \gset
SELECT is(pg_temp.why(:'second'), 'dispatching is stopped; another deployment goes first',
	'who goes first');
SELECT is((SELECT unblocked_by FROM hotswap.explain(:'second') WHERE reason LIKE 'another%'),
	'the end of deployment ' || :'d', 'its id');

-- What has ended.
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the line goes on');
SELECT is(hotswap.wait(:'second', '60 s'), 'failed', 'for all');
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)', :'d'),
	$$VALUES ('it has ended', 'It is succeeded.', NULL)$$, 'explain() of what has ended');
SELECT results_eq(format('SELECT detail, unblocked_by FROM hotswap.explain(%L)', :'second'),
	$$VALUES ('It is failed: environment "qa" has no nodes.', 'hotswap.retry()')$$,
	'and of what can be retried');

-- What its tasks have met: where, with detail and hint, one row each.
SELECT hotswap.publish_version('m', '2', E'SELECT 1;\nDO $$BEGIN RAISE unique_violation USING
	MESSAGE = \'no\', DETAIL = \'because\', HINT = \'do not\'; END$$'),
	hotswap.publish_version('m', '3', 'SELECT 1', 'SELECT false') \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS third \gset
CALL await(:'third', 'failed');
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)', :'third'),
	$$VALUES ('it has ended', 'It is failed: no.', 'hotswap.retry()'),
	('a task has failed', 'The swap on w failed in line 2 of the deploy script (SQLSTATE 23505): '
		'no; detail: because; hint: do not', NULL)$$, 'what a task has met');
SELECT hotswap.deploy('m', '3', 'development') AS fourth \gset
CALL await(:'fourth', 'failed');
SELECT results_eq(format('SELECT detail FROM hotswap.explain(%L) OFFSET 1', :'fourth'),
	$$SELECT format('The swap on w failed%s (SQLSTATE %s): %s; detail: %s', ' in line ' || line ||
	' of the ' || script || ' script', sqlstate, message, detail) FROM hotswap.task
	WHERE status = 'failed' AND sqlstate = 'P0004'$$, 'without a hint');
SELECT * FROM finish();
