-- Nodes that stay at a version for a time: pin_node(), unpin_node() (src/environment/pin.c,
-- src/core/plan.c).
SELECT plan(33);
\ir ../include/graph.sql
SELECT logging_node('development', 'a') AS a, logging_node('development', 'b') AS b,
	logging_node('development', 'new') AS new \gset
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}'),
	hotswap.publish_version('c', v, format('INSERT INTO log (what) VALUES (%L)', 'c' || v))
FROM unnest('{1,2}'::text[]) v \g /dev/null
SELECT hotswap.tag_version('m', 'spring', '1') \g /dev/null
CREATE FUNCTION pin(node uuid, more text = '''1'', now() + ''1 day'', ''they said so''',
		module text = 'm') RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT hotswap.pin_node(%L, %L, %s)', node, module, more)
$$;
CREATE FUNCTION running() RETURNS text LANGUAGE sql AS
	$$SELECT concat_ws(' ', heads_of('a'), heads_of('b'), heads_of('new'))$$;
CREATE PROCEDURE deploy_at(version text, nodes text[], module text = 'm', INOUT said text = NULL)
	LANGUAGE plpgsql AS $$
DECLARE
	d uuid = hotswap.deploy(module, version, 'development', nodes => nodes);
BEGIN
	CALL ended(d, said);
END $$;
SELECT throws_ok(pin(:'a'), '55000', 'node "a" does not run version "1" of module "m"',
	'a node is pinned to what it runs');
SELECT is((refusal(pin(:'a'))).detail, 'It runs nothing of the module.', 'as it says');
CALL deploy_at('1', '{a,b}') \gset

-- Deployments leave it out.
SELECT lives_ok(pin(:'a', '''spring'', now() + ''1 day'', ''they said so'''), 'pinned, by a tag');
SELECT results_eq('SELECT node_id, environment, node, module, version, reason, pinned_by,
	until > now() + ''23 h'' FROM hotswap.node_pins', format($$VALUES (%L::uuid, 'development', 'a',
	'm', '1', 'they said so', session_user::text COLLATE "default", true)$$, :'a'),
	'the view says so');
SELECT results_eq($$SELECT detail ->> 'name', detail ->> 'module', detail ->> 'version', reason,
	detail ? 'until' FROM hotswap.audit_log WHERE event = 'pin_node'$$,
	$$VALUES ('a', 'm', '1', 'they said so', true)$$, 'so does the audit log');
SELECT matches((SELECT problem FROM hotswap.preview('m', '2', 'development') WHERE node = 'a'),
	'^skipped: node "a" is pinned to version "1" of module "m" by .* until .*: they said so$',
	'preview() as well');
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || running(), 'succeeded 1 2', 'the others get what is deployed');
SELECT matches((SELECT message FROM hotswap.tasks WHERE deployment_id = :'d' AND node = 'a'),
	'^node "a" is pinned', 'its task says why it does not');
SELECT hotswap.deploy('m', '3', 'development', rehearse => true) AS r \gset
CALL ended(:'r') \gset
SELECT is((SELECT string_agg(DISTINCT node, ' ') FROM hotswap.rehearsals), 'b',
	'nothing is rehearsed on it');

-- Who names it has to know.
CALL deploy_at('3', '{a,b}') \gset
SELECT matches(:'said'::text, '^failed: .*node "a" is pinned', 'named, it is an error');
SELECT is(running(), '1 2', 'before anything has run');
SELECT is((SELECT count(*)::int FROM unnest(hotswap.bring_up(:'a'))), 0,
	'it is not brought up either');
SELECT is((SELECT count(*)::int FROM unnest(hotswap.bring_up(:'new'))), 1, 'others are');
CALL until('running() = ''1 2 2''');

-- Another module, and a release with both.
SELECT hotswap.deploy('c', '1', 'development') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || log_of('a'), 'succeeded 1 c1', 'other modules come');
SELECT hotswap.publish_release('r', '{c=2,m=3}') \g /dev/null
SELECT hotswap.deploy_release('r', 'development') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || running() || ' ' || log_of('a'), 'succeeded 1 3 3 1 c1',
	'a release leaves it out with all modules');
SELECT hotswap.pin_node(:'b', 'c', '2', now() + '1 day', 'x') \g /dev/null
SELECT hotswap.deploy('c', '1', 'development') AS d \gset
CALL ended(:'d') \gset
SELECT is((SELECT string_agg(name || version, ' ' ORDER BY name) FROM hotswap.nodes
	WHERE module = 'c'), 'a1 b2 new1', 'complete versions are the same');

-- People go back, whatever is pinned.
SELECT id AS second FROM hotswap.deployments WHERE release = 'r' \gset
SELECT throws_ok(format($$SELECT hotswap.rollback(%L, 'x')$$, :'second'), '55000', NULL,
	'others have been on top');
SELECT hotswap.pin_node(:'new', 'm', '3', now() + '1 day', 'x') \g /dev/null
SELECT hotswap.set_node_version(:'new', 'm', '{2}', 'it was not so') AS s \gset
CALL ended(:'s') \gset
SELECT is(:'said'::text || ' ' || running(), 'succeeded 1 3 2', 'what is declared is declared');

-- Again, its end, and its time.
SELECT lives_ok(pin(:'a', '''1'', now() + ''2 days'', ''longer'''), 'pinned again');
SELECT is((SELECT reason FROM hotswap.node_pins WHERE node = 'a'), 'longer', 'it is the new one');
SELECT lives_ok(format($$SELECT hotswap.unpin_node(%L, 'm', 'enough')$$, :'a'), 'unpinned');
SELECT is((SELECT detail ->> 'version' || reason FROM hotswap.audit_log
	WHERE event = 'unpin_node'), '1enough', 'in the audit log');
CALL deploy_at('3', '{a}') \gset
SELECT is(:'said'::text || ' ' || heads_of('a'), 'succeeded 3', 'the next deployment comes');
UPDATE hotswap.node_pin SET until = now() - interval '1 s' WHERE module = 'c';
SELECT is_empty('SELECT FROM hotswap.node_pins WHERE module = ''c''', 'a time that is over');
CALL deploy_at('1', '{b}', 'c') \gset
SELECT is(:'said'::text, 'succeeded', 'holds nobody');
SELECT throws_ok(format($$SELECT hotswap.unpin_node(%L, 'c', 'x')$$, :'b'), 'P0002',
	'node "b" is not pinned to a version of module "c"', 'nor can it be ended');

-- What is refused.
SELECT throws_ok(pin(gen_random_uuid()), 'P0002', NULL, 'no such node');
SELECT throws_ok(pin(:'a', '''2'', now() + ''1 day'', ''x'''), '55000', NULL, 'what it has left');
SELECT throws_ok(pin(:'a', format('''3'', %s, %s', until, reason)), '22023', NULL,
	until || ', ' || reason)
FROM (VALUES ('now() - interval ''1 s''', '''x'''), ('now() + interval ''2 years''', '''x'''),
	('NULL', '''x'''), ('now() + ''1 day''', 'NULL')) v (until, reason);
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the audit log is whole');
SELECT * FROM finish();
