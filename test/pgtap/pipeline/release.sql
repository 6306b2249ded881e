-- Releases on their way: approvals, hooks, the verify scripts at the end, nodes that stay behind, a
-- rollback that fails, and cancel() (src/pipeline/, src/core/approval_scope.c, src/run/record.c).
SELECT plan(25);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT logging_node('production', 'p1'), logging_node('production', 'p2') \g /dev/null
CREATE FUNCTION pg_temp.publish(module text, version text, script text = '', verify text = NULL,
		revert text = '', parents text[] = NULL) RETURNS text LANGUAGE sql AS $$
	SELECT hotswap.publish_version(module, version,
		format('INSERT INTO log (what) VALUES (%L); %s', module || '=' || version, script),
		verify_sql => verify, revert_sql => format('INSERT INTO log (what) VALUES (%L); %s',
			'-' || module || '=' || version, revert), parents => parents)
$$;
CREATE FUNCTION pg_temp.runs(node text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(l.module || '=' || coalesce(l.version, '-'), ' ' ORDER BY l.module)
	FROM (SELECT DISTINCT ON (m.module) m.module, m.version FROM hotswap.node_module m
		JOIN hotswap.node n ON n.id = m.node_id AND n.name = node ORDER BY m.module, m.swap DESC) l
$$;

-- Hooks of its modules are called once each, and verify scripts run once more at the end.
CREATE TABLE called (name text, deployment uuid);
CREATE FUNCTION hook_a(uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO called VALUES (''a'', $1)';
CREATE FUNCTION hook_ab(uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO called VALUES (''ab'', $1)';
CREATE FUNCTION hook_z(uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO called VALUES (''z'', $1)';
SELECT hotswap.register_hook('validate', 'hook_a(uuid)', module => 'a'),
	hotswap.register_hook('validate', 'hook_ab(uuid)', module => 'a'),
	hotswap.register_hook('validate', 'hook_ab(uuid)', module => 'b'),
	hotswap.register_hook('validate', 'hook_z(uuid)', module => 'z') \g /dev/null
CREATE SEQUENCE verified;
GRANT USAGE ON SEQUENCE verified TO PUBLIC;
SELECT pg_temp.publish('a', '1', verify => 'SELECT nextval(''public.verified'') > 0'),
	pg_temp.publish('b', '1'), pg_temp.publish('c', '1',
	verify => 'SELECT nextval(''public.verified'') > 0') \g /dev/null
SELECT hotswap.publish_release('one', '{a=1,b=1,c=1}') \g /dev/null
SELECT hotswap.deploy_release('one', 'production') AS one \gset
CALL ended(:'one') \gset
SELECT is(:'said'::text, 'succeeded', 'deployed');
SELECT results_eq('SELECT name, deployment FROM called ORDER BY name',
	format($$VALUES ('a', %1$L::uuid), ('ab', %1$L)$$, :'one'), 'hooks of its modules, once each');
SELECT is((SELECT last_value FROM verified), 8::bigint,
	'two verify scripts on two nodes, with the swap and at the end');
SELECT results_eq(format($$SELECT kind::text, count(*) FROM hotswap.tasks
	WHERE deployment_id = %L GROUP BY 1 ORDER BY 1$$, :'one'),
	$$VALUES ('hook', 2::bigint), ('swap', 2), ('verify', 2)$$, 'a task a node');
SELECT matches((SELECT message FROM hotswap.stages WHERE deployment_id = :'one' AND kind = 'scan'),
	'^a sha256 [0-9a-f]{64}; b sha256 [0-9a-f]{64}; c sha256 [0-9a-f]{64}$',
	'each version was scanned');

-- What a rule denies is the failure of the whole, before anything has run.
SELECT pg_temp.publish('b', 'denied', 'TRUNCATE log') \g /dev/null
SELECT hotswap.publish_release('denied', '{a=1,b=denied}') \g /dev/null
SELECT hotswap.set_rule('production', 'truncate', 'deny') \g /dev/null
SELECT hotswap.deploy_release('denied', 'production') AS denied \gset
CALL ended(:'denied') \gset
SELECT matches(:'said'::text, '^failed: denied: TRUNCATE', 'denied');

-- An approval is about the steps of all modules; one more makes it void.
SELECT hotswap.set_approval_policy('production', 1, allow_self_approval => true) \g /dev/null
SELECT pg_temp.publish('g', '1', parents => '{}'), pg_temp.publish('g', '2', parents => '{1}'),
	pg_temp.publish('a', '2') \g /dev/null
SELECT hotswap.publish_release('two', '{a=2,b=1,g=2}') \g /dev/null
SELECT hotswap.deploy_release('two', 'production') AS two \gset
CALL await(:'two', 'pending_approval');
SELECT results_eq(format($$SELECT a.release, s ->> 'module', s ->> 'version'
	FROM hotswap.approvals a, jsonb_array_elements(a.steps) s WHERE deployment_id = %L$$, :'two'),
	$$VALUES ('two', 'a', '2'), ('two', 'g', '1'), ('two', 'g', '2')$$, 'what will run');
SELECT results_eq(format($$SELECT event::text, release FROM hotswap.notifications
	WHERE deployment_id = %L$$, :'two'), $$VALUES ('requested', 'two')$$, 'the outbox names it');
SELECT logging_node('production', 'p3') \g /dev/null
SELECT hotswap.approve(:'two') \g /dev/null
CALL until(format('EXISTS (SELECT FROM hotswap.approvals WHERE deployment_id = %L AND round = 2)',
	:'two'));
SELECT is((SELECT reason FROM hotswap.approvals WHERE deployment_id = :'two' AND round = 1),
	'what will run is not what the approval is about: it would run the deploy script of version '
	'"1", which was not part of it', 'a node that runs less needs another one');
SELECT hotswap.approve(:'two') \g /dev/null
CALL ended(:'two') \gset
SELECT is(:'said' || ' ' || pg_temp.runs('p3'), 'succeeded a=2 b=1 g=2', 'approved');
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null

-- Nodes that fail may stay behind, and are retried alone; the others are left alone.
SELECT hotswap.configure_environment('production', max_failed => '1') \g /dev/null
CREATE TABLE broken (node text);
GRANT SELECT ON broken TO PUBLIC;
INSERT INTO broken VALUES ('p2');
SELECT pg_temp.publish('b', '2', 'DO $do$ BEGIN IF EXISTS (SELECT FROM public.broken
	WHERE node = current_schema) THEN RAISE ''broken''; END IF; END $do$'),
	pg_temp.publish('g', '3', parents => '{2}') \g /dev/null
SELECT hotswap.publish_release('three', '{a=2,b=2,g=3}') \g /dev/null
SELECT hotswap.deploy_release('three', 'production') AS three \gset
CALL ended(:'three') \gset
SELECT is((SELECT status || ' ' || nodes_behind FROM hotswap.deployments WHERE id = :'three'),
	'succeeded 1', 'one stays behind');
SELECT is(pg_temp.runs('p2'), 'a=2 b=1 c=1 g=2', 'with all modules');
SELECT matches((SELECT to_jsonb(h)::text FROM hotswap.health() h WHERE component = 'nodes'),
	'three', 'health() knows');
DELETE FROM broken;
SELECT hotswap.retry(:'three') \g /dev/null
CALL ended(:'three') \gset
SELECT is((SELECT status || ' ' || nodes_behind FROM hotswap.deployments WHERE id = :'three'),
	'succeeded 0', 'it comes on');
SELECT is(pg_temp.runs('p2'), 'a=2 b=2 c=1 g=3', 'with all modules');
SELECT hotswap.configure_environment('production', max_failed => '0') \g /dev/null

-- A rollback that fails on a node is loud. The failing node waits until the other one has it all.
SELECT pg_temp.publish('a', '3', 'SET LOCAL lock_timeout = 0;
	SELECT CASE current_schema WHEN ''p3'' THEN pg_advisory_xact_lock_shared(11) END',
	verify => 'SELECT current_schema <> ''p3'''),
	pg_temp.publish('a', '4'), pg_temp.publish('z', '1'), pg_temp.publish('z', '2',
	'SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock_shared(11)'),
	pg_temp.publish('g', '4', parents => '{3}', revert => 'DO $do$ BEGIN IF EXISTS (SELECT FROM
	public.broken WHERE node = current_schema) THEN RAISE ''stuck''; END IF; END $do$'),
	pg_temp.publish('g', '5', parents => '{4}') \g /dev/null
SELECT hotswap.publish_release(name, modules) FROM (VALUES ('four', '{a=3,g=4}'::text[]),
	('part', '{g=4,z=1}'), ('hold', '{g=4,z=2}'), ('whole', '{a=4,g=5}')) r (name, modules)
	\g /dev/null
INSERT INTO broken VALUES ('p1');
SELECT pg_advisory_lock(11) \g /dev/null
SELECT hotswap.deploy_release('four', 'production') AS four \gset
CALL until('pg_temp.runs(''p1'') = ''a=3 b=2 c=1 g=4'' AND pg_temp.runs(''p2'') LIKE ''a=3%''');
SELECT pg_advisory_unlock(11) \g /dev/null
CALL ended(:'four') \gset
SELECT results_eq(format($$SELECT status::text, message, rollback_message
	FROM hotswap.deployments WHERE id = %L$$, :'four'),
	$$VALUES ('rollback_failed', 'verification returned false', 'stuck')$$, 'it says both');
SELECT results_eq($$SELECT pg_temp.runs(n) FROM unnest('{p1,p2,p3}'::text[]) n$$,
	$$VALUES ('a=3 b=2 c=1 g=4'), ('a=2 b=2 c=1 g=3'), ('a=2 b=2 g=3')$$,
	'the node that could not go back has all of it still');

-- What has a part of its modules puts nothing right; what has all of them does.
SELECT hotswap.deploy_release('part', 'production') AS part \gset
CALL ended(:'part') \gset
SELECT is((SELECT put_right_by FROM hotswap.deployments WHERE id = :'four'), NULL,
	'a release with one of its modules');
SELECT pg_advisory_lock(11) \g /dev/null
SELECT hotswap.deploy_release('hold', 'production') AS hold \gset
CALL until('at_gate(11)');
SELECT throws_ok(format('SELECT hotswap.retry(%L)', :'four'), '55000',
	'cannot resume the rollback while another deployment of a module of release "four" is running',
	'it is not resumed beside one');
SELECT pg_advisory_unlock(11) \g /dev/null
CALL ended(:'hold') \gset
SELECT hotswap.deploy('g', '5', 'production', nodes => '{p1}') AS five \gset
CALL ended(:'five') \gset
SELECT hotswap.retry(:'four') \g /dev/null
CALL ended(:'four') \gset
SELECT is((SELECT rollback_message FROM hotswap.deployments WHERE id = :'four'),
	format('release "four" cannot be reverted: node "p1" runs what deployment "%s" has brought '
	'since', :'five'), 'nor over what has come since');
SELECT hotswap.deploy_release('whole', 'production') AS whole \gset
CALL ended(:'whole') \gset
SELECT is((SELECT put_right_by FROM hotswap.deployments WHERE id = :'four'), :'whole'::uuid,
	'a release with all of them');

-- cancel() breaks off what runs, and what has run goes back.
SELECT pg_temp.publish('z', '3', 'SELECT CASE current_schema WHEN ''p3'' THEN
	pg_advisory_xact_lock_shared(11) END'), pg_temp.publish('a', '5') \g /dev/null
SELECT hotswap.publish_release('five', '{a=5,z=3}') \g /dev/null
SELECT pg_advisory_lock(11) \g /dev/null
SELECT hotswap.deploy_release('five', 'production') AS five \gset
CALL until('at_gate(11) AND pg_temp.runs(''p1'') LIKE ''%z=3''');
SELECT hotswap.cancel(:'five', 'not now') \g /dev/null
CALL ended(:'five') \gset
SELECT is(:'said'::text, 'cancelled: not now', 'cancelled');
SELECT results_eq($$SELECT pg_temp.runs(n) FROM unnest('{p1,p2,p3}'::text[]) n$$,
	$$VALUES ('a=4 b=2 c=1 g=5 z=2'), ('a=4 b=2 c=1 g=5 z=2'), ('a=4 b=2 g=5 z=2')$$,
	'all run what they ran');
SELECT pg_advisory_unlock_all() \g /dev/null

-- While it is under way, what its nodes would go back to stays.
SELECT hotswap.publish_release('six', '{a=5,b=1}') \g /dev/null
SELECT hotswap.deploy_release('six', 'production', run_at => now() + '1 h') AS six \gset
SELECT throws_ok($$SELECT hotswap.withdraw_version('a', '5', 'x')$$, '55000', NULL,
	'a version of a release stays');
SELECT is(hotswap.cancel(:'six', 'x')::text, 'cancelled', 'before it has started');
SELECT * FROM finish();
