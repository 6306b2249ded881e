-- What nodes have reported, summed up: node_levels() (src/pipeline/metric.c).
SELECT plan(12);

CREATE ROLE pipeline_metric_node LOGIN;
CREATE SCHEMA a AUTHORIZATION pipeline_metric_node;
CREATE SCHEMA b AUTHORIZATION pipeline_metric_node;
SELECT hotswap.register_node('qa', 'a', run_as => 'pipeline_metric_node', schema => 'a') AS a,
	hotswap.register_node('qa', 'b', run_as => 'pipeline_metric_node', schema => 'b') AS b \gset
CREATE FUNCTION report(node uuid, at timestamptz, cpu real, memory real, latency real,
		requests bigint, errors bigint, counts boolean = true) RETURNS void LANGUAGE sql AS $$
	INSERT INTO hotswap.node_metric VALUES ('00000000-0000-7000-8000-000000000001', node, at,
		counts, (extract(epoch FROM at - timestamptz '2000-01-01 00:00+00')::bigint / 86400) % 9,
		cpu, memory, latency, requests, errors) $$;
CREATE FUNCTION levels(since timestamptz, until timestamptz = NULL) RETURNS SETOF text
	LANGUAGE sql AS $$
	SELECT concat_ws(' ', node, reports, requests, errors, round(latency_ms::numeric, 3),
		round(cpu::numeric, 3), round(memory::numeric, 3))
	FROM hotswap.node_levels('qa', since, until) ORDER BY node $$;
SELECT date_trunc('day', now()) - interval '1 day' AS yesterday \gset

-- Given reports of yesterday and the days before.
SELECT report(:'a', :'yesterday'::timestamptz + t, c, 10, l, r, e)
FROM (VALUES (interval '10:00', 10, 1, 10, 1), ('11:00', 40, 4, 30, 0),
	('12:00', 40, 16, NULL, NULL), ('13:00', 90, 4, 100, NULL)) v (t, c, l, r, e) \g /dev/null
SELECT report(:'a', :'yesterday'::timestamptz + interval '11:30', 99, 99, 99, 99, 99, false),
	report(:'a', :'yesterday'::timestamptz - interval '2 days', 0, 0, 0, 0, 0),
	report(:'a', :'yesterday'::timestamptz - interval '5 days', 1, 1, 1, 1, 1) \g /dev/null

-- Counts are added up; latency is weighed by the requests.
SELECT results_eq(format('SELECT levels(%L, %L)', :'yesterday'::timestamptz + interval '10:00',
	:'yesterday'::timestamptz + interval '12:00'),
	$$VALUES ('a 2 40 1 2.828 20.000 10.000'), ('b 0')$$, 'from a time on and before another');
SELECT results_eq(format('SELECT levels(%L, %L)', :'yesterday'::timestamptz + interval '10:00:01',
	:'yesterday'::timestamptz + interval '12:00:01'),
	$$VALUES ('a 2 30 0 4.183 40.000 10.000'), ('b 0')$$, 'one without requests weighs as one');
SELECT results_eq(format('SELECT levels(%L, %L)', :'yesterday'::timestamptz + interval '13:00',
	:'yesterday'::timestamptz + interval '14:00'),
	$$VALUES ('a 1 4.000 90.000 10.000'), ('b 0')$$, 'without errors there is no rate');
SELECT is((SELECT reports FROM hotswap.node_levels('qa', :'yesterday'::timestamptz
	- interval '6 days') WHERE node = 'a'), 6, 'over the days');
SELECT is((SELECT reports FROM hotswap.node_levels('qa', '2001-01-01') WHERE node = 'a'), 6,
	'from long ago');
SELECT is((SELECT latency_ms FROM hotswap.node_levels('qa', :'yesterday'::timestamptz
	- interval '2 days', :'yesterday') WHERE node = 'a'), NULL,
	'of no requests there is no latency');
SELECT is((SELECT round(cpu::numeric, 3) FROM hotswap.node_levels('qa', :'yesterday'::timestamptz
	- interval '2 days', :'yesterday') WHERE node = 'a'), 0.100, 'nothing is taken for a little');
SELECT is((SELECT count(*) FROM hotswap.node_levels('staging', :'yesterday')), 0::bigint,
	'an environment without nodes');

-- Refused.
SELECT throws_ok('SELECT * FROM hotswap.node_levels(''qa'', NULL)', '22023',
	'"since" must not be null', 'no time');
SELECT throws_ok('SELECT * FROM hotswap.node_levels(''qa'', now(), now())', '22023',
	'"since" must be earlier than "until"', 'no time between them');
SELECT throws_ok('SELECT * FROM hotswap.node_levels(''no'', now() - interval ''1 h'')', 'P0002',
	'environment "no" does not exist', 'no environment');
SELECT is(as_role('pipeline_metric_node', $$SELECT node FROM hotswap.node_levels('qa',
	now() - interval '1 h')$$), '42501', 'who sees nothing');
SELECT * FROM finish();
