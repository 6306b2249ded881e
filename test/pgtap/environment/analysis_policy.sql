-- set_analysis_policy(): by what the waves of an environment are judged.
SELECT plan(21);

CREATE FUNCTION policy() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', confidence, coalesce(more_errors::text, '-'),
		coalesce(more_latency::text, '-'), coalesce(more_cpu::text, '-'),
		coalesce(more_memory::text, '-'), looks, adaptive, min_bake, require_metrics)
	FROM hotswap.environments WHERE name = 'qa'
$$;

SELECT is(policy(), '0.95 50 100 30 30 5 f 00:05:00 f', 'in a new database');
SELECT lives_ok($$SELECT hotswap.set_analysis_policy('qa')$$, 'what there is already is no error');
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE event = 'set_analysis_policy'), 0::bigint,
	'nor is it in the audit log');
SELECT hotswap.set_analysis_policy('qa', 0.99, 100, NULL, 50, NULL, 3, true, '10 min', true)
	\g /dev/null
SELECT is(policy(), '0.99 100 - 50 - 3 t 00:10:00 t', 'all of it');
SELECT results_eq($$SELECT before::jsonb ->> 'looks', after::jsonb ->> 'looks', detail
	FROM hotswap.audit_log WHERE event = 'set_analysis_policy'$$,
	$$VALUES ('5', '3', '{"environment": "qa"}'::jsonb)$$, 'with before and after');
SELECT hotswap.set_analysis_policy('qa', looks => 1) \g /dev/null
SELECT is(policy(), '0.95 50 100 30 30 1 f 00:05:00 f', 'what is not given is as in the beginning');

-- What it does not take.
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.set_analysis_policy(''qa'', %s => %L)', word, value)),
	format($$VALUES ('22023', '"%s" is out of range: %s', '%s')$$, word, value, detail),
	word || ' ' || value)
FROM (VALUES ('confidence', '0.4', 'It must be between 0.5 and 0.9999.'),
	('confidence', '1', 'It must be between 0.5 and 0.9999.'),
	('more_errors', '0', 'It must be between 1 and 10000.'),
	('more_latency', '10001', 'It must be between 1 and 10000.'),
	('more_cpu', '-5', 'It must be between 1 and 10000.'),
	('more_memory', 'NaN', 'It must be between 1 and 10000.'),
	('looks', '0', 'It must be between 1 and 20.'),
	('looks', '21', 'It must be between 1 and 20.'),
	('min_bake', '31 days', 'It must be between 0 seconds and 30 days.')) v (word, value, detail);
SELECT is(attempt(format('SELECT hotswap.set_analysis_policy(''qa'', %s => NULL)', word)), '22023',
	word || ' null')
FROM unnest('{confidence,looks,adaptive,min_bake,require_metrics}'::text[]) word;
SELECT is(attempt($$SELECT hotswap.set_analysis_policy('x')$$), 'P0002', 'no environment');
SELECT * FROM finish();
