-- Windows at the gate of a stage (src/pipeline/gate.c, src/core/freeze.c); when they are open is
-- tested in test/pgtap/environment/window.sql.
SELECT plan(22);

CREATE ROLE pipeline_window_node LOGIN;
CREATE SCHEMA d AUTHORIZATION pipeline_window_node;
CREATE SCHEMA q AUTHORIZATION pipeline_window_node;
CREATE SCHEMA s AUTHORIZATION pipeline_window_node;
SELECT hotswap.register_node('development', 'd', run_as => 'pipeline_window_node', schema => 'd'),
	hotswap.register_node('qa', 'q', run_as => 'pipeline_window_node', schema => 'q'),
	hotswap.register_node('staging', 's', run_as => 'pipeline_window_node', schema => 's'),
	hotswap.publish_version('o', '1', 'SELECT 1'),
	hotswap.publish_version('m', '1', 'SELECT 1', NULL, 'SELECT 1', parents => '{}') \g /dev/null
SELECT hotswap.publish_version('m', n::text, 'SELECT 1', NULL, 'SELECT 1',
	parents => ARRAY[(n - 1)::text])
FROM generate_series(2, 4) n \g /dev/null

CREATE FUNCTION runs(node text) RETURNS text LANGUAGE sql AS
	$$SELECT version FROM hotswap.nodes WHERE name = node AND module = 'm'$$;
CREATE FUNCTION why(d uuid) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(reason, '; ') FROM hotswap.explain(d)$$;

-- Given a window that closes qa for an hour.
SELECT hotswap.set_window('qa', 'audit', 'deny', 'auditors are here',
	tstzrange(now(), now() + '1 h'), modules => '{m}') \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa') AS a \gset
CALL await(:'a', 'pending_approval');
SELECT is(runs('d'), '1', 'what comes before it goes on');
SELECT is(runs('q'), NULL, 'nothing starts in it');
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)', :'a'),
	format($$VALUES ('environment "qa" is frozen',
		'By its windows: "audit" (auditors are here).',
		'the time %s, or hotswap.override_freeze()')$$,
		(SELECT upper(during) FROM hotswap.windows)),
	'explain() says until when');
SELECT matches((SELECT message FROM hotswap.stages
	WHERE deployment_id = :'a' AND environment = 'qa'),
	'^waits until .* for the windows of qa: "audit" \(auditors are here\)$',
	'and so does the stage');
SELECT results_eq(format($$SELECT event::text, environment,
	reason LIKE 'waits until %% for the windows of qa%%' FROM hotswap.notifications
	WHERE deployment_id = %L$$, :'a'),
	$$VALUES ('frozen', 'qa', true)$$, 'who requested it is told, once');

-- It is in no lane, but what was requested before goes first; another module is not concerned.
SELECT hotswap.deploy('m', '2', 'qa') AS b \gset
SELECT hotswap.deploy('o', '1', 'qa') AS o \gset
SELECT is(hotswap.wait(:'o', '60 s'), 'succeeded', 'a module that the window is not for');
CALL await(:'b', 'pending_approval');
SELECT is(runs('d'), '2', 'the next one passes it in development');
SELECT is(why(:'b'),
	'environment "qa" is frozen; a deployment that was requested before goes first',
	'it waits for the window and for the other one');

-- When the window is removed.
SELECT hotswap.remove_window('qa', 'audit') \g /dev/null
SELECT is(hotswap.wait(:'a', '60 s'), 'succeeded', 'it goes on at once');
SELECT is(hotswap.wait(:'b', '60 s'), 'succeeded', 'the other one after it');
SELECT is((SELECT string_agg(step, ' ' ORDER BY swap) FROM hotswap.node_history WHERE node = 'q'
	AND module = 'm'), '1 2', 'in their order');

-- When the time comes: nobody does anything.
SELECT clock_timestamp() + '3 s' AS opens \gset
SELECT hotswap.set_window('qa', 'soon', 'deny', NULL, tstzrange(NULL, :'opens')) \g /dev/null
SELECT hotswap.deploy('m', '3', 'qa') AS a \gset
CALL await(:'a', 'pending_approval');
SELECT is(hotswap.wait(:'a', '60 s'), 'succeeded', 'it starts by itself');
SELECT ok(started_at BETWEEN :'opens' AND :'opens'::timestamptz + '20 s', 'when the window is over')
FROM hotswap.stages WHERE deployment_id = :'a' AND environment = 'qa';

-- One that never opens; start_by ends what waits.
SELECT hotswap.set_window('qa', 'closed', 'allow', 'we are through with qa',
	'[2001-01-01, 2002-01-01)') \g /dev/null
SELECT hotswap.deploy('m', '4', 'qa', start_by => clock_timestamp() + '4 s') AS a \gset
CALL await(:'a', 'pending_approval');
SELECT results_eq(format('SELECT detail, unblocked_by FROM hotswap.explain(%L)', :'a'),
	$$VALUES ('By its windows: "closed" (not open).',
	'hotswap.remove_window(), or hotswap.override_freeze()')$$, 'outside of what allows it');
SELECT is(hotswap.wait(:'a', '60 s'), 'expired', 'start_by holds all the same');

-- A rollback goes back whatever windows say, unless the environment wants otherwise.
SELECT hotswap.configure_environment('qa', freeze_stops_rollback => true) \g /dev/null
SELECT id AS third FROM hotswap.deployments WHERE version = '3' AND status = 'succeeded' \gset
SELECT hotswap.rollback(:'third', 'it was a mistake') AS r \gset
CALL await(:'r', 'pending_approval');
SELECT is(why(:'r'), 'environment "qa" is frozen', 'a rollback waits where it is to');
SELECT hotswap.configure_environment('qa', freeze_stops_rollback => false) \g /dev/null
SELECT is(hotswap.wait(:'r', '60 s'), 'succeeded', 'and nowhere else');

-- What waits can be cancelled.
SELECT hotswap.deploy('m', '4', 'qa') AS a \gset
CALL await(:'a', 'pending_approval');
SELECT hotswap.cancel(:'a', 'it stays') \g /dev/null
SELECT is(hotswap.wait(:'a', '60 s'), 'cancelled', 'it ends at once');

-- Nor does a node that is brought up.
CREATE SCHEMA q2 AUTHORIZATION pipeline_window_node;
SELECT hotswap.register_node('qa', 'q2', run_as => 'pipeline_window_node',
	schema => 'q2') AS q2 \gset
SELECT hotswap.bring_up(:'q2') AS up \gset
CALL until('runs(''q2'') = ''2''');
SELECT pass('a new node gets what the others run');

-- An approval that is there has to be used in time.
SELECT hotswap.configure_environment('staging', may_skip_environments => true),
	hotswap.set_approval_policy('staging', 1, allow_self_approval => true),
	hotswap.set_window('staging', 'later', 'deny', NULL, tstzrange(NULL, now() + '1 h')),
	hotswap.grant_access(session_user::regrole, 'approver') \g /dev/null
SELECT hotswap.deploy('m', '4', 'staging', only_target => true) AS a \gset
CALL await(:'a', 'pending_approval');
SELECT is(why(:'a'), 'environment "staging" needs an approval; environment "staging" is frozen',
	'both are missing');
SELECT hotswap.approve(:'a') \g /dev/null
CALL until(format('why(%L) = ''environment "staging" is frozen''', :'a'));
SELECT pass('one of them is there');
SELECT hotswap.stop_dispatching('the time passes') \g /dev/null
UPDATE hotswap.approval SET expires_at = clock_timestamp() WHERE deployment_id = :'a';
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'a', '60 s'), 'expired', 'it is not used in time');

SELECT * FROM finish();
