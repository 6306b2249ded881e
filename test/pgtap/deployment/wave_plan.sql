-- In which waves nodes are taken: order_by and max_parallel, and that preview() says what then
-- happens (src/deployment/wave_plan.c).
SELECT plan(34);

SELECT format('CREATE SCHEMA n%s', i) FROM generate_series(1, 20) i \gexec
SELECT hotswap.register_node('development', 'n' || lpad(i::text, 2, '0'), schema => 'n' || i,
	labels => CASE WHEN i <= 6 THEN jsonb_build_object('ring', (7 - i) * 5, 'zone', i % 2) END)
	FROM generate_series(1, 6) i \g /dev/null
SELECT hotswap.publish_version('m', v::text, 'SELECT ' || v, revert_sql => 'SELECT 1')
	FROM generate_series(1, 30) v \g /dev/null
SELECT hotswap.configure_rollout('development', bake => '0 s') \g /dev/null
CREATE FUNCTION said(version text, environment text = 'development') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT concat_ws(' ', strategy, wave_sizes, bakes), ', ')
	FROM hotswap.preview('m', version, environment, only_target => true)
	WHERE goes_to = environment $$;
CREATE FUNCTION happened(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', (SELECT strategy FROM hotswap.rollouts r WHERE deployment_id = d),
		(SELECT array_agg(n ORDER BY wave) FROM (SELECT wave, count(*)::integer AS n
			FROM hotswap.tasks WHERE deployment_id = d AND kind = 'swap' GROUP BY wave) w)) $$;
CREATE TABLE foretold (version text, node text, wave integer);

-- foretell(VERSION): what preview() says, and then it happens.
CREATE PROCEDURE foretell(version text, INOUT said text, INOUT happened text, INOUT same boolean,
		nodes text[] = NULL) LANGUAGE plpgsql AS $$
DECLARE
	d uuid;
BEGIN
	said := said(foretell.version);
	INSERT INTO foretold SELECT DISTINCT foretell.version, node, wave
	FROM hotswap.preview('m', foretell.version, 'development');
	d := hotswap.deploy('m', foretell.version, 'development');
	COMMIT;
	CALL until(format('status_of(%L) = %L', d, 'succeeded'));
	happened := happened(d);
	same := NOT EXISTS (SELECT FROM hotswap.tasks t JOIN foretold f ON f.version = foretell.version
		AND f.node = t.node AND f.wave IS NOT NULL AND f.wave <> t.wave
		WHERE t.deployment_id = d AND t.kind = 'swap');
END $$;

-- Each strategy: what is said is what happens.
CALL foretell('1', NULL, NULL, NULL) \gset
SELECT is(:'said'::text, 'direct {6} {00:00:00}', 'auto, where nobody measures');
SELECT is(:'happened'::text, '{6}', 'is direct');
SELECT hotswap.configure_environment('development', strategy => 'rolling') \g /dev/null
CALL foretell('2', NULL, NULL, NULL) \gset
SELECT is(:'said'::text, 'rolling {2,2,2} {00:00:00,00:00:00,00:00:00}', 'rolling');
SELECT is(:'happened'::text, 'rolling {2,2,2}', 'happens so');
SELECT ok(:'same', 'with each node in the wave that was said');
SELECT results_eq($$SELECT node, wave FROM foretold WHERE version = '2' ORDER BY node$$,
	$$VALUES ('n01', 1), ('n02', 1), ('n03', 2), ('n04', 2), ('n05', 3), ('n06', 3)$$, 'by name');
SELECT hotswap.configure_environment('development', strategy => 'blue_green') \g /dev/null
CALL foretell('3', NULL, NULL, NULL) \gset
SELECT is(:'said'::text, 'blue_green {6} {00:00:00}', 'blue_green');
SELECT is(:'happened'::text, 'blue_green {6}', 'happens so');
SELECT hotswap.configure_environment('development', strategy => 'canary') \g /dev/null
CALL foretell('4', NULL, NULL, NULL) \gset
SELECT is(:'said'::text, 'canary {1,2,2,1} {00:00:00,00:00:00,00:00:00,00:00:00}', 'canary');
SELECT is(:'happened'::text, 'canary {1,2,2,1}', 'happens so');
SELECT is((SELECT count(wave) FROM foretold WHERE version = '4'), 0::bigint,
	'by chance: nobody knows which nodes are first');
SELECT hotswap.configure_rollout('development', bake => '10 min', first_bake => '1 h',
	bake_last => false) \g /dev/null
SELECT is(said('5'), 'canary {1,2,2,1} {01:00:00,00:10:00,00:10:00,00:00:00}',
	'how long it waits after each wave');
SELECT hotswap.configure_rollout('development', first_bake => '0 s', bake => '0 s') \g /dev/null
SELECT results_eq($$SELECT strategy, wave, wave_sizes, bakes, problem IS NULL
	FROM hotswap.preview('m', '4', 'development')$$,
	$$SELECT NULL::text, NULL::integer, NULL::integer[], NULL::interval[], false
	FROM generate_series(1, 6)$$, 'nodes without steps have none');
SELECT hotswap.publish_version('outside', '1', 'VACUUM', transactional => false) \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'blue_green') \g /dev/null
SELECT is((SELECT DISTINCT strategy FROM hotswap.preview('outside', '1', 'development')), 'rolling',
	'what cannot be tried before is rolled');
SELECT hotswap.configure_environment('development', strategy => 'canary') \g /dev/null
SELECT is((SELECT DISTINCT strategy FROM hotswap.preview('m', '5', 'development',
	nodes => '{n01}')), 'direct', 'a single node');

-- By labels: numbers as numbers, those without a label last.
SELECT hotswap.register_node('development', 'n00', schema => 'n7', labels => '{"zone": "x"}')
	\g /dev/null
SELECT hotswap.configure_rollout('development', order_by => '{ring}', first_wave => '2',
	wave_step => '2') \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'rolling') \g /dev/null
CALL foretell('6', NULL, NULL, NULL) \gset
SELECT is(:'happened'::text, 'rolling {2,2,2,1}', 'by a label');
SELECT ok(:'same', 'as was said');
SELECT results_eq($$SELECT node, wave FROM foretold WHERE version = '6' ORDER BY wave, node$$,
	$$VALUES ('n05', 1), ('n06', 1), ('n03', 2), ('n04', 2), ('n01', 3), ('n02', 3), ('n00', 4)$$,
	'5 before 10, and last who has none');
SELECT hotswap.configure_rollout('development', order_by => '{zone,ring}') \g /dev/null
CALL foretell('7', NULL, NULL, NULL) \gset
SELECT ok(:'same', 'by two labels');
SELECT results_eq($$SELECT node, wave FROM foretold WHERE version = '7' ORDER BY wave, node$$,
	$$VALUES ('n04', 1), ('n06', 1), ('n02', 2), ('n05', 2), ('n01', 3), ('n03', 3), ('n00', 4)$$,
	'the second one within the first');
SELECT hotswap.configure_environment('development', strategy => 'canary') \g /dev/null
SELECT hotswap.configure_rollout('development', order_by => '{zone}', first_wave => '3',
	wave_step => '3') \g /dev/null
SELECT hotswap.deploy('m', '8', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a canary');
SELECT results_eq(format($$SELECT wave, array_agg(node ORDER BY node) FROM hotswap.tasks
	WHERE deployment_id = %L AND kind = 'swap' GROUP BY wave ORDER BY wave$$, :'d'),
	$$VALUES (1, '{n02,n04,n06}'::text[]), (2, '{n01,n03,n05}'), (3, '{n00}')$$,
	'is by chance only among nodes with the same label');
SELECT hotswap.configure_rollout('development', order_by => '{}') \g /dev/null

-- So many at a time: scripts wait where the test holds a lock.
SELECT hotswap.configure_environment('development', strategy => 'rolling') \g /dev/null
SELECT hotswap.configure_rollout('development', first_wave => '100%', max_parallel => 2)
	\g /dev/null
SELECT hotswap.publish_version('slow', v, 'SELECT pg_advisory_xact_lock_shared(5), ' || v,
	revert_sql => 'SELECT 1') FROM unnest('{1,2}'::text[]) v \g /dev/null
CREATE FUNCTION running(d uuid) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM hotswap.tasks WHERE deployment_id = d
		AND status IN ('ready', 'running', 'retry_wait') $$;
SELECT pg_advisory_lock(5) \g /dev/null
SELECT hotswap.deploy('slow', '1', 'development') AS d \gset
CALL until(format('running(%L) = 2', :'d'));
CALL until('(SELECT count(*) = 2 FROM pg_locks WHERE locktype = ''advisory'' AND objid = 5
	AND NOT granted AND database = (SELECT oid FROM pg_database
		WHERE datname = current_database()))');
SELECT is(running(:'d'), 2::bigint, 'two at a time');
SELECT is((SELECT count(*) FROM hotswap.tasks WHERE deployment_id = :'d' AND status = 'pending'),
	5::bigint, 'the others wait');
SELECT is((SELECT concat_ws('/', nodes_done, nodes_total) FROM hotswap.deployments WHERE id = :'d'),
	'0/7', 'deployments says how many are done');
SELECT pg_advisory_unlock(5) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'all come in the end');
SELECT is((SELECT concat_ws('/', nodes_done, nodes_total) FROM hotswap.deployments WHERE id = :'d'),
	'7/7', 'all of them');
CREATE FUNCTION at_once(d uuid) RETURNS bigint LANGUAGE sql AS $$
	SELECT max(n) FROM (SELECT (SELECT count(*) FROM hotswap.tasks o WHERE o.deployment_id = d
		AND o.kind = 'swap' AND o.started_at <= t.started_at AND o.finished_at > t.started_at) AS n
	FROM hotswap.tasks t WHERE t.deployment_id = d AND t.kind = 'swap') x $$;
SELECT ok(at_once(:'d') <= 2, 'and never more than two');
SELECT hotswap.configure_environment('development', strategy => 'direct') \g /dev/null
SELECT is((SELECT DISTINCT concat(strategy, wave_sizes) FROM hotswap.preview('slow', '2',
	'development')), 'direct{7}', 'direct has one wave');
SELECT hotswap.deploy('slow', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'of direct, too');
SELECT ok(at_once(:'d') <= 2, 'no more than two are at work');

-- Of a stage with many nodes.
SELECT hotswap.register_node('qa', 'q' || i, schema => 'n' || i) FROM generate_series(8, 20) i
	\g /dev/null
SELECT format('CREATE SCHEMA q%s', i) FROM generate_series(21, 40) i \gexec
SELECT hotswap.register_node('qa', 'q' || i, schema => 'q' || i) FROM generate_series(21, 40) i
	\g /dev/null
SELECT hotswap.configure_environment('qa', strategy => 'rolling', may_skip_environments => true),
	hotswap.configure_rollout('qa', first_wave => '20', wave_step => '20', bake => '0 s',
		max_parallel => 3) \g /dev/null
SELECT hotswap.deploy('m', '9', 'qa', only_target => true) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', '33 nodes, three at a time');
SELECT is(happened(:'d'), 'rolling {20,13}', 'in two waves');
SELECT ok(at_once(:'d') <= 3, 'never more than three');

SELECT * FROM finish();
