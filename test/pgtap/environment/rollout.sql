-- configure_rollout(): how the nodes of an environment are taken in waves.
SELECT plan(32);

CREATE FUNCTION settings() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', coalesce(first_wave, '-'), coalesce(wave_step, '-'),
		coalesce(first_bake::text, '-'), coalesce(bake::text, '-'), coalesce(bake_last::text, '-'),
		pause_timeout, health_timeout) FROM hotswap.environments WHERE name = 'qa'
$$;

SELECT is(settings(), '- - - - - 24:00:00 00:05:00',
	'in a new database everything is as the strategy says');
SELECT lives_ok($$SELECT hotswap.configure_rollout('qa')$$, 'nothing to change is no error');
SELECT is(settings(), '- - - - - 24:00:00 00:05:00', 'and changes nothing');
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE event = 'configure_rollout'), 0::bigint,
	'nor is it in the audit log');
SELECT hotswap.configure_rollout('qa', first_wave => '1', wave_step => '020%',
	first_bake => '0', bake => '1 h', bake_last => false, pause_timeout => '2 d',
	health_timeout => '30 s') \g /dev/null
SELECT is(settings(), '1 20% 00:00:00 01:00:00 false 2 days 00:00:30', 'all of it');
SELECT hotswap.configure_rollout('qa', bake => '30 d') \g /dev/null
SELECT is(settings(), '1 20% 00:00:00 30 days false 2 days 00:00:30', 'one alone: the others stay');
SELECT results_eq($$SELECT before::jsonb ->> 'bake', after::jsonb ->> 'bake', detail
	FROM hotswap.audit_log WHERE event = 'configure_rollout' ORDER BY seq DESC LIMIT 1$$,
	$$VALUES ('01:00:00', '30 days', '{"environment": "qa"}'::jsonb)$$, 'with before and after');

SELECT hotswap.configure_rollout('qa', max_parallel => 3, order_by => '{ring,zone}') \g /dev/null
SELECT results_eq($$SELECT max_parallel, order_by, bake FROM hotswap.environments
	WHERE name = 'qa'$$, $$VALUES (3, '{ring,zone}'::text[], interval '30 days')$$,
	'how many at a time, and in which order');
SELECT hotswap.configure_rollout('qa', max_parallel => 0, order_by => '{}') \g /dev/null
SELECT results_eq($$SELECT max_parallel, order_by FROM hotswap.environments WHERE name = 'qa'$$,
	$$VALUES (0, '{}'::text[])$$, 'as many as there are, and as the strategy does');

-- What it does not take.
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.configure_rollout(''qa'', %s => %L)', word, value)),
	format($$VALUES ('22023', 'invalid value for "%s": "%s"',
		'It must be a number of nodes up to 10000, or percent like "10%%".')$$, word, value),
	word || ' ' || value)
FROM (VALUES ('first_wave', '0'), ('first_wave', '0%'), ('first_wave', '101%'),
	('first_wave', '10001'), ('first_wave', '-1'), ('wave_step', 'x'), ('wave_step', '1.5'),
	('wave_step', '%'), ('wave_step', '1 %')) v (word, value);
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.configure_rollout(''qa'', %s => %L)', word, value)),
	format($$VALUES ('22023', '"%s" is out of range: %s', '%s')$$, word, value, detail),
	word || ' ' || value)
FROM (VALUES ('bake', '31 days', 'It must be between 0 seconds and 30 days.'),
	('bake', '-00:00:01', 'It must be between 0 seconds and 30 days.'),
	('first_bake', '31 days', 'It must be between 0 seconds and 30 days.'),
	('pause_timeout', '00:00:59', 'It must be between 60 seconds and 366 days.'),
	('pause_timeout', '2 years', 'It must be between 60 seconds and 366 days.'),
	('health_timeout', '00:00:00', 'It must be between a second and a day.'))
	v (word, value, detail);
SELECT results_eq(format('SELECT code, message FROM refusal(%L)',
	format('SELECT hotswap.configure_rollout(''qa'', %s)', argument)),
	format('VALUES (%L, %L)', '22023', message), argument)
FROM (VALUES ('max_parallel => -1', '"max_parallel" is out of range: -1'),
	('max_parallel => 10001', '"max_parallel" is out of range: 10001'),
	('order_by => ARRAY[NULL]', 'element of "order_by" must not be null'),
	('order_by => $${a,""}$$', '"order_by" must not be blank'),
	('order_by => array_fill(text $$a$$, $${9}$$)', '"order_by" has too many elements: 9'))
	v (argument, message);
SELECT results_eq($$SELECT code, message, hint
	FROM refusal('SELECT hotswap.configure_rollout(''x'')')$$,
	$$VALUES ('P0002', 'environment "x" does not exist',
		'Make it with hotswap.configure_environment().')$$, 'an environment that is not there');
SELECT is(attempt($$SELECT hotswap.configure_rollout('qa', tenant => gen_random_uuid())$$), 'P0002',
	'nor a tenant');
SELECT is(attempt('SELECT hotswap.configure_rollout(NULL)'), '22023', 'nor none at all');
