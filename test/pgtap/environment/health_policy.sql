-- When a node is healthy: set_health_policy() (src/environment/health_policy.c). What follows from
-- it is tested in test/pgtap/core/node_health.sql.
SELECT plan(18);

CREATE ROLE environment_health_policy_prober;
CREATE FUNCTION policy() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', silent_after, max_cpu, max_memory, max_error_rate, min_healthy,
		metrics_from, measure) FROM hotswap.environments WHERE name = 'qa' $$;

-- What there is without it, and with each of them.
SELECT is(policy(), '00:02:00 90 90 5', 'in a new database');
SELECT lives_ok($$SELECT hotswap.set_health_policy('qa')$$, 'with what is usual');
SELECT is(policy(), '00:02:00 90 90 5', 'it is what there was');
SELECT is_empty($$SELECT FROM hotswap.audit_log WHERE event = 'set_health_policy'$$,
	'no change, no event');
SELECT lives_ok($$SELECT hotswap.set_health_policy('qa', '30 s', 80, 0, 2.5, 75,
	'environment_health_policy_prober')$$, 'with everything');
SELECT is(policy(), '00:00:30 80 0 2.5 75 environment_health_policy_prober', 'is set');
SELECT lives_ok($$SELECT hotswap.set_health_policy('qa', NULL, NULL, NULL, NULL,
	measure => 'tables')$$, 'with nothing');
SELECT is(policy(), 'tables', 'nothing is asked for');
SELECT results_eq($$SELECT before::jsonb->>'max_cpu', after::jsonb->>'max_cpu',
	after::jsonb->>'measure' FROM hotswap.audit_log WHERE event = 'set_health_policy'
	ORDER BY seq$$,
	$$VALUES ('90', '80', NULL), ('80', NULL, 'tables')$$, 'what has changed');

-- Refused.
SELECT throws_ok(format('SELECT hotswap.set_health_policy(%s)', q), c, m, q)
FROM (VALUES ($$'qa', '1 s'$$, '22023', '"silent_after" is out of range: 00:00:01'),
	($$'qa', max_cpu => 'NaN'$$, '22023', '"max_cpu" is out of range: NaN'),
	($$'qa', max_error_rate => 101$$, '22023', '"max_error_rate" is out of range: 101'),
	($$'qa', min_healthy => 0$$, '22023', '"min_healthy" is out of range: 0'),
	($$'qa', measure => 'cpu'$$, '22023', 'invalid value for "measure": "cpu"'),
	($$'qa', measure => 'database'$$, '22023', 'invalid value for "measure": "database"'),
	($$'qa', measure => 'tables', metrics_from => 'pg_monitor'$$, '22023',
		'"metrics_from" must be null where "measure" is not'),
	($$'qa', metrics_from => 99999999$$, 'P0002', 'role with OID 99999999 does not exist'),
	($$'no'$$, 'P0002', 'environment "no" does not exist')) v (q, c, m);
SELECT * FROM finish();
