-- deploy(supersede => true): what runs in the lane is cancelled, and taken back or taken over
-- (src/deployment/supersede.c).
SELECT plan(29);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy(name, 0) FROM hotswap.environments \g /dev/null
SELECT logging_node('development', 'd') \g /dev/null
SELECT logging_node('production', 'p1'), logging_node('production', 'p2') \g /dev/null

-- A version that waits in one node for a gate, an advisory lock that the test holds.
CREATE FUNCTION pg_temp.publish_gated(module text, version text, node text, gate integer,
		parents text[] DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT hotswap.publish_version(module, version, format('INSERT INTO log (what) VALUES (%L);
		SET LOCAL lock_timeout = 0; DO $do$BEGIN
			IF current_schema() = %L THEN PERFORM pg_advisory_xact_lock_shared(%s); END IF;
		END$do$', version, node, gate), revert_sql => format('INSERT INTO log (what) VALUES (%L)',
			'-' || version), parents => parents)
$$;
SELECT pg_advisory_lock(g) FROM generate_series(71, 74) g \g /dev/null
SELECT publish_step('1', '{}'), pg_temp.publish_gated('m', '2', 'p2', 71, '{1}'),
	publish_step('1.1', '{1}'), publish_step('3', '{2}'),
	pg_temp.publish_gated('m', '4', 'd', 72, '{3}'),
	publish_step('5', '{4}') \g /dev/null
-- Waits until a deployment has swapped one node, and waits in the other one.
CREATE PROCEDURE half(d uuid) LANGUAGE sql AS $$
	CALL until(format($q$(SELECT array_agg(status::text ORDER BY status) FROM hotswap.tasks
		WHERE deployment_id = %L AND environment = 'production') = '{running,succeeded}'$q$, d))
$$;
CREATE FUNCTION pg_temp.how(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', status, on_failure, replace(cancel_reason, d::text, 'it'))
	FROM hotswap.deployments WHERE id = d
$$;
CALL deploy_to('1', 'production') \g /dev/null

-- Its version builds on something else: what runs is taken back first.
SELECT hotswap.deploy('m', '2', 'production') AS d \gset
CALL half(:'d');
SELECT hotswap.deploy('m', '1', 'production', priority => 1000) AS queued \gset
SELECT hotswap.deploy('m', '1.1', 'production', supersede => true) AS s \gset
CALL ended(:'s') \gset
SELECT is(pg_temp.how(:'d'), format('cancelled back superseded by deployment %s of version "1.1"',
	:'s'), 'what runs is cancelled, and says why');
SELECT is(:'said'::text, 'succeeded', 'the other one comes');
SELECT is(log_of('p1') || ', ' || log_of('p2'), '1 2 -2 1.1, 1 1.1', 'after what it is not about');
CALL ended(:'queued') \gset
SELECT cmp_ok((SELECT started_at FROM hotswap.deployments WHERE id = :'s'), '<',
	(SELECT started_at FROM hotswap.deployments WHERE id = :'queued'), 'before all that waits');
SELECT is((SELECT detail ->> 'supersede' FROM hotswap.audit_log WHERE subject_id = :'s'
	AND event = 'request'), 'true', 'it is audited');
SELECT is((SELECT reason FROM hotswap.audit_log WHERE subject_id = :'d' AND event = 'cancel'),
	format('superseded by deployment %s of version "1.1"', :'s'), 'at both');
SELECT is(heads_of('d'), '2', 'on the way there everything stays');

-- Its version builds on what runs: that stays, and it goes on from there.
SELECT hotswap.publish_version('m', '6', 'INSERT INTO log (what) VALUES (''6'')',
	parents => '{1.1,2}') \g /dev/null
SELECT hotswap.deploy('m', '2', 'production', only_target => true, allow_revert => true) AS d \gset
CALL half(:'d');
SELECT log_of('p1') AS before \gset
SELECT hotswap.deploy('m', '6', 'production', supersede => true) AS s \gset
SELECT matches(pg_temp.how(:'d'), '^(running|cancelled) stay superseded', 'what runs is cancelled');
SELECT pg_advisory_unlock(71) \g /dev/null
CALL ended(:'s') \gset
SELECT is(:'said'::text, 'succeeded', 'the other one comes');
SELECT is(pg_temp.how(:'d'), format('cancelled stay superseded by deployment %s of version "6"',
	:'s'), 'nothing is taken back');
SELECT is(log_of('p1'), :'before' || ' 1.1 6', 'it goes on from there');
SELECT is(heads_of('p1') || heads_of('p2') || heads_of('d'), '666', 'on all nodes');

-- Complete versions replace what is there.
SELECT pg_temp.publish_gated('whole', '1', 'p2', 73),
	hotswap.publish_version('whole', '2', 'INSERT INTO log (what) VALUES (''whole'')') \g /dev/null
SELECT hotswap.deploy('whole', '1', 'production') AS d \gset
CALL half(:'d');
SELECT hotswap.deploy('whole', '2', 'production', supersede => true) AS s \gset
CALL ended(:'s') \gset
SELECT is(:'said'::text || ' ' || pg_temp.how(:'d'), format(
	'succeeded cancelled stay superseded by deployment %s of version "2"', :'s'),
	'taken over as well');

-- Not by one that is for some nodes alone.
SELECT pg_advisory_lock(71) \g /dev/null
SELECT pg_temp.publish_gated('some', '1', 'p2', 71),
	hotswap.publish_version('some', '2', 'INSERT INTO log (what) VALUES (''some'')') \g /dev/null
SELECT hotswap.deploy('some', '2', 'development') AS s \gset
CALL ended(:'s') \gset
SELECT hotswap.deploy('some', '1', 'production') AS d \gset
CALL half(:'d');
SELECT hotswap.configure_environment('production', may_skip_environments => true) \g /dev/null
SELECT hotswap.deploy('some', '2', 'production', nodes => '{p1}', supersede => true) AS s \gset
CALL ended(:'s') \gset
SELECT matches(pg_temp.how(:'d'), '^(cancelled|rollback_failed) back superseded',
	'what is on other nodes goes back');

-- A release ends what runs of any of its modules, and is ended by a version of one of them.
SELECT pg_temp.publish_gated('shared', '1', 'p2', 71),
	hotswap.publish_version('shared', '2', 'INSERT INTO log (what) VALUES (''shared'')'),
	hotswap.publish_version('beside', '1', 'SELECT 1'),
	hotswap.publish_release('slow', '{shared=1,beside=1}'),
	hotswap.publish_release('quick', '{shared=2,beside=1}') \g /dev/null
SELECT hotswap.deploy('shared', '1', 'production') AS d \gset
CALL half(:'d');
SELECT hotswap.deploy_release('quick', 'production', supersede => true) AS s \gset
CALL ended(:'s') \gset
SELECT is(pg_temp.how(:'d'), format('cancelled back superseded by deployment %s of release "quick"',
	:'s'), 'a release supersedes');
SELECT is(:'said'::text, 'succeeded', 'and comes');
SELECT is((SELECT detail ->> 'supersede' FROM hotswap.audit_log WHERE subject_id = :'s'
	AND event = 'request'), 'true', 'which is audited as of a version');
SELECT hotswap.deploy_release('slow', 'production') AS d \gset
CALL half(:'d');
SELECT hotswap.deploy('shared', '2', 'production', supersede => true) AS s \gset
CALL ended(:'s') \gset
SELECT matches(pg_temp.how(:'d'), '^[a-z_]+ back superseded by deployment .* of version "2"',
	'a release is superseded, and goes back');

-- It runs in an environment that is not on the way, or is through with those that are.
SELECT hotswap.publish_version('m', '7', 'INSERT INTO log (what) VALUES (''7'')',
	parents => '{6}') \g /dev/null
SELECT pg_temp.publish_gated('m', '8', 'p2', 71, '{7}') \g /dev/null
SELECT hotswap.deploy('m', '8', 'production') AS d \gset
CALL half(:'d');
SELECT hotswap.deploy('m', '8', 'development', supersede => true) AS s \gset
CALL ended(:'s') \gset
SELECT is(:'said'::text || ' ' || pg_temp.how(:'d'), 'succeeded running',
	'one that is through with the environment runs on');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT hotswap.deploy('m', '8', 'production', supersede => true) AS s \gset
SELECT matches(pg_temp.how(:'d'), 'enough$', 'one that is being cancelled already is left alone');
SELECT pg_advisory_unlock(71) \g /dev/null
CALL ended(:'s') \gset
SELECT is(:'said'::text, 'succeeded', 'and waited for');

-- A deployment of another module, and a rollback.
SELECT pg_temp.publish_gated('other', '1', 'd', 74) \g /dev/null
SELECT hotswap.deploy('other', '1', 'development') AS other \gset
CALL until('at_gate(74)');
SELECT hotswap.deploy('m', '8', 'development', supersede => true) AS s \gset
CALL ended(:'s') \gset
SELECT is(:'said'::text || ' ' || status_of(:'other'), 'succeeded running',
	'another module runs on');
SELECT pg_advisory_unlock(74) \g /dev/null
SELECT hotswap.publish_version('back', '1', 'SELECT 1'),
	hotswap.publish_version('back', '2', 'SELECT 1', revert_sql => 'SET LOCAL lock_timeout = 0;
		SELECT pg_advisory_xact_lock_shared(72)'),
	hotswap.publish_version('back', '3', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('back', '1', 'development') AS d \gset
CALL ended(:'d') \gset
SELECT hotswap.deploy('back', '2', 'development') AS d \gset
CALL ended(:'d') \gset
SELECT hotswap.rollback(:'d', 'test') AS r \gset
CALL until('at_gate(72)');
SELECT hotswap.deploy('back', '3', 'development', supersede => true) AS s \gset
SELECT is(status_of(:'r') || ' ' || status_of(:'s'), 'running queued', 'a rollback is let end');
SELECT pg_advisory_unlock(72) \g /dev/null
CALL ended(:'s') \gset
SELECT is(status_of(:'r') || ' ' || status_of(:'s'), 'succeeded succeeded', 'before it comes');

-- Nothing runs, and the same request again.
SELECT hotswap.deploy('back', '2', 'development', 'k', supersede => true) AS s \gset
SELECT is(hotswap.deploy('back', '2', 'development', 'k', supersede => true), :'s',
	'a key makes it one request');
SELECT throws_ok($$SELECT hotswap.deploy('back', '2', 'development', 'k')$$, 'YH001', NULL,
	'it is part of what the key stands for');
CALL ended(:'s') \gset

-- Who may, and what it cannot be together with.
SELECT format('CREATE ROLE %1$I LOGIN; SELECT hotswap.grant_access(%1$L, ''deployer'')',
	named('dan')) AS roles \gset
:roles \g /dev/null
SELECT is(as_role(named('dan'), $$SELECT hotswap.deploy('back', '2', 'development',
	supersede => true)$$), '42501', 'not every deployer');
SELECT is((SELECT concat_ws(': ', code, message, detail) FROM refusal($$SELECT hotswap.deploy(
	'back', '2', 'development', run_at => now() + '1 d', supersede => true)$$)),
	'22023: "run_at" must be null with "supersede": What runs ends now.', 'nor later');
SELECT throws_ok($$SELECT hotswap.deploy('m', '8', 'development', supersede => NULL)$$, '22023',
	'"supersede" must not be null', 'nor NULL');
SELECT * FROM finish();
