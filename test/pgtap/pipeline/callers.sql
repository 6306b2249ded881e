-- A canary by callers: on all nodes a share of the callers of a routed module gets the version,
-- and then more (src/pipeline/waves.c); blue_green of routed modules, which are installed before
-- they are called (src/run/record.c).
SELECT plan(33);
\ir ../include/routed.sql
SELECT routed_node('acme') AS node \gset
SELECT hotswap.configure_module('billing', routed => true) \g /dev/null
SELECT publish_tax(n) FROM generate_series(1, 9) n \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'canary'),
	hotswap.configure_rollout('development', canary_by => 'callers', bake => '0') \g /dev/null
CREATE FUNCTION shares() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(version || ' ' || share, ', ' ORDER BY version) FROM hotswap.routes
	WHERE share > 0
$$;
CREATE FUNCTION shares_given(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(detail ->> 'share', ' ' ORDER BY seq) FROM hotswap.audit_log
	WHERE subject_id = d AND event = 'rollout.share'
$$;

-- The setting.
SELECT is((SELECT canary_by::text FROM hotswap.environments WHERE name = 'development'), 'callers',
	'it is set');
SELECT throws_ok($$SELECT hotswap.configure_rollout('development', canary_by => 'chance')$$,
	'22023', NULL, 'to something that there is');

-- A first version is for everybody: there is nothing else to be called.
CALL swap('1') \gset
SELECT is(:'said'::text, 'succeeded', 'a first version');
SELECT is(shares(), '1 10000', 'is for all');

-- Step by step.
CALL swap('2') \gset
SELECT is(:'said'::text, 'succeeded', 'a canary');
SELECT is(shares_given(:'d'), '3000 5000 7000 9000 10000', 'has ever more of the callers');
SELECT is((SELECT string_agg(share::text, ' ' ORDER BY epoch) FROM hotswap.route
	WHERE deployment_id = :'d'), '1000 3000 5000 7000 9000 10000', 'a row each');
SELECT is(shares(), '2 10000', 'and in the end all of them');
SELECT results_eq(format('SELECT wave, waves, nodes, share FROM hotswap.rollouts
	WHERE deployment_id = %L', :'d'), 'VALUES (6, 6, 1, 10000)', 'its progress');

-- In a bake.
SELECT hotswap.configure_rollout('development', bake => '1 h', first_wave => '25%',
	wave_step => '5000') \g /dev/null
SELECT hotswap.deploy('billing', '3', 'development') AS d \gset
CALL until(format('(SELECT bake_until IS NOT NULL FROM hotswap.rollouts
	WHERE deployment_id = %L)', :'d'));
SELECT is(shares(), '2 7500, 3 2500', 'in a bake callers have two versions');
SELECT matches((SELECT detail FROM hotswap.explain(:'d') WHERE reason = 'a wave bakes'),
	'^Wave 1 of 3 is swapped, for 2500 of 10000 callers; its bake ends at', 'explain() says so');
SELECT throws_ok($$SELECT hotswap.set_route('billing', '1', 5)$$, '55006',
	'a deployment decides which callers of module "billing" get version "3"',
	'nobody else decides it');
SELECT throws_ok($$SELECT hotswap.unroute('billing')$$, '55000', NULL, 'nor does unroute()');
SELECT hotswap.promote(:'d', 'it is good') \g /dev/null
CALL until('shares() = ''2 2500, 3 7500''');
SELECT is(shares(), '2 2500, 3 7500', 'the next wave is a share');

-- Taken back, by one row.
SELECT max(epoch) AS before FROM hotswap.route \gset
SELECT hotswap.cancel(:'d', 'it is slow') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'cancelled in a bake');
SELECT is(shares(), '2 10000', 'the share is taken back');
SELECT is((SELECT count(*)::int FROM hotswap.route WHERE epoch > :before), 1, 'by one row');
SELECT is(acme.tax(5), 10, 'callers have what they had');
SELECT is((SELECT version FROM hotswap.nodes WHERE id = :'node'), '2', 'the node says so');
SELECT hotswap.configure_rollout('development', bake => '0') \g /dev/null
SELECT hotswap.publish_version('billing', 'bad', 'CREATE OR REPLACE FUNCTION tax(n int DEFAULT 3)
	RETURNS int LANGUAGE plpgsql AS ''BEGIN RETURN 0; END''', 'SELECT 1 / tax(1)') \g /dev/null
CALL swap('bad') \gset
SELECT matches(:'said'::text, 'division by zero', 'one whose verify script fails');
SELECT is(shares(), '2 10000', 'gets no caller');

-- What has no callers that could be divided goes by nodes.
SELECT hotswap.publish_version('direct', '1', 'SELECT 1') \g /dev/null
CALL swap('1', module => 'direct') \gset
SELECT is((SELECT count(*)::int FROM hotswap.rollouts WHERE deployment_id = :'d'), 0,
	'a module that is called directly, on one node');
SELECT routed_node('beta') AS beta \gset
CALL swap('4') \gset
SELECT is((SELECT string_agg(share::text, ' ' ORDER BY epoch) FROM hotswap.route
	WHERE deployment_id = :'d' AND node_id = :'beta'), '10000', 'a node that has nothing yet');
CALL swap('5') \gset
SELECT is((SELECT string_agg(share::text, ' ' ORDER BY epoch) FROM hotswap.route
	WHERE deployment_id = :'d' AND node_id = :'beta'), '2500 7500 10000',
	'afterwards its callers are divided as well');
SELECT results_eq(format('SELECT wave, waves, nodes, percent FROM hotswap.rollouts
	WHERE deployment_id = %L', :'d'), 'VALUES (3, 3, 2, 100)', 'on both nodes');
SELECT hotswap.configure_rollout('development', canary_by => 'nodes') \g /dev/null
CALL swap('6') \gset
SELECT is((SELECT count(DISTINCT share)::int FROM hotswap.route WHERE deployment_id = :'d'), 1,
	'by nodes');

-- blue_green: it is installed everywhere before anybody is sent to it.
SELECT hotswap.configure_environment('development', strategy => 'blue_green'),
	hotswap.configure_rollout('development', bake => '1 h'),
	hotswap.grant_access(current_user::regrole, 'tester') \g /dev/null
SELECT pg_advisory_lock(815);
SELECT hotswap.publish_version('billing', '10', 'SELECT pg_advisory_xact_lock_shared(815)
	WHERE current_setting(''search_path'') ~ ''beta'';
	CREATE OR REPLACE FUNCTION tax(n int DEFAULT 3) RETURNS int LANGUAGE plpgsql
		AS ''BEGIN RETURN n * 10; END''') \g /dev/null
SELECT hotswap.deploy('billing', '10', 'development') AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.tasks WHERE deployment_id = %L
	AND kind = ''prepare'' AND status = ''succeeded'')', :'d'));
SELECT is((SELECT share FROM hotswap.routes WHERE version = '10' AND node = 'acme'), 0,
	'it is installed on a node');
SELECT is(as_role(current_user, 'SELECT acme.tax(5)', '-chotswap.route=billing=10'), '50',
	'testers can call it');
SELECT is(acme.tax(5), 30, 'callers do not yet');
SELECT pg_advisory_unlock(815);
CALL until(format('(SELECT bake_until IS NOT NULL FROM hotswap.rollouts
	WHERE deployment_id = %L)', :'d'));
SELECT is(acme.tax(5) + beta.tax(5), 100, 'then all are switched');
SELECT is((SELECT string_agg(DISTINCT slot, ' ' ORDER BY slot) FROM hotswap.routes
	WHERE version = '10'), (SELECT string_agg(DISTINCT slot, ' ' ORDER BY slot)
	FROM hotswap.route WHERE deployment_id = :'d'), 'to what was installed');
SELECT is((SELECT count(*)::int FROM hotswap.routes WHERE version = '6'), 2,
	'what was before stays');
SELECT hotswap.cancel(:'d', 'no') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s')::text || acme.tax(5), 'cancelled30', 'to go back to');

SELECT * FROM finish();
