-- What people do to a rollout: pause(), resume(), promote(), skip_node()
-- (src/operations/rollout.c). How it goes by itself is in test/pgtap/pipeline/waves.sql; two people
-- at once in test/specs/operations/rollout.spec.
SELECT plan(67);

SELECT format('CREATE SCHEMA n%s', i) FROM generate_series(1, 4) i \gexec
SELECT hotswap.register_node('development', 'n' || i, schema => 'n' || i)
	FROM generate_series(1, 4) i \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'rolling'),
	hotswap.configure_rollout('development', first_wave => '1', wave_step => '1', bake => '1 h')
	\g /dev/null
SELECT hotswap.publish_version('m', v::text, 'SELECT ' || v, revert_sql => 'SELECT 1')
	FROM generate_series(1, 12) v \g /dev/null
SELECT hotswap.publish_version('gated', v::text, 'SET LOCAL lock_timeout = 0;
	SELECT pg_advisory_xact_lock_shared(1), ' || v, revert_sql => 'SELECT 1')
	FROM generate_series(1, 3) v \g /dev/null
SELECT id AS n2 FROM hotswap.nodes WHERE name = 'n2' \gset
SELECT id AS n3 FROM hotswap.nodes WHERE name = 'n3' \gset

-- A rollout that bakes after its first wave.
CREATE PROCEDURE baking(version text, INOUT d uuid DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
	d := hotswap.deploy('m', version, 'development');
	COMMIT;
	CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
		AND bake_until IS NOT NULL)', d));
END $$;
CREATE FUNCTION refused(call text) RETURNS text LANGUAGE sql AS
	$$SELECT rtrim(concat_ws('|', code, regexp_replace(message, '"[0-9a-f-]{36}"', 'D'), detail,
		hint), '|') FROM refusal('SELECT hotswap.' || call)$$;
CREATE FUNCTION wave(d uuid) RETURNS integer LANGUAGE sql AS
	'SELECT wave FROM hotswap.rollouts WHERE deployment_id = d';

-- A bake stands still while somebody has paused it.
CALL baking('1') \gset
SELECT is(hotswap.pause(:'d', 'lunch'), 'running', 'pause() of a rollout that bakes');
CALL await(:'d', 'paused');
SELECT results_eq(format($$SELECT bake_until, bake_left BETWEEN '59 min' AND '1 h'
	FROM hotswap.rollouts WHERE deployment_id = %L$$, :'d'), 'SELECT NULL::timestamptz, true',
	'what is left of the bake is kept');
SELECT results_eq(format($$SELECT kind::text, paused_by, reason, ends_at - since
	BETWEEN '23:59:59' AND '24:00:01' FROM hotswap.pauses WHERE deployment_id = %L$$, :'d'),
	$$VALUES ('person', 'postgres', 'lunch', true)$$, 'who and why, and for how long at most');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'d'), 'paused by postgres: lunch',
	'the deployment says it');
SELECT results_eq(format($$SELECT reason,
	detail ~ '^by postgres at 2.*: lunch; it is cancelled at 2', unblocked_by
	FROM hotswap.explain(%L) LIMIT 1$$, :'d'),
	$$VALUES ('it is paused', true, 'hotswap.resume()')$$, 'so does explain()');
SELECT is(refused(format('pause(%L, ''again'')', :'d')),
	'55000|cannot pause deployment D|It was paused by "postgres" before.', 'once is enough');
SELECT is(refused(format('resume(%L, '''')', :'d')),
	'22023|"reason" must not be blank', 'a reason is needed');
SELECT pg_sleep(0.1) \g /dev/null
SELECT bake_left AS left FROM hotswap.rollouts WHERE deployment_id = :'d' \gset
SELECT is(hotswap.resume(:'d', 'back'), 'paused', 'resume()');
CALL await(:'d', 'running');
SELECT results_eq(format($$SELECT bake_left,
	bake_until - now() BETWEEN %L::interval - '10 s'::interval AND %L::interval
	FROM hotswap.rollouts WHERE deployment_id = %L$$, :'left', :'left', :'d'),
	'SELECT NULL::interval, true', 'the bake goes on where it stood');
SELECT is((SELECT count(*) FROM hotswap.pauses), 0::bigint, 'the pause is over');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'d'), NULL,
	'there is nothing to say');
SELECT is(refused(format('resume(%L, ''x'')', :'d')),
	'55000|cannot resume deployment D|Nobody has paused it.', 'who has not paused cannot resume');

-- promote() ends a bake; with full, all of them.
SELECT is(hotswap.promote(:'d', 'looks good'), 'running', 'promote()');
CALL until(format('wave(%L) = 2', :'d'));
CALL until(format('(SELECT bake_until IS NOT NULL FROM hotswap.rollouts WHERE deployment_id = %L)',
	:'d'));
SELECT is((SELECT promoted FROM hotswap.rollouts WHERE deployment_id = :'d'), false,
	'it is about one wave: the second one bakes');
SELECT is(refused(format('promote(%L, ''x'', wave => 1)', :'d')),
	'55000|cannot promote deployment D|Meanwhile it is at wave 2 of 4.|'
	'Use "wave" => 2 if the bake of that one is to end.', 'nor is it about one that is over');
SELECT is(hotswap.pause(:'d', 'x'), 'running', 'paused again');
CALL await(:'d', 'paused');
SELECT is(hotswap.promote(:'d', 'later', wave => 2), 'paused', 'promote() while it is paused');
SELECT is(wave(:'d'), 2, 'does not overrule who has paused');
SELECT is(hotswap.resume(:'d', 'x'), 'paused', 'resumed');
CALL until(format('wave(%L) = 3', :'d'));
SELECT is(hotswap.promote(:'d', 'enough', true), 'running', 'promote() in full');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'nothing is waited for any more');
SELECT results_eq(format($$SELECT event, before, after, reason, detail - 'until'
	FROM hotswap.audit_log WHERE subject_id = %L AND event ~ 'rollout.(pause|resume|promote)'
	ORDER BY seq$$, :'d'), $$VALUES
	('rollout.pause', 'running', 'running', 'lunch', '{}'::jsonb),
	('rollout.resume', 'paused', 'paused', 'back', NULL),
	('rollout.promote', 'running', 'running', 'looks good', '{"wave": "1", "full": "false"}'),
	('rollout.pause', 'running', 'running', 'x', '{}'),
	('rollout.promote', 'paused', 'paused', 'later', '{"wave": "2", "full": "false"}'),
	('rollout.resume', 'paused', 'paused', 'x', NULL),
	('rollout.promote', 'running', 'running', 'enough', '{"wave": "3", "full": "true"}')$$,
	'all of it is in the audit log');

-- What has ended, waits or is being cancelled cannot be turned.
SELECT is(refused(format('%s(%L, ''x'')', verb, :'d')),
	format('55000|cannot %s deployment D|It is succeeded.', verb), verb || '() of what has ended')
	FROM unnest('{pause,resume,promote}'::text[]) verb;
SELECT is(refused(format('skip_node(%L, %L, ''x'')', :'d', :'n2')),
	'55000|cannot skip a node of deployment D|It is succeeded.', 'skip_node() of what has ended');
SELECT is(refused('pause(''01900000-0000-7000-8000-000000000000'', ''x'')'),
	'P0002|deployment D does not exist', 'or of what is not there');
SELECT hotswap.deploy('m', '2', 'development', run_at => '2100-01-01') AS d \gset
SELECT is(refused(format('pause(%L, ''x'')', :'d')),
	'55000|cannot pause deployment D|It is scheduled.', 'or of what has not begun');
SELECT hotswap.cancel(:'d', 'x') \g /dev/null
SELECT pg_advisory_lock(1) \g /dev/null
SELECT hotswap.deploy('gated', '1', 'development') AS d \gset
CALL until('at_gate(1)');
SELECT is(refused(format('promote(%L, ''x'')', :'d')),
	'55000|cannot promote deployment D|No wave bakes: 1 of 4 have begun.|'
	'With "full" the bakes that are to come are not waited for.', 'no wave bakes yet');
SELECT is(refused(format('skip_node(%L, (SELECT id FROM hotswap.nodes WHERE name = ''n1''), ''x'')',
	:'d')), '55000|cannot skip a node of deployment D|The task of the node is running.',
	'what runs is not skipped');
BEGIN;
SELECT hotswap.cancel(:'d', 'x') \g /dev/null
SELECT is(refused(format('pause(%L, ''x'')', :'d')),
	'55000|cannot pause deployment D|It is being cancelled.', 'what is being cancelled goes on');
COMMIT;
SELECT pg_advisory_unlock(1) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'to its end');

-- A wave that has begun ends; then it is paused.
SELECT pg_advisory_lock(1) \g /dev/null
SELECT hotswap.deploy('gated', '2', 'development') AS d \gset
CALL until('at_gate(1)');
SELECT is(hotswap.pause(:'d', 'in the middle'), 'running', 'pause() in the middle of a wave');
SELECT pg_advisory_unlock(1) \g /dev/null
CALL await(:'d', 'paused');
SELECT results_eq(format($$SELECT wave, nodes_done, bake_left > '59 min'
	FROM hotswap.rollouts WHERE deployment_id = %L$$, :'d'), 'VALUES (1, 1, true)',
	'the wave ends, and its bake waits');
SELECT is(hotswap.cancel(:'d', 'x'), 'running', 'cancel() of what is paused');
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'takes it back');
SELECT is((SELECT count(*) FROM hotswap.pauses), 0::bigint, 'and its pause is gone');

-- One that takes all nodes at once is paused before its next stage.
SELECT hotswap.configure_environment('development', strategy => 'direct') \g /dev/null
SELECT pg_advisory_lock(1) \g /dev/null
SELECT hotswap.deploy('gated', '3', 'development') AS d \gset
CALL until('at_gate(1)');
SELECT is(refused(format('promote(%L, ''x'')', :'d')),
	'55000|cannot promote deployment D|It is at no stage that takes its nodes in waves.',
	'without waves there is nothing to promote');
SELECT is(refused(format('skip_node(%L, %L, ''x'')', :'d', :'n2')),
	'55000|cannot skip a node of deployment D|It is at no stage that takes its nodes in waves.',
	'nor a node to skip');
SELECT is(hotswap.pause(:'d', 'direct'), 'running', 'pause() all the same');
SELECT pg_advisory_unlock(1) \g /dev/null
CALL await(:'d', 'paused');
SELECT is((SELECT current_stage FROM hotswap.deployments WHERE id = :'d'), NULL,
	'no stage is going on');
SELECT is(hotswap.resume(:'d', 'x'), 'paused', 'resumed');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it ends');

-- A pause that lasts too long ends the deployment.
SELECT hotswap.configure_environment('development', strategy => 'rolling') \g /dev/null
CALL baking('3') \gset
SELECT hotswap.pause(:'d', 'forgotten') \g /dev/null
CALL await(:'d', 'paused');
UPDATE hotswap.pause SET ends_at = now();
UPDATE hotswap.work_item SET due_at = now();
SELECT hotswap.stop_dispatching('to load anew'), hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'a pause that nobody ends ends by itself');
SELECT matches((SELECT cancel_reason FROM hotswap.deployments WHERE id = :'d'),
	'^it was paused until 2.* by postgres: forgotten$', 'and says so');

-- skip_node(): as many as may stay behind.
CALL baking('4') \gset
SELECT is(refused(format('skip_node(%L, %L, ''x'')', :'d', :'n2')),
	'55000|cannot skip a node of deployment D|1 of its nodes would stay behind, and environment '
	'"development" allows 0.|See "max_failed" of hotswap.configure_environment().',
	'none may stay behind');
SELECT hotswap.configure_environment('development', max_failed => '1') \g /dev/null
SELECT lives_ok(format('SELECT hotswap.skip_node(%L, %L, ''disk full'')', :'d', :'n2'),
	'one may');
SELECT is(refused(format('skip_node(%L, %L, ''x'')', :'d', :'n2')),
	'55000|cannot skip a node of deployment D|The task of the node is skipped.', 'not twice');
SELECT is(refused(format('skip_node(%L, %L, ''x'')', :'d', :'n3')),
	'55000|cannot skip a node of deployment D|2 of its nodes would stay behind, and environment '
	'"development" allows 1.|See "max_failed" of hotswap.configure_environment().', 'nor two');
SELECT is(refused(format('skip_node(%L, gen_random_uuid(), ''x'')', :'d')),
	'P0002|node D does not exist', 'nor one that is not there');
SELECT hotswap.promote(:'d', 'x', true) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the others are taken');
SELECT results_eq(format($$SELECT nodes, nodes_done, nodes_skipped, percent FROM hotswap.rollouts
	WHERE deployment_id = %L$$, :'d'), 'VALUES (4, 3, 1, 75)', 'the progress says so');
SELECT results_eq(format($$SELECT status::text, message FROM hotswap.tasks WHERE deployment_id = %L
	AND node = 'n2'$$, :'d'), $$VALUES ('skipped', 'skipped by postgres: disk full')$$,
	'the task says who and why');
SELECT is((SELECT nodes_behind FROM hotswap.deployments WHERE id = :'d'), 1, 'it is behind');
SELECT matches((SELECT detail FROM hotswap.explain(:'d')), '1 node stayed behind: n2.$',
	'explain() names it');
SELECT hotswap.retry(:'d') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'retry()');
SELECT is((SELECT string_agg(node, ' ') FROM hotswap.tasks WHERE deployment_id = :'d'
	AND kind = 'swap' AND status = 'succeeded'), 'n2', 'takes it');

-- A node that has nothing to run is not part of it.
SELECT hotswap.configure_environment('development', strategy => 'direct') \g /dev/null
SELECT hotswap.deploy('m', '5', 'development', nodes => '{n2}') AS d \gset
SELECT hotswap.wait(:'d', '60 s') \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'rolling') \g /dev/null
CALL baking('5') \gset
SELECT is(refused(format('skip_node(%L, %L, ''x'')', :'d', :'n2')),
	'P0002|node "n2" has nothing to run in deployment D',
	'who has nothing to run cannot be skipped');
SELECT hotswap.promote(:'d', 'x', true) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it ends');

-- Who may: pausing is for who deploys, letting go on for operators.
SELECT format('CREATE ROLE %I LOGIN', named(who)) FROM unnest('{dora,otto}'::text[]) who \gexec
SELECT hotswap.grant_access(named('dora')::regrole, 'deployer'),
	hotswap.grant_access(named('otto')::regrole, 'operator') \g /dev/null
CALL baking('6') \gset
SELECT is(as_role(named('dora'), format('SELECT hotswap.pause(%L, ''x'')', :'d')), 'running',
	'a deployer may pause');
CALL await(:'d', 'paused');
SELECT is(as_role(named('dora'), format('SELECT hotswap.%s', call)), '42501',
	'a deployer may not: ' || split_part(call, '(', 1)) FROM unnest(ARRAY[
	format('resume(%L, ''x'')', :'d'), format('promote(%L, ''x'')', :'d'),
	format('skip_node(%L, %L, ''x'')', :'d', :'n2')]) call;
SELECT is(as_role(named('otto'), format('SELECT hotswap.resume(%L, ''x'')', :'d')), 'paused',
	'an operator may resume');
CALL await(:'d', 'running');

-- In a protected environment it is somebody else than who has asked for it.
SELECT hotswap.set_approval_policy('development', 1) \g /dev/null
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.promote(%L, ''x'')', :'d')), $$VALUES ('42501',
	'"postgres" cannot promote a deployment of their own in environment "development"',
	'It was requested by "postgres".')$$, 'who has asked for it does not promote it');
SELECT is(as_role(named('otto'), format('SELECT hotswap.promote(%L, ''x'', true)', :'d')),
	'running', 'somebody else does');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'to its end');
SELECT format('DROP OWNED BY %I; DROP ROLE %1$I', named(who))
	FROM unnest('{dora,otto}'::text[]) who \gexec
