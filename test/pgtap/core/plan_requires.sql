-- What versions ask of the other modules of a node: on the way up and on the way down
-- (src/core/plan_requires.c).
SELECT plan(41);
\ir ../include/graph.sql
SELECT logging_node('development', 'd') \g /dev/null

CREATE FUNCTION publish(module text, version text, parents text[], requires text[] DEFAULT NULL,
		revert boolean DEFAULT true, install text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT hotswap.publish_version(module, version, 'SELECT ' || quote_literal(version),
		requires => requires,
		revert_sql => CASE WHEN revert THEN 'SELECT 1' END, parents => parents,
		install_sql => install)
$$;
-- What keeps a version from the node; NULL: nothing.
CREATE FUNCTION problem(module text, version text, back boolean DEFAULT false) RETURNS text
		LANGUAGE sql AS $$
	SELECT string_agg(problem, '; ') FROM hotswap.preview(module, version, 'development',
		allow_revert => back)
$$;
CREATE PROCEDURE go(module text, version text, INOUT said text DEFAULT NULL, INOUT d uuid
		DEFAULT NULL, back boolean DEFAULT false) LANGUAGE plpgsql AS $$
BEGIN
	d = hotswap.deploy(module, version, 'development', allow_revert => back);
	COMMIT;
	PERFORM hotswap.wait(d, '60 s');
	COMMIT;
	SELECT concat_ws(': ', status, message) INTO said FROM hotswap.deployment WHERE id = go.d;
END $$;
CREATE FUNCTION refused(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT code || ' ' || detail FROM refusal(format('SELECT hotswap.rollback(%L, ''x'')', d))
$$;

SELECT publish('auth', '1', '{}'), publish('auth', '2', '{1}'), publish('auth', '3', '{2}'),
	publish('shop', '1', '{}', '{auth}'), publish('shop', '2', '{1}', '{auth >= 2}'),
	publish('shop', '3', '{2}', '{auth >= spring}') \g /dev/null

-- Something of a module.
SELECT is(problem('shop', '1'), 'blocked: node "d" does not run module "auth", which version "1" '
	'of module "shop" requires', 'preview() says what is missing');
CALL go('shop', '1') \gset
SELECT is(:'said'::text, 'failed: version "1" cannot go to environment "development": node "d" '
	'does not run module "auth", which version "1" of module "shop" requires. Deploy module "auth" '
	'first.', 'and the deployment fails before anything ran');
SELECT is_empty($$SELECT FROM hotswap.node_module$$, 'nothing ran');
CALL go('auth', '1') \gset
CALL go('shop', '1') \gset
SELECT is(:'said'::text, 'succeeded', 'it is there now');

-- A version, or what builds on it.
SELECT is(problem('shop', '2'), 'blocked: node "d" does not run version "2" of module "auth", '
	'which version "2" of module "shop" requires', 'an older one is not enough');
CALL go('auth', '3') \gset
\set auth3 :d
CALL go('shop', '2') \gset
\set shop2 :d
SELECT is(:'said'::text, 'succeeded', 'one that builds on it is');
SELECT is(problem('shop', '3'), 'blocked: node "d" does not run version "spring" of module "auth", '
	'which version "3" of module "shop" requires', 'one that is not published');
SELECT hotswap.tag_version('auth', 'spring', '3') \g /dev/null
SELECT is(problem('shop', '3'), NULL, 'a tag is as good as a version');

-- Down: what others ask for stays.
SELECT is(refused(:'auth3'), '55000 There is no way: on node "d" version "2" of module "shop" '
	'requires version "2" of module "auth".', 'rollback() is refused');
SELECT is(problem('auth', '1', true), 'blocked: on node "d" version "2" of module "shop" requires '
	'version "2" of module "auth"', 'so is allow_revert');
CALL go('auth', '1', back => true) \gset
SELECT is(:'said'::text, 'failed: version "1" cannot go to environment "development": on node "d" '
	'version "2" of module "shop" requires version "2" of module "auth". Take it back first.',
	'when it is deployed');
SELECT is(problem('auth', '2', true), NULL, 'back to what is asked for');
SELECT hotswap.rollback(:'shop2', 'x') AS r \gset
CALL ended(:'r') \gset
SELECT is(:'said'::text, 'succeeded', 'the dependent goes back');
SELECT is(problem('auth', '1', true), NULL, 'then it may go');
SELECT hotswap.rollback(:'auth3', 'x') AS r \gset
CALL ended(:'r') \gset
SELECT is(:'said'::text, 'succeeded', 'and goes');
SELECT is(problem('shop', '3'), 'blocked: node "d" would run version "2", which is held: '
	|| (SELECT held_by || ' rolled it back at ' || held_at FROM hotswap.held_versions
		WHERE module = 'shop') || ': x', 'what was taken back is held all the same');
SELECT hotswap.release_version('development', 'shop', '2', 'x'),
	hotswap.release_version('development', 'auth', v, 'x') FROM unnest('{2,3}'::text[]) v
	LIMIT 1 \g /dev/null

-- Complete versions: that one, or one that was published after it.
SELECT publish('schema', v, NULL, NULL, false) FROM unnest('{a,c,b}'::text[]) v \g /dev/null
SELECT publish('report', '1', NULL, '{schema >= c}'), publish('report', '2', NULL,
	'{schema >= z}'), publish('report', '3', NULL, NULL, false) \g /dev/null
SELECT matches(problem('report', '1'), 'does not run version "c" of module "schema", which version '
	'"1" of module "report" requires', 'nothing of it');
CALL go('schema', 'a') \gset
SELECT matches(problem('report', '1'), 'does not run version "c"', 'an earlier one');
CALL go('schema', 'b') \gset
SELECT is(problem('report', '1'), NULL, 'a later one');
SELECT hotswap.publish_version('schema', 'd', 'SELECT ''b''') \g /dev/null
SELECT publish('report', '4', NULL, '{schema >= d}') \g /dev/null
SELECT is(problem('report', '4'), NULL, 'or one with the same content');
SELECT matches(problem('report', '2'), 'does not run version "z" of', 'one that is not there');
CALL go('report', '1') \gset
SELECT is(:'said'::text, 'succeeded', 'a complete version that asks for one');
SELECT is(problem('schema', 'a'), 'blocked: on node "d" version "1" of module "report" requires '
	'version "c" of module "schema"', 'an earlier one does not replace it');
SELECT is(problem('schema', 'c'), NULL, 'the one that is asked for does');
CALL go('report', '3') \gset
\set report3 :d
SELECT is(problem('schema', 'a'), NULL, 'when nobody asks any more');
CALL go('schema', 'a') \gset
\set schemaa :d
SELECT is(refused(:'report3'), '55000 There is no way: node "d" does not run version "c" of module '
	'"schema", which version "1" of module "report" requires.',
	'back to a version that misses something now');
SELECT hotswap.rollback(:'schemaa', 'x') AS r \gset
CALL ended(:'r') \gset
SELECT hotswap.rollback(:'report3', 'x') AS r \gset
CALL ended(:'r') \gset
SELECT is(:'said'::text, 'succeeded', 'with it the way is free');

-- What must not be there.
SELECT publish('legacy', '1', '{}'), publish('legacy', '2', '{1}'), publish('legacy', '3', '{2}'),
	publish('new', '1', '{}', '{!legacy}'), publish('new', '2', '{}', '{!legacy >= 2}') \g /dev/null
SELECT is(problem('new', '1'), NULL, 'it is not there');
CALL go('legacy', '1') \gset
\set legacy1 :d
SELECT is(problem('new', '1'), 'blocked: node "d" runs module "legacy", beside which version "1" '
	'of module "new" must not run', 'it is there');
SELECT is(problem('new', '2'), NULL, 'in an older version');
CALL go('new', '1') \gset
SELECT matches(:'said'::text, 'Take it back with hotswap.rollback\(\) first.$', 'a hint');
CALL go('new', '2') \gset
SELECT is(problem('legacy', '3'), 'blocked: on node "d" version "2" of module "new" must not run '
	'beside version "2" of module "legacy"', 'nor may it come later');

-- An installer needs what its version asks for.
SELECT publish('gone', '1', '{}'), publish('gone', '2', '{1}'),
	publish('squashed', '1', '{}', '{gone >= 2}'), publish('squashed', '2', '{1}', '{auth}', true,
	'SELECT 2'), publish('squashed', '3', '{2}', '{gone}', true) \g /dev/null
SELECT is(problem('squashed', '2'), NULL, 'not what those before it asked for');
SELECT matches(problem('squashed', '3'), 'module "gone", which version "3"', 'its steps do');
SELECT publish('third', '1', '{}', '{none}',
	true, 'SELECT 1') \g /dev/null
SELECT matches(problem('third', '1'), 'module "none", which version "1"', 'an installer');

-- The way to the target, and skipping it.
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT logging_node('production', 'p') \g /dev/null
CALL go('squashed', '2') \gset
SELECT results_eq($$SELECT goes_to, problem FROM hotswap.preview('squashed', '2', 'production')$$,
	$$VALUES ('development', (SELECT 'skipped: node "d" already runs version "2" from deployment '
		|| id FROM hotswap.deployment WHERE module = 'squashed' AND status = 'succeeded')),
	('production', 'blocked: node "p" does not run module "auth", which version "2" of module '
	'"squashed" requires')$$, 'each node is asked for itself');
SELECT hotswap.deploy('squashed', '2', 'production', require_approval => '{production}') AS d \gset
SELECT is((SELECT steps -> 0 ->> 'version' FROM hotswap.approval WHERE deployment_id = :'d'), '2',
	'an approval is about what will run when it is there');
SELECT hotswap.cancel(:'d', 'x') \g /dev/null
SELECT throws_ok($$SELECT hotswap.deploy('third', '1', 'production', only_target => true)$$,
	'55000', 'environment "development" must not be skipped on the way to "production"',
	'who lacks something has not been passed');

-- What was not met before is not the fault of what comes now.
SELECT is(problem('gone', '1'), NULL, 'it lacked this already');
CALL go('gone', '2') \gset
SELECT matches(problem('gone', '1', true), 'version "1" of module "squashed" requires version "2" '
	'of module "gone"', 'now it has it');

-- What the module's row remembers.
SELECT results_eq($$SELECT name, requires FROM hotswap.module WHERE requires IS NOT NULL
	AND name IN ('new', 'report', 'squashed', 'legacy') ORDER BY name$$, $$VALUES
	('new', '{legacy}'::text[]), ('report', '{schema}'), ('squashed', '{auth,gone}')$$,
	'whom its versions ask for');
SELECT * FROM finish();
