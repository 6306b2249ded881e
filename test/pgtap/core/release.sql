-- Releases: deploy_release() and preview_release(), from the plan over the approval to the rows of
-- each node (src/core/release.c, src/core/plan_join.c, src/core/plan.c, src/core/plan_rollback.c).
SELECT plan(58);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT logging_node('development', 'd') \g /dev/null
SELECT logging_node('production', 'p1'), logging_node('production', 'p2') \g /dev/null

-- A version of a module that writes "module=version" to the log of its node.
CREATE FUNCTION pg_temp.publish(module text, version text, parents text[] = NULL,
		requires text[] = NULL, revert boolean = true, verify text = NULL) RETURNS text
		LANGUAGE sql AS $$
	SELECT hotswap.publish_version(module, version,
		format('INSERT INTO log (what) VALUES (%L)', module || '=' || version),
		verify_sql => verify,
		revert_sql => CASE WHEN revert THEN format('INSERT INTO log (what) VALUES (%L)',
			'-' || module || '=' || version) END,
		parents => parents, requires => requires)
$$;
CREATE PROCEDURE pg_temp.release_to(release text, environment text, INOUT said text = NULL)
		LANGUAGE plpgsql AS $$
DECLARE
	d uuid = hotswap.deploy_release(release, environment);
BEGIN
	COMMIT;
	PERFORM hotswap.wait(d, '60 s');
	COMMIT;
	SELECT concat_ws(': ', status, message) INTO said FROM hotswap.deployment WHERE id = d;
END $$;
-- What a node runs of each module.
CREATE FUNCTION pg_temp.runs(node text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(l.module || '=' || coalesce(l.version, '-'), ' '
		ORDER BY l.module COLLATE "C")
	FROM (SELECT DISTINCT ON (m.module) m.module, m.version FROM hotswap.node_module m
		JOIN hotswap.node n ON n.id = m.node_id AND n.name = node ORDER BY m.module, m.swap DESC) l
$$;
-- In how many transactions the rows of a deployment on a node were written.
CREATE FUNCTION pg_temp.transactions(d uuid, node text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(DISTINCT m.xmin::text) FROM hotswap.node_module m
		JOIN hotswap.node n ON n.id = m.node_id AND n.name = node WHERE m.deployment_id = d
$$;

SELECT pg_temp.publish('a', '1', '{}'), pg_temp.publish('a', '2', '{1}', '{b>=1}'),
	pg_temp.publish('b', '1', '{}'), pg_temp.publish('b', '2', '{1}', '{c}'),
	pg_temp.publish('c', '1'), pg_temp.publish('c', '2', NULL, '{a>=2}') \g /dev/null
SELECT hotswap.publish_release('spring', '{a=2,b=1,c=1}'),
	hotswap.publish_release('summer', '{a=2,b=2,c=2}') \g /dev/null

-- What would run is in the order of what modules ask for, and nothing has run.
SELECT results_eq($$SELECT step, step_module, step_version FROM hotswap.preview_release('spring',
	'production') WHERE node = 'p1'$$,
	$$VALUES (1, 'b', '1'), (2, 'a', '1'), (3, 'a', '2'), (4, 'c', '1')$$, 'preview_release()');
SELECT is_empty('SELECT FROM hotswap.node_module', 'runs nothing');

-- A release goes to a node in one transaction.
SELECT hotswap.deploy_release('spring', 'production') AS spring \gset
CALL ended(:'spring') \gset
SELECT is(:'said'::text, 'succeeded', 'deployed');
SELECT results_eq($$SELECT log_of(n) FROM unnest(ARRAY['d', 'p1', 'p2']) n$$,
	$$SELECT 'b=1 a=1 a=2 c=1' FROM generate_series(1, 3)$$, 'as it was previewed');
SELECT is(pg_temp.transactions(:'spring', 'p1'), 1::bigint, 'in one transaction');
SELECT is(pg_temp.runs('p1'), 'a=2 b=1 c=1', 'each module has its row');
SELECT results_eq(format('SELECT module, version, release FROM hotswap.deployments WHERE id = %L',
	:'spring'), $$SELECT name, digest, name FROM hotswap.releases WHERE name = 'spring'$$,
	'the view says what it is');
SELECT results_eq(format($$SELECT detail FROM hotswap.audit_log WHERE subject_id = %L
	AND event = 'request'$$, :'spring'),
	$$SELECT jsonb_build_object('release', name, 'digest', digest, 'environment', 'production')
	FROM hotswap.releases WHERE name = 'spring'$$, 'so does the audit log');

-- Only what is another version runs; b asks for c, and c for a.
SELECT results_eq($$SELECT step, step_module, step_version FROM hotswap.preview_release('summer',
	'production', '{p1}')$$, $$VALUES (1, 'c', '2'), (2, 'b', '2')$$, 'two of three change');
SELECT hotswap.deploy_release('summer', 'production') AS summer \gset
CALL ended(:'summer') \gset
SELECT is(:'said'::text, 'succeeded', 'the next one');
SELECT is(log_of('p2'), 'b=1 a=1 a=2 c=1 c=2 b=2', 'brought what differed');
SELECT results_eq($$SELECT DISTINCT problem FROM hotswap.preview_release('summer', 'production',
	'{p1}')$$, $$VALUES ('skipped: node "p1" already runs release "summer"')$$, 'and is there');
CALL pg_temp.release_to('summer', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'once more');
SELECT is((SELECT message FROM hotswap.stages WHERE kind = 'deploy' AND environment = 'production'
	ORDER BY deployment_id DESC LIMIT 1), 'every node already runs release "summer"',
	'there is nothing to do');

-- It is taken back as one.
SELECT hotswap.rollback(:'summer', 'it is hot') AS back \gset
CALL ended(:'back') \gset
SELECT is(:'said'::text, 'succeeded', 'rolled back');
SELECT is(log_of('p1'), 'b=1 a=1 a=2 c=1 c=2 b=2 -b=2 -c=2', 'in reverse');
SELECT is(pg_temp.transactions(:'back', 'p1'), 1::bigint, 'in one transaction');
SELECT is(pg_temp.runs('p1'), 'a=2 b=1 c=1', 'to what ran before');
SELECT results_eq($$SELECT module, version FROM hotswap.held_versions ORDER BY module$$,
	$$VALUES ('b', '2'), ('c', '2')$$, 'what went is held');
CALL pg_temp.release_to('summer', 'production') \gset
SELECT matches(:'said'::text, '^failed: release "summer" cannot go to environment "production": '
	'node "p1" would run version "2", which is held', 'and does not come by itself');
SELECT hotswap.deploy_release('summer', 'production', reapply => true) AS again \gset
CALL ended(:'again') \gset
SELECT is(:'said'::text, 'succeeded', 'with reapply it does');
SELECT is_empty('SELECT FROM hotswap.held_versions', 'nothing is held any more');

-- Two modules that ask for each other's new versions come together, and only together.
SELECT pg_temp.publish('x', '1', '{}'), pg_temp.publish('x', '2', '{1}', '{y>=2}'),
	pg_temp.publish('y', '1', '{}'), pg_temp.publish('y', '2', '{1}', '{x>=2}') \g /dev/null
SELECT hotswap.publish_release('old', '{x=1,y=1}'), hotswap.publish_release('new', '{x=2,y=2}'),
	hotswap.publish_release('half', '{a=2,x=2}') \g /dev/null
CALL pg_temp.release_to('old', 'production') \gset
SELECT is((SELECT problem FROM hotswap.preview('x', '2', 'production', '{p1}')),
	'blocked: node "p1" does not run version "2" of module "y", which version "2" of module "x" '
	'requires', 'one alone has no way');
SELECT is((SELECT problem FROM hotswap.preview_release('half', 'production', '{p1}')),
	'blocked: node "p1" does not run version "2" of module "y", which version "2" of module "x" '
	'requires', 'nor has a release without the other');
CALL pg_temp.release_to('new', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'both have');

-- Down, neither goes without the other.
SELECT matches((SELECT problem FROM hotswap.preview('x', '1', 'production', '{p1}',
	allow_revert => true)), '^blocked: on node "p1" version "2" of module "y" requires',
	'one alone is asked for');
SELECT hotswap.configure_environment('production', allow_revert => 'anyone') \g /dev/null
SELECT hotswap.deploy_release('old', 'production', allow_revert => true) AS old \gset
CALL ended(:'old') \gset
SELECT is(:'said'::text, 'succeeded', 'both go');
SELECT is(pg_temp.transactions(:'old', 'p1'), 1::bigint, 'in one transaction');
SELECT matches(log_of('p1'), ' x=2 y=2 -y=2 -x=2$', 'in reverse');

-- A script that fails undoes what came before it on its node, and the others go back.
SELECT hotswap.publish_version('y', '3', $$INSERT INTO log (what) VALUES ('y=3');
	SET LOCAL lock_timeout = 0;
	SELECT CASE current_schema WHEN 'p2' THEN pg_advisory_xact_lock_shared(8) END$$,
	$$SELECT current_schema <> 'p2'$$, $$INSERT INTO log (what) VALUES ('-y=3')$$,
	parents => '{2}') \g /dev/null
SELECT pg_advisory_lock(8) \g /dev/null
SELECT hotswap.publish_release('bad', '{a=2,c=1,x=2,y=3}') \g /dev/null
SELECT log_of('p2') AS before \gset
SELECT hotswap.deploy_release('bad', 'production') AS bad \gset
CALL until('pg_temp.runs(''p1'') LIKE ''%y=3''');
SELECT pg_advisory_unlock(8) \g /dev/null
CALL ended(:'bad') \gset
SELECT matches(:'said'::text, '^rolled_back: verification returned false', 'taken back');
SELECT is(log_of('p2'), :'before', 'nothing of it is on the node where it failed');
SELECT matches(log_of('p1'), '-y=3 -y=2 -x=2', 'and the other one has gone back over all modules');
SELECT is((SELECT step FROM hotswap.tasks WHERE deployment_id = :'bad' AND status = 'failed'),
	'y=3', 'the task says whose script it was');
SELECT is(pg_temp.runs('p1') || ' ' || pg_temp.runs('p2'), 'a=2 b=2 c=2 x=1 y=1 '
	'a=2 b=2 c=2 x=1 y=1', 'both run what they ran');

-- One that was taken back is retried as a whole.
SELECT is(hotswap.retry(:'bad')::text, 'queued', 'retried');
CALL ended(:'bad') \gset
SELECT matches(:'said'::text, '^rolled_back: ', 'to the same end');
SELECT is(pg_temp.runs('p1'), 'a=2 b=2 c=2 x=1 y=1', 'and back again');

-- A node that runs nothing of one of the modules does not belong to it, unless it is named.
SELECT hotswap.remove_node(id) FROM hotswap.node WHERE name = 'p2' \g /dev/null
SELECT logging_node('production', 'p3') \g /dev/null
SELECT results_eq($$SELECT node, step_module, problem FROM hotswap.preview_release('new',
	'production', only_target => true)$$,
	$$VALUES ('p1', 'x', NULL), ('p1', 'y', NULL),
	('p3', NULL, 'skipped: node "p3" runs nothing of module "x", and is not named')$$,
	'the new one is left out');
SELECT is((SELECT string_agg(step_module || '=' || step_version, ' ' ORDER BY step)
	FROM hotswap.preview_release('spring', 'production', '{p3}')), 'b=1 a=1 a=2 c=1',
	'when it is named it is not');
SELECT hotswap.deploy_release('new', 'production') AS new \gset
CALL ended(:'new') \gset
SELECT is(:'said' || ', ' || log_of('p3'), 'succeeded, ', 'so it is deployed');

-- On the way to the target a node that has gone another way in one module is passed over whole.
SELECT pg_temp.publish('y', '1.1', '{1}'), pg_temp.publish('z', '1', '{}') \g /dev/null
SELECT hotswap.publish_release('hotfix', '{y=1.1,z=1}') \g /dev/null
SELECT results_eq($$SELECT node, step_module, problem FROM hotswap.preview_release('hotfix',
	'production') WHERE goes_to = 'development'$$,
	$$VALUES ('d', NULL,
	'skipped: node "d" runs version "3", which version "1.1" does not build on')$$,
	'it keeps what it runs');

-- What does not run in a transaction has no place in a release, but may be there before it.
SELECT hotswap.publish_version('log', '1', 'CREATE INDEX CONCURRENTLY log_what ON log (what)',
	revert_sql => 'DROP INDEX log_what', parents => '{}', transactional => false) \g /dev/null
SELECT hotswap.publish_release('outside', '{log=1,z=1}') \g /dev/null
CALL pg_temp.release_to('outside', 'production') \gset
SELECT is(:'said'::text, 'failed: release "outside" cannot go to environment "development": '
	'node "d" would run version "1" of module "log", which does not run in a transaction, as a '
	'release does. Deploy version "1" of module "log" by itself first.', 'refused');
SELECT hotswap.deploy('log', '1', 'development') AS alone \gset
CALL hotswap.await(:'alone', '60 s', NULL) \g /dev/null
CALL pg_temp.release_to('outside', 'development') \gset
SELECT is(:'said'::text, 'succeeded', 'and let through when it runs');

-- A release is not taken back where somebody has come on top of one of its modules.
SELECT hotswap.publish_release('top', '{c=2,z=1}') \g /dev/null
SELECT hotswap.deploy_release('top', 'development') AS below \gset
CALL ended(:'below') \gset
SELECT hotswap.deploy('c', '1', 'development') AS above \gset
CALL ended(:'above') \gset
SELECT results_eq(format($$SELECT code, message, detail FROM refusal(%L)$$,
	format('SELECT hotswap.rollback(%L, %L)', :'below', 'x')),
	format($$VALUES ('55000', 'deployment "%s" cannot be rolled back',
	'There is no way: node "d" runs what deployment "%s" has brought since.')$$,
	:'below', :'above'), 'refused');SELECT hotswap.rollback(:'above', 'x') AS away \gset
CALL ended(:'away') \gset
SELECT hotswap.rollback(:'below', 'x') AS away \gset
CALL ended(:'away') \gset
SELECT is(:'said' || ' ' || pg_temp.runs('d'), 'succeeded a=2 b=2 c=1 log=1 x=2 y=3 z=1',
	'when that is gone it is not');

-- Arguments, and what they ask for.
SELECT is(hotswap.deploy_release('new', 'production', 'key', nodes => '{p1}',
	metadata => '{"job": 1}'), hotswap.deploy_release('new', 'production', 'key',
	nodes => '{p1}', metadata => '{"job": 1}'), 'the same request is the same deployment');
SELECT throws_ok($$SELECT hotswap.deploy_release('old', 'production', 'key', nodes => '{p1}',
	metadata => '{"job": 1}')$$, 'YH001', NULL, 'another release is another one');
SELECT throws_ok($$SELECT hotswap.deploy('y', '1', 'production', 'key')$$, 'YH001', NULL,
	'and so is a version');
SELECT throws_ok(format('SELECT hotswap.deploy_release(%L, %L)', release, environment), code,
	message, message)
FROM (VALUES (NULL, 'qa', '22023', '"release" must not be null'),
	('a b', 'qa', '22023', 'invalid value for "release": "a b"'),
	('new', NULL, '22023', '"environment" must not be null'),
	('none', 'qa', 'P0002', 'release "none" does not exist'),
	('new', 'none', 'P0002', 'environment "none" does not exist')) c
		(release, environment, code, message);
SELECT throws_ok($$SELECT * FROM hotswap.preview_release('none', 'qa')$$, 'P0002',
	'release "none" does not exist', 'preview: no such release');
SELECT results_eq($$SELECT code, message, detail FROM refusal(
	'SELECT hotswap.deploy_release(''old'', ''production'', only_target => true)')$$,
	$$VALUES (NULL::text, NULL::text, NULL::text)$$, 'development has nothing to run of it');
SELECT pg_temp.publish('z', '2', '{1}') \g /dev/null
SELECT hotswap.publish_release('late', '{y=3,z=2}') \g /dev/null
SELECT results_eq($$SELECT code, message, detail FROM refusal(
	'SELECT hotswap.deploy_release(''late'', ''production'', only_target => true)')$$,
	$$VALUES ('55000', 'environment "development" must not be skipped on the way to "production"',
	'Release "late" has not come to node "d" there.')$$, 'and what it has must not be skipped');

-- It starts when the windows of all its modules let it.
SELECT date_trunc('hour', now()) + '5 h' AS later \gset
SELECT hotswap.set_window('development', 'y', 'deny', NULL, tstzrange(NULL, :'later'),
	modules => '{y}'),
	hotswap.set_window('development', 'z', 'deny', NULL, tstzrange(NULL, now() + '1 h'),
	modules => '{z}'),
	hotswap.set_window('development', 'both', 'deny', NULL, tstzrange(NULL, now() + '2 h'),
	modules => '{y,z}') \g /dev/null
SELECT hotswap.deploy_release('late', 'development') AS late \gset
CALL await(:'late', 'pending_approval');
SELECT results_eq(format($$SELECT detail, unblocked_by FROM hotswap.explain(%L)$$, :'late'),
	format($$VALUES ('By its windows: "both", "y", "z".',
	'the time %s, or hotswap.override_freeze()')$$, :'later'::timestamptz),
	'it waits for the last one');
SELECT hotswap.remove_window('development', w) FROM unnest('{y,both,z}'::text[]) w \g /dev/null
CALL ended(:'late') \gset
SELECT is(:'said'::text, 'succeeded', 'and then goes on');
SELECT * FROM finish();
