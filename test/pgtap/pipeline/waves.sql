-- Rollouts: nodes in waves, with bakes between them (src/pipeline/waves.c). What people do to them
-- is in test/pgtap/operations/rollout.sql; the order of steps in test/unit/rollout/rollout.c.
SELECT plan(53);

SELECT format('CREATE SCHEMA n%s', i) FROM generate_series(1, 9) i \gexec
SELECT hotswap.register_node('development', 'n' || i, schema => 'n' || i)
	FROM generate_series(1, 5) i \g /dev/null
CREATE TABLE log (at timestamptz DEFAULT clock_timestamp(), node text, version text);
GRANT ALL ON log TO PUBLIC;
SELECT hotswap.publish_version('m', v::text,
	format('INSERT INTO public.log (node, version) VALUES (current_schema, %L)', v),
	revert_sql => format('INSERT INTO public.log (node, version) VALUES (current_schema, %L)', -v))
	FROM generate_series(1, 12) v \g /dev/null
SELECT hotswap.publish_version('m', 'bad', $$DO 'BEGIN
	INSERT INTO public.log (node, version) VALUES (current_schema, ''bad'');
	IF current_schema = ''n3'' THEN RAISE ''no''; END IF; END'$$,
	revert_sql => $$INSERT INTO public.log (node, version) VALUES (current_schema, '-bad')$$)
	\g /dev/null
CREATE FUNCTION waves(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(nodes, ' ' ORDER BY wave) FROM (SELECT wave,
		string_agg(node, ',' ORDER BY node) AS nodes FROM hotswap.tasks
		WHERE deployment_id = d AND kind = 'swap' GROUP BY wave) w
$$;
CREATE FUNCTION sizes(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(n::text, ' ' ORDER BY wave) FROM (SELECT wave, count(*) AS n
		FROM hotswap.tasks WHERE deployment_id = d AND kind = 'swap' GROUP BY wave) w
$$;
CREATE FUNCTION events(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', split_part(event, '.', 2), detail ->> 'wave',
		detail ->> 'verdict'), ', ' ORDER BY seq)
	FROM hotswap.audit_log WHERE subject_id = d AND event LIKE 'rollout.%'
$$;
CREATE FUNCTION progress(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s of %s waves, %s of %s nodes, %s %%', wave, waves, nodes_done, nodes, percent)
	FROM hotswap.rollouts WHERE deployment_id = d
$$;

-- direct has no rollout.
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'direct');
SELECT is(waves(:'d'), 'n1,n2,n3,n4,n5', 'takes all at once');
SELECT is((SELECT count(*) FROM hotswap.rollouts), 0::bigint, 'and there is nothing to tell of it');

-- rolling takes two at a time, by name.
SELECT hotswap.configure_environment('development', strategy => 'rolling'),
	hotswap.configure_rollout('development', bake => '200 ms') \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'rolling');
SELECT is(waves(:'d'), 'n1,n2 n3,n4 n5', 'takes two at a time, by name');
SELECT is(events(:'d'), 'bake 1, gate 1 not measured, bake 2, gate 2 not measured',
	'and bakes between them, not after the last one');
SELECT is(progress(:'d'), '3 of 3 waves, 5 of 5 nodes, 100 %', 'its progress');
SELECT results_eq($$SELECT min(l.at) - max(b.at) >= '200 ms' FROM log l JOIN log b USING (version)
	WHERE l.version = '2' AND b.node IN ('n1', 'n2') AND l.node IN ('n3', 'n4')$$, 'SELECT true',
	'a wave begins when the bake of the one before is over');

-- canary takes some by chance, then more, and bakes at the end.
SELECT hotswap.register_node('development', 'n' || i, schema => 'n' || i)
	FROM generate_series(6, 9) i \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'canary'),
	hotswap.configure_rollout('development', bake => '10 ms') \g /dev/null
CREATE TABLE firsts (wave text);
CREATE PROCEDURE canaries() LANGUAGE plpgsql AS $$
DECLARE
	d uuid;
BEGIN
	FOR v IN 3..10 LOOP
		d := hotswap.deploy('m', v::text, 'development');
		COMMIT;
		CALL await(d, 'succeeded');
		COMMIT;
		INSERT INTO firsts SELECT split_part(waves(d), ' ', 1);
	END LOOP;
END $$;
CALL canaries();
SELECT id AS d FROM hotswap.deployments WHERE version = '10' \gset
SELECT is(sizes(:'d'), '1 2 2 2 2', 'canary of nine: one, then two at a time');
SELECT is(events(:'d'), 'bake 1, gate 1 not measured, bake 2, gate 2 not measured, '
	'bake 3, gate 3 not measured, bake 4, gate 4 not measured, bake 5, gate 5 not measured',
	'it bakes after the last wave as well');
SELECT cmp_ok((SELECT count(DISTINCT wave) FROM firsts), '>', 2::bigint,
	'each deployment begins with another node');
SELECT is((SELECT count(*) FROM firsts WHERE wave !~ '^n[0-9]$'), 0::bigint, 'a single one');
SELECT is((SELECT count(*) FROM hotswap.deployments WHERE status = 'succeeded'), 10::bigint,
	'all of them have succeeded');

-- Sizes are settings, and a rollout keeps those that it began with.
SELECT hotswap.configure_rollout('development', first_wave => '34%', wave_step => '3',
	first_bake => '1 h', bake => '0', bake_last => false) \g /dev/null
SELECT hotswap.deploy('m', '11', 'development') AS d \gset
CALL until(format('(SELECT bake_until IS NOT NULL FROM hotswap.rollouts WHERE deployment_id = %L)',
	:'d'));
SELECT is(progress(:'d'), '1 of 3 waves, 4 of 9 nodes, 44 %', 'a third of nine is four');
SELECT is((SELECT round(extract(epoch FROM bake_until - max(finished_at))) FROM hotswap.rollouts r
	JOIN hotswap.tasks t USING (deployment_id, stage) WHERE r.deployment_id = :'d'
	GROUP BY bake_until), 3600::numeric, 'the bake counts from the last swap');
SELECT hotswap.configure_rollout('development', wave_step => '1', first_bake => '0') \g /dev/null
SELECT results_eq(format('SELECT reason, unblocked_by FROM hotswap.explain(%L) LIMIT 2', :'d'),
	$$VALUES ('a wave bakes', 'the time, or hotswap.promote()'),
		('a task waits for its wave', 'the end of the wave before it')$$,
	'explain() names the bake');
SELECT matches((SELECT detail FROM hotswap.explain(:'d') LIMIT 1),
	'^Wave 1 of 3 is swapped; its bake ends at 2', 'and its end');
SELECT is(hotswap.promote(:'d', 'enough'), 'running', 'promoted');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it goes on');
SELECT is(sizes(:'d'), '4 3 2', 'in waves of the size that it began with');
SELECT is(events(:'d'), 'bake 1, promote 1, gate 1 not measured, bake 2, gate 2 not measured',
	'without a bake at the end');

-- What has nothing to run does not count.
SELECT hotswap.deploy('m', 'bad', 'development', nodes => '{n1,n2}') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'two nodes run another version');
SELECT hotswap.configure_environment('development', strategy => 'rolling'),
	hotswap.configure_rollout('development', first_wave => '2', wave_step => '2', first_bake => '0')
	\g /dev/null
SELECT hotswap.deploy('m', '11', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'of nine nodes two have something to run');
SELECT is(progress(:'d'), '1 of 1 waves, 2 of 2 nodes, 100 %', 'that is one wave');
SELECT hotswap.deploy('m', 'bad', 'development', nodes => '{n1}') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a single node');
SELECT is((SELECT count(*) FROM hotswap.rollouts WHERE deployment_id = :'d'), 0::bigint,
	'is taken as it is');

-- A failure in the second wave: what was swapped goes back, what was to come is not touched.
TRUNCATE log;
SELECT hotswap.deploy('m', '12', 'development', nodes => '{n1,n2,n3,n4,n5}') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'they run the same');
TRUNCATE log;
SELECT hotswap.deploy('m', 'bad', 'development', nodes => '{n1,n2,n3,n4,n5}') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'a node of the second wave fails');
SELECT is((SELECT string_agg(version, ' ' ORDER BY at) FROM log WHERE node = 'n1'), 'bad -bad',
	'the first wave goes back');
SELECT is((SELECT string_agg(version, ' ' ORDER BY at) FROM log WHERE node = 'n4'), 'bad -bad',
	'and who succeeded beside it');
SELECT is((SELECT count(*) FROM log WHERE node = 'n5'), 0::bigint, 'the third wave did not begin');
SELECT is((SELECT status::text FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'swap'
	AND node = 'n5'), 'cancelled', 'its task is cancelled');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'d'), 'no',
	'the reason is the error');

-- One may fail, and stays behind.
SELECT hotswap.configure_environment('development', max_failed => '1') \g /dev/null
SELECT hotswap.deploy('m', 'bad', 'development', nodes => '{n1,n2,n3,n4,n5}') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'with max_failed it goes on');
SELECT is((SELECT nodes_behind FROM hotswap.deployments WHERE id = :'d'), 1, 'one is behind');
SELECT is(progress(:'d'), '3 of 3 waves, 4 of 5 nodes, 80 %', 'the progress says so');

-- A retry begins its rollout anew.
SELECT hotswap.configure_environment('development', max_failed => 'off') \g /dev/null
SELECT hotswap.publish_version('m', 'once', $$DO 'BEGIN IF current_schema = ''n2'' AND
	NOT EXISTS (SELECT FROM public.log WHERE version = ''mended'') THEN RAISE ''not yet''; END IF;
	END'$$, revert_sql => 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('m', 'once', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'it fails in the first wave');
INSERT INTO log (version) VALUES ('mended');
SELECT hotswap.retry(:'d') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and is tried again');
SELECT is(progress(:'d'), '5 of 5 waves, 9 of 9 nodes, 100 %', 'from its first wave to its last');

-- rollback() waits for nothing.
SELECT hotswap.rollback(:'d', 'no') AS r \gset
SELECT is(hotswap.wait(:'r', '60 s'), 'succeeded', 'a rollback');
SELECT is((SELECT count(*) FROM hotswap.rollouts WHERE deployment_id = :'r'), 0::bigint,
	'goes to all nodes at once');

-- A wave does not begin in a window in which nothing starts; what has begun ends.
SELECT hotswap.configure_rollout('development', first_bake => '1 h') \g /dev/null
SELECT hotswap.deploy('m', '3', 'development', nodes => '{n1,n2,n3}') AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'d'));
SELECT hotswap.set_window('development', 'rush', 'deny', 'they all shop',
	tstzrange(now(), now() + '1 h')) \g /dev/null
SELECT hotswap.promote(:'d', 'x') \g /dev/null
CALL until(format('(SELECT gate IS NOT NULL FROM hotswap.rollouts WHERE deployment_id = %L)',
	:'d'));
SELECT is(progress(:'d'), '1 of 2 waves, 2 of 3 nodes, 66 %', 'the second wave does not begin');
SELECT is((SELECT reason FROM hotswap.explain(:'d') LIMIT 1), 'environment "development" is frozen',
	'explain() says why');
SELECT format('CREATE ROLE %I LOGIN', named('dave')) \gexec
SELECT hotswap.grant_access(named('dave')::regrole, 'break_glass') \g /dev/null
SELECT is(as_role(named('dave'), format($$SELECT hotswap.override_freeze(%L, 'development',
	'on fire', 'INC-1') IS NOT NULL$$, :'d')), 't', 'somebody overrides it');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it goes on');
SELECT is(progress(:'d'), '2 of 2 waves, 3 of 3 nodes, 100 %', 'to its end');
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE subject_id = :'d'
	AND event = 'freeze.use'), 1::bigint, 'by that override');
SELECT hotswap.remove_window('development', 'rush') \g /dev/null
SELECT hotswap.deploy('m', '4', 'development', nodes => '{n1,n2,n3}') AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'d'));
SELECT hotswap.set_window('development', 'rush', 'deny', 'they all shop',
	tstzrange(now(), now() + '1 h')), hotswap.promote(:'d', 'x') \g /dev/null
CALL until(format('(SELECT gate IS NOT NULL FROM hotswap.rollouts WHERE deployment_id = %L)',
	:'d'));
SELECT hotswap.remove_window('development', 'rush') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'or when the window is gone');
SELECT format('DROP OWNED BY %I; DROP ROLE %1$I', named('dave')) \gexec

-- A node that is removed leaves: before its wave it is not waited for, later it does not go back.
SELECT hotswap.configure_rollout('development', first_bake => '1 h') \g /dev/null
SELECT hotswap.deploy('m', '5', 'development', nodes => '{n1,n2,n3,n4}') AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'d'));
SELECT hotswap.remove_node(id) FROM hotswap.nodes WHERE name = 'n4' \g /dev/null
SELECT results_eq(format($$SELECT status::text, message FROM hotswap.tasks
	WHERE deployment_id = %L AND node = 'n4'$$, :'d'),
	$$VALUES ('cancelled', 'the node was removed')$$, 'a node is removed before its wave');
SELECT hotswap.promote(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the others go on');
SELECT is(progress(:'d'), '2 of 2 waves, 3 of 4 nodes, 75 %', 'without it');
TRUNCATE log;
SELECT hotswap.deploy('m', '6', 'development', nodes => '{n1,n2,n3}') AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'d'));
SELECT hotswap.remove_node(id) FROM hotswap.nodes WHERE name = 'n1' \g /dev/null
SELECT hotswap.cancel(:'d', 'no') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'a node is removed after its wave');
SELECT is((SELECT string_agg(node || ' ' || version, ', ' ORDER BY at) FROM log
	WHERE node = 'n1' OR version = '-6'), 'n1 6, n2 -6', 'it stays as it is when others go back');
