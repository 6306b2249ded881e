-- Taking back a deployment that has ended: rollback(), release_version()
-- (src/deployment/rollback.c, src/core/plan_rollback.c, src/pipeline/held.c).
SELECT plan(55);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT logging_node('development', 'd') \g /dev/null
SELECT logging_node('production', 'p1'), logging_node('production', 'p2') \g /dev/null
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}'),
	publish_step('4', '{3}'), publish_step('2.1', '{2}') \g /dev/null

-- Each node of the environment goes back to what it ran before.
SELECT hotswap.deploy('m', '1', 'production') AS d1 \gset
CALL ended(:'d1') \gset
SELECT hotswap.deploy('m', '3', 'production') AS d3 \gset
CALL ended(:'d3') \gset
SELECT hotswap.rollback(:'d3', 'it is slow') AS r3 \gset
CALL ended(:'r3') \gset
SELECT is(:'said'::text, 'succeeded', 'rolled back');
SELECT results_eq($$SELECT heads_of(n), log_of(n), steps_of(n) FROM unnest(ARRAY['p1', 'p2']) n$$,
	$$VALUES ('1', '1 2 3 -3 -2', 'up 1, up 2, up 3, down 3, down 2'),
	('1', '1 2 3 -3 -2', 'up 1, up 2, up 3, down 3, down 2')$$,
	'by the revert scripts, the last one first');
SELECT is(heads_of('d'), '3', 'environments before it stay');
SELECT results_eq(format($$SELECT kind::text, rolls_back, reason, only_target, priority
	FROM hotswap.deployments WHERE id = %L$$, :'r3'),
	format($$VALUES ('rollback', %L::uuid, 'it is slow', true, 1001)$$, :'d3'),
	'it says what it is');
SELECT results_eq(format($$SELECT kind::text, environment FROM hotswap.stages
	WHERE deployment_id = %L$$, :'r3'), $$VALUES ('deploy', 'production')$$, 'it has one stage');
SELECT results_eq(format($$SELECT reason, detail ->> 'rolls_back' FROM hotswap.audit_log
	WHERE subject_id = %L AND event = 'request'$$, :'r3'),
	format($$VALUES ('it is slow', %L)$$, :'d3'), 'so does the audit log');

-- What it took back is held.
SELECT results_eq($$SELECT environment, module, version, deployment_id, reason, held_by
	FROM hotswap.held_versions ORDER BY version$$,
	format($$VALUES ('production', 'm', '2', %1$L::uuid, 'it is slow', %2$L),
	('production', 'm', '3', %1$L, 'it is slow', %2$L)$$, :'r3', current_user), 'held');
CALL deploy_to('4', 'production') \gset
SELECT matches(:'said'::text, '^failed: version "4" cannot go to environment "production": '
	'node "p1" would run version "2", which is held: .* rolled it back at .*: it is slow; '
	'node "p2"',
	'a path that contains it is refused');
SELECT matches((SELECT problem FROM hotswap.preview('m', '2.1', 'production', '{p1}')),
	'^blocked: node "p1" would run version "2", which is held', 'preview() says so');
SELECT results_eq($$SELECT step_version FROM hotswap.preview('m', '2.1', 'production', '{p1}',
	reapply => true)$$, $$VALUES ('2'), ('2.1')$$, 'and what reapply would run');
SELECT throws_ok($$SELECT hotswap.release_version('production', 'm', '4', 'mended')$$, 'P0002',
	'version "4" of module "m" is not held in environment "production"', 'what is not held');
SELECT throws_ok($$SELECT hotswap.release_version('production', 'm', '2', '')$$, '22023', NULL,
	'no reason');
SELECT hotswap.tag_version('m', 'two', '2'),
	hotswap.release_version('production', 'm', 'two', 'it was not 2') \g /dev/null
SELECT results_eq($$SELECT version FROM hotswap.held_versions$$, $$VALUES ('3')$$, 'released');
SELECT results_eq($$SELECT reason, detail ->> 'version', detail ->> 'rollback'
	FROM hotswap.audit_log WHERE event = 'release_version'$$,
	format($$VALUES ('it was not 2', '2', %L)$$, :'r3'), 'in the audit log');
SELECT hotswap.deploy('m', '2', 'production') AS d2 \gset
CALL ended(:'d2') \gset
SELECT is(:'said'::text, 'succeeded', 'what is released comes again');
SELECT hotswap.deploy('m', '4', 'production', reapply => true) AS d4 \gset
CALL ended(:'d4') \gset
SELECT is(:'said'::text || ' ' || heads_of('p1'), 'succeeded 4', 'so does what is reapplied');
SELECT is_empty('SELECT * FROM hotswap.held_versions', 'which is held no more');

-- What is refused.
CREATE FUNCTION refused(d uuid, OUT code text, OUT message text, OUT detail text, OUT hint text)
	LANGUAGE sql AS $$SELECT * FROM refusal(format('SELECT hotswap.rollback(%L, ''x'')', d))$$;
SELECT results_eq(format($$SELECT code, message, detail FROM refused(%L)$$, :'d2'),
	format($$VALUES ('55000', 'deployment "%1$s" cannot be rolled back', 'There is no way: '
	'node "p1" runs what deployment "%2$s" has brought since; '
	'node "p2" runs what deployment "%2$s" has brought since.')$$, :'d2', :'d4'),
	'others have been on top');
SELECT results_eq(format($$SELECT code, detail, hint FROM refused(%L)$$, :'r3'),
	$$VALUES ('55000', 'It is a rollback itself.', 'Use hotswap.deploy() with "reapply".')$$,
	'a rollback');
SELECT hotswap.deploy('m', '1', 'production', run_at => now() + '1 d') AS later \gset
SELECT results_eq(format($$SELECT code, detail, hint FROM refused(%L)$$, :'later'),
	$$VALUES ('55000', 'It has not ended.', 'Use hotswap.cancel().')$$, 'what has not ended');
SELECT hotswap.cancel(:'later', 'x') \g /dev/null
SELECT results_eq(format($$SELECT code, detail FROM refused(%L)$$, :'later'),
	$$VALUES ('55000', 'No node of environment "production" runs what it has brought.')$$,
	'what brought nothing');
SELECT throws_ok($$SELECT hotswap.rollback(gen_random_uuid(), 'x')$$, 'P0002', NULL,
	'what is not there');
SELECT throws_ok(format($$SELECT hotswap.rollback(%L, NULL)$$, :'d4'), '22023', NULL, 'no reason');
SELECT throws_ok($$SELECT hotswap.rollback(NULL, 'x')$$, '22023', NULL, 'no deployment');
BEGIN;
SELECT hotswap.rollback(:'d4', 'x') AS r \gset
SELECT results_eq(format($$SELECT code, detail FROM refused(%L)$$, :'d4'),
	format($$VALUES ('55000', 'Deployment "%s" is going to take it back.')$$, :'r'), 'twice');
ROLLBACK;
SELECT publish_step('5', '{4}', revert => false) \g /dev/null
SELECT hotswap.deploy('m', '5', 'production') AS d5 \gset
CALL ended(:'d5') \gset
SELECT results_eq(format($$SELECT code, detail FROM refused(%L)$$, :'d5'),
	$$VALUES ('55000', 'There is no way: node "p1" cannot go back over what has no revert script: '
	'"5"; '
	'node "p2" cannot go back over what has no revert script: "5".')$$, 'without revert script');

-- Who may.
SELECT format('CREATE ROLE %1$I LOGIN; SELECT hotswap.grant_access(%1$L, ''deployer'');
	CREATE ROLE %2$I LOGIN; SELECT hotswap.grant_access(%2$L, ''operator'')', named('dan'),
	named('olga')) AS roles \gset
:roles \g /dev/null
SELECT is(as_role(named('dan'), format('SELECT hotswap.rollback(%L, ''x'')', :'d5')), '42501',
	'a deployer may not roll back');
SELECT is(as_role(named('olga'), format('SELECT hotswap.rollback(%L, ''x'')', :'d5')), '55000',
	'an operator may');
SELECT is(as_role(named('dan'),
	$$SELECT hotswap.release_version('production', 'm', '3', 'x')$$), '42501', 'nor release');
SELECT is(as_role(named('olga'),
	$$SELECT hotswap.release_version('production', 'm', '3', 'x')$$), 'P0002',
	'which an operator may');

-- A deployment that failed went back by itself.
SELECT hotswap.publish_version('m', '6', 'INSERT INTO log (what) VALUES (6)', 'SELECT 1 / 0',
	'SELECT 1', parents => '{5}') \g /dev/null
SELECT hotswap.deploy('m', '6', 'production') AS d6 \gset
CALL ended(:'d6') \gset
SELECT results_eq(format($$SELECT code, detail FROM refused(%L)$$, :'d6'),
	$$VALUES ('55000', 'No node of environment "production" runs what it has brought.')$$,
	'what took itself back');

-- A node whose revert script fails stays, the others go back, and it can be tried again.
SELECT hotswap.publish_version('m', '7', 'INSERT INTO log (what) VALUES (7)',
	revert_sql => 'SELECT 1 / count(*) FROM passes; INSERT INTO log (what) VALUES (-7)',
	parents => '{5}') \g /dev/null
CREATE TABLE p1.passes AS SELECT 1;
CREATE TABLE p2.passes (x int);
SELECT hotswap.deploy('m', '7', 'production') AS d7 \gset
CALL ended(:'d7') \gset
SELECT hotswap.rollback(:'d7', 'x') AS r7 \gset
CALL ended(:'r7') \gset
SELECT is(:'said'::text, 'failed: division by zero', 'one of two nodes');
SELECT is(heads_of('p1') || ' ' || heads_of('p2'), '5 7', 'the other one has gone back');
INSERT INTO p2.passes VALUES (1);
SELECT hotswap.retry(:'r7') \g /dev/null
CALL ended(:'r7') \gset
SELECT is(:'said'::text || ' ' || heads_of('p1') || ' ' || heads_of('p2'), 'succeeded 5 5',
	'retried');
SELECT is(log_of('p1'), '1 2 3 -3 -2 2 3 4 5 7 -7', 'nothing ran twice');

-- From nothing, by an installer, and back to nothing.
SELECT logging_node('qa', 'q') \g /dev/null
SELECT hotswap.publish_version('m', '8', 'SELECT 1', revert_sql => $$INSERT INTO log (what)
	VALUES ('-8')$$, parents => '{2.1}', install_sql => $$INSERT INTO log (what) VALUES ('=8')$$)
	\g /dev/null
SELECT hotswap.deploy('m', '8', 'qa') AS d8 \gset
CALL ended(:'d8') \gset
SELECT hotswap.rollback(:'d8', 'x') AS r8 \gset
CALL ended(:'r8') \gset
SELECT is(:'said'::text || ' ' || log_of('q') || coalesce(heads_of('q'), ''),
	'succeeded =8 -8 -2.1 -2 -1', 'all that an installer brought goes, one by one');

-- Versions that are complete: the revert script, or the deploy script of the one before.
SELECT hotswap.publish_version('c', v, format(
	'CREATE OR REPLACE VIEW is_now AS SELECT %L::text AS v',
	v), revert_sql => CASE v WHEN '3' THEN
	'CREATE OR REPLACE VIEW is_now AS SELECT ''reverted''::text AS v' END)
FROM unnest(ARRAY['1', '2', '3']) v \g /dev/null
CREATE PROCEDURE back_from(version text, INOUT said text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	d uuid = hotswap.deploy('c', version, 'production');
BEGIN
	CALL ended(d, said);
	CALL ended(hotswap.rollback(d, 'x'), said);
	SELECT concat_ws(' ', said, v, m.version, m.step, m.direction) INTO said
	FROM p1.is_now, hotswap.node_module m JOIN hotswap.node n ON n.id = m.node_id AND n.name = 'p1'
	WHERE m.module = 'c' ORDER BY swap DESC LIMIT 1;
END $$;
SELECT hotswap.deploy('c', '1', 'production') AS d \gset
CALL ended(:'d') \gset
SELECT results_eq(format($$SELECT code, detail FROM refused(%L)$$, :'d'),
	$$VALUES ('55000', 'There is no way: node "p1" cannot go back over what has no revert script: '
	'"1"; '
	'node "p2" cannot go back over what has no revert script: "1".')$$, 'the first one has no way');
CALL back_from('2') \gset
SELECT is(:'said'::text, 'succeeded 1 1 1 up', 'by the deploy script of the version before');
CALL back_from('3') \gset
SELECT is(:'said'::text, 'succeeded reverted 1 3 down', 'by its revert script');
SELECT results_eq($$SELECT version FROM hotswap.held_versions WHERE module = 'c' ORDER BY 1$$,
	$$VALUES ('2'), ('3')$$, 'they are held');
SELECT hotswap.deploy('c', '3', 'production') AS d \gset
CALL ended(:'d') \gset
SELECT matches(:'said'::text, '^failed: .* which is held', 'and do not come again');
SELECT hotswap.deploy('c', '3', 'production', reapply => true) AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || (SELECT string_agg(version, '') FROM hotswap.held_versions
	WHERE module = 'c'), 'succeeded2', 'but when they are reapplied');

-- What has come on top and gone again is in nobody's way.
CREATE FUNCTION refuses(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
SELECT hotswap.publish_version('c', '4', 'SELECT 4'),
	hotswap.register_hook('validate', 'refuses(uuid)', module => 'c') \g /dev/null
SELECT hotswap.deploy('c', '4', 'production') AS d4 \gset
CALL ended(:'d4') \gset
SELECT is(:'said'::text, 'rolled_back: hook "public.refuses" returned false', 'taken back');
SELECT hotswap.remove_hook('validate', 'refuses(uuid)', module => 'c') \g /dev/null
SELECT hotswap.rollback(:'d', 'x') AS r \gset
CALL ended(:'r') \gset
SELECT is(:'said'::text || ' ' || (SELECT v FROM p2.is_now), 'succeeded reverted',
	'what it was on top of is taken back');

-- A rollback of a complete version whose node was rolled back already.
SELECT results_eq(format($$SELECT code, detail FROM refused(%L)$$, :'d'),
	$$VALUES ('55000', 'No node of environment "production" runs what it has brought.')$$,
	'rolled back already');

-- Where the environment is protected, it is free if what goes was approved.
SELECT hotswap.set_approval_policy('production', 1, allow_self_approval => true) \g /dev/null
CREATE PROCEDURE approved(version text, bypass boolean, INOUT d uuid DEFAULT NULL)
	LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	d = hotswap.deploy('m', version, 'production', reapply => true);
	IF bypass THEN
		PERFORM hotswap.bypass_approval(d, 'production', 'fire', 'T-1');
	ELSE
		PERFORM hotswap.approve(d, 'production');
	END IF;
	CALL ended(d, said);
	ASSERT said = 'succeeded', said;
END $$;
CALL approved('7', false) \gset
SELECT hotswap.rollback(:'d', 'x') AS r \gset
CALL ended(:'r') \gset
SELECT is(:'said'::text, 'succeeded', 'what votes approved is taken back without');
CALL approved('7', false) \gset
SELECT hotswap.configure_environment('production', rollback_needs_approval => true) \g /dev/null
SELECT hotswap.rollback(:'d', 'x') AS r \gset
SELECT is((SELECT steps FROM hotswap.approvals WHERE deployment_id = :'r'),
	jsonb_build_array(jsonb_build_object('module', 'm', 'version', '7',
	'direction', 'down', 'digest',
	(SELECT encode(digest, 'hex') FROM hotswap.module_version
	WHERE module = 'm' AND version = '7'), 'transactional', true)),
	'unless the environment wants one, which is about what goes');
SELECT hotswap.approve(:'r', 'production') \g /dev/null
CALL ended(:'r') \gset
SELECT is(:'said'::text, 'succeeded', 'with it, it goes');
SELECT hotswap.configure_environment('production', rollback_needs_approval => false) \g /dev/null
CALL approved('7', true) \gset
BEGIN;
SELECT hotswap.rollback(:'d', 'x') AS r \gset
SELECT is((SELECT count(*) FROM hotswap.approvals WHERE deployment_id = :'r'), 1::bigint,
	'what was bypassed needs one');
ROLLBACK;
SELECT format('CREATE ROLE %1$I LOGIN; SELECT hotswap.grant_access(%1$L, ''approver'')',
	named('ann')) AS roles \gset
:roles \g /dev/null
SELECT as_role(named('ann'), format($$SELECT hotswap.close_bypass_review(%L, 'production',
	'seen')$$, :'d')) \g /dev/null
BEGIN;
SELECT hotswap.rollback(:'d', 'x') AS r \gset
SELECT is((SELECT count(*) FROM hotswap.approvals WHERE deployment_id = :'r'), 0::bigint,
	'until somebody has looked at it');
ROLLBACK;
SELECT hotswap.configure_environment('production', rollback_within => '0') \g /dev/null
BEGIN;
SELECT hotswap.rollback(:'d', 'x') AS r \gset
SELECT is((SELECT count(*) FROM hotswap.approvals WHERE deployment_id = :'r'), 1::bigint,
	'so does what is long ago');
ROLLBACK;
SELECT hotswap.configure_environment('production', rollback_within => '7 d') \g /dev/null
UPDATE hotswap.node_module SET direction = 'declared' WHERE module = 'm' AND version = '5'
	AND swap = (SELECT max(swap) FROM hotswap.node_module m WHERE m.node_id = node_module.node_id
	AND module = 'm' AND version = '5');
BEGIN;
SELECT hotswap.rollback(:'d', 'x') AS r \gset
SELECT is((SELECT count(*) FROM hotswap.approvals WHERE deployment_id = :'r'), 1::bigint,
	'and the way to what was declared');
ROLLBACK;
SELECT throws_ok($$SELECT hotswap.configure_environment('production', rollback_within => '-1 d')$$,
	'22023', NULL, 'a time that is negative');
SELECT throws_ok($$SELECT hotswap.configure_environment('production', rollback_within => '2 y')$$,
	'22023', NULL, 'or too long');
SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit log is whole');
SELECT * FROM finish();
