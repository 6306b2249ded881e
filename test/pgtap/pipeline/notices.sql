-- What people are told of while a rollout waits (src/pipeline/waves.c).
SELECT plan(11);

SELECT format('CREATE SCHEMA n%s', i) FROM generate_series(1, 2) i \gexec
SELECT hotswap.register_node('development', 'n' || i, schema => 'n' || i)
	FROM generate_series(1, 2) i \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'canary'),
	hotswap.configure_rollout('development', first_wave => '1', wave_step => '1', bake => '1 h')
	\g /dev/null
SELECT hotswap.publish_version('m', '1', 'SELECT 1', revert_sql => 'SELECT 1') \g /dev/null
CREATE FUNCTION told(d uuid, event text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM hotswap.notifications n WHERE deployment_id = d
		AND n.event::text = told.event $$;
CREATE FUNCTION words(d uuid, event text) RETURNS text LANGUAGE sql AS $$
	SELECT reason FROM hotswap.notifications n WHERE deployment_id = d
		AND n.event::text = words.event ORDER BY id LIMIT 1 $$;
CREATE FUNCTION visits(d uuid) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM hotswap.audit_log WHERE subject_id = d $$;

-- A bake.
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'d'));
SELECT results_eq(format($$SELECT environment, concerns, reason FROM hotswap.notifications
	WHERE deployment_id = %L AND event = 'bake'$$, :'d'), format($$SELECT 'development',
	ARRAY[session_user::text COLLATE "default"], 'wave 1 of 2 bakes until ' || bake_until::text
	FROM hotswap.rollouts WHERE deployment_id = %L$$, :'d'), 'who requested it is told of a bake');

-- A pause that nobody ends.
SELECT hotswap.pause(:'d', 'lunch') \g /dev/null
CALL await(:'d', 'paused');
SELECT is(told(:'d', 'pause'), 0::bigint, 'nobody is told of a pause that has begun');
UPDATE hotswap.pause SET since = now() - interval '11 h', ends_at = now() + interval '13 h'
	WHERE deployment_id = :'d';
SELECT hotswap.promote(:'d', 'later') \g /dev/null
CALL until(format('(SELECT due_at > now() + interval ''10 min'' FROM hotswap.work_item
	WHERE deployment_id = %L)', :'d'));
SELECT is(told(:'d', 'pause'), 0::bigint, 'nor when less than half of its time is over');
UPDATE hotswap.pause SET since = now() - interval '13 h', ends_at = now() + interval '11 h'
	WHERE deployment_id = :'d';
SELECT hotswap.promote(:'d', 'later', full => true) \g /dev/null
CALL until(format('told(%L, ''pause'') = 1', :'d'));
SELECT matches(words(:'d', 'pause'), '^paused since .* by postgres: lunch; it is cancelled at ',
	'after half of it they are');
SELECT ok((SELECT reminded_at IS NOT NULL FROM hotswap.pause WHERE deployment_id = :'d'),
	'which is noted');

-- Windows hold up a wave.
SELECT hotswap.set_window('development', 'now', 'deny', 'x',
	during => tstzrange(now() - interval '1 h', now() + interval '1 d')) \g /dev/null
SELECT hotswap.resume(:'d', 'back') \g /dev/null
CALL until(format('told(%L, ''frozen'') = 1', :'d'));
SELECT matches(words(:'d', 'frozen'), '^wave 2 of 2 waits until .* for the windows of development',
	'they are told of a wave that windows hold up');
SELECT is(told(:'d', 'pause'), 1::bigint, 'and of the pause once');
SELECT hotswap.pause(:'d', 'x') \g /dev/null
CALL await(:'d', 'paused');
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL await(:'d', 'running');
SELECT is(told(:'d', 'frozen'), 1::bigint, 'once, however often it looks');
SELECT hotswap.remove_window('development', 'now') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'then it goes on');
SELECT is(told(:'d', 'bake'), 2::bigint, 'with its last bake');
SELECT is(told(:'d', 'ended'), 1::bigint, 'and its end');
SELECT * FROM finish();
