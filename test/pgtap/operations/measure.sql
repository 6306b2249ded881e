-- What hotswap measures of nodes by itself (src/operations/measure.c), and what becomes of reports.
SELECT plan(12);
SET track_functions = 'all';

CREATE ROLE operations_measure_node LOGIN;
CREATE SCHEMA a AUTHORIZATION operations_measure_node;
CREATE SCHEMA b AUTHORIZATION operations_measure_node;
SELECT hotswap.register_node('qa', 'a', run_as => 'operations_measure_node', schema => 'a') AS a,
	hotswap.register_node('qa', 'b', run_as => 'operations_measure_node', schema => 'b') AS b,
	hotswap.register_node('qa', 'c', run_as => 'operations_measure_node') AS c \gset
CREATE FUNCTION a.g() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';

-- Given an environment whose functions are measured: as soon as it is said.
SELECT sum(a.g()), pg_stat_force_next_flush() FROM generate_series(1, 5) \g /dev/null
SELECT hotswap.set_health_policy('qa', measure => 'functions') \g /dev/null
CREATE PROCEDURE measured(times integer) LANGUAGE plpgsql AS $$
BEGIN
	CALL until('(SELECT count(*) FROM hotswap.node_metrics WHERE node = ''a'') >= ' || times);
END $$;
CALL measured(1);
SELECT is((SELECT count(*) FROM hotswap.node_metric WHERE node_id = :'c'), 0::bigint,
	'a node without a schema is not measured');
SELECT results_eq($$SELECT node, requests, latency_ms, details->>'calls' FROM hotswap.node_metrics
	ORDER BY node$$, $$VALUES ('a', NULL::bigint, NULL::real, '5'), ('b', NULL, NULL, '0')$$,
	'at first there is nothing to compare with');

-- Whoever starts it anew has it measured again: what was called meanwhile.
CREATE PROCEDURE measure_again(times integer) LANGUAGE plpgsql AS $$
BEGIN
	UPDATE hotswap.node_metric SET at = at - interval '31 s';
	COMMIT;
	PERFORM pg_terminate_backend(pid) FROM hotswap.workers
		WHERE kind = 'dispatcher' AND database = current_database();
	CALL measured(times);
END $$;
SELECT sum(a.g()), pg_stat_force_next_flush() FROM generate_series(1, 20) \g /dev/null
CALL measure_again(2);
SELECT results_eq($$SELECT DISTINCT ON (node) node, requests, latency_ms > 0, details->>'calls'
	FROM hotswap.node_metrics ORDER BY node, at DESC$$,
	$$VALUES ('a', 20::bigint, true, '25'), ('b', 0, NULL, '0')$$, 'what has happened since');

-- Statistics that begin anew.
SELECT pg_stat_reset() \g /dev/null
CALL measure_again(3);
SELECT results_eq($$SELECT DISTINCT ON (node) node, requests, latency_ms, details->>'calls'
	FROM hotswap.node_metrics ORDER BY node, at DESC$$,
	$$VALUES ('a', NULL::bigint, NULL::real, '0'), ('b', 0, NULL, '0')$$, 'are none to count from');

-- Tables: how often they are scanned, and how many rows that reads.
CREATE TABLE b.t AS SELECT generate_series(1, 100) AS i;
SELECT hotswap.set_health_policy('qa', measure => 'tables') \g /dev/null
DELETE FROM hotswap.node_metric;
CALL measure_again(1);
SELECT (SELECT count(*) FROM b.t), (SELECT max(i) FROM b.t), (SELECT min(i) FROM b.t),
	(SELECT sum(i) FROM b.t) \g /dev/null
SELECT pg_stat_force_next_flush() \g /dev/null
CALL measure_again(2);
SELECT results_eq($$SELECT DISTINCT ON (node) node, requests, latency_ms FROM hotswap.node_metrics
	ORDER BY node, at DESC$$, $$VALUES ('a', 0::bigint, NULL::real), ('b', 4, 100)$$,
	'four scans of a hundred rows');
SELECT is((SELECT health FROM hotswap.nodes WHERE name = 'b'), 'healthy', 'it is known');

-- When nobody wants it any more.
SELECT hotswap.set_health_policy('qa') \g /dev/null
DELETE FROM hotswap.node_metric;
SELECT pg_terminate_backend(pid) FROM hotswap.workers
	WHERE kind = 'dispatcher' AND database = current_database() \g /dev/null
SELECT hotswap.publish_version('m', '1', 'SELECT 1'), hotswap.deploy('m', '1', 'qa') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a dispatcher that is new');
SELECT is_empty('SELECT FROM hotswap.node_metric', 'measures nothing');

-- Reports are kept for a week: the partition of tomorrow is emptied, and no other one.
INSERT INTO hotswap.node_metric (tenant_id, node_id, at, counts, slot)
	SELECT '00000000-0000-7000-8000-000000000001', :'a',
		date_trunc('second', now()) - d * interval '1 day', true, (extract(epoch FROM now()
			- d * interval '1 day' - timestamptz '2000-01-01 00:00+00')::bigint / 86400) % 9
	FROM generate_series(0, 8) d;
SELECT is((SELECT count(*) FROM hotswap.node_metric), 9::bigint, 'given a report of each day');
SELECT pg_terminate_backend(pid) FROM hotswap.workers
	WHERE kind = 'dispatcher' AND database = current_database() \g /dev/null
CALL until($$(SELECT count(*) FROM pg_class WHERE relname ~ '^node_metric_.$'
	AND pg_relation_size(oid) > 0) = 8$$);
SELECT is((SELECT count(*) FROM hotswap.node_metric WHERE at < now() - interval '7 days 12 hours'),
	0::bigint, 'that of eight days ago is gone');
SELECT is((SELECT count(DISTINCT tableoid) FROM hotswap.node_metric), 8::bigint,
	'a partition has a day');
SELECT is((SELECT status FROM hotswap.health() WHERE component = 'housekeeping'), 'ok',
	'and nothing has failed');
SELECT * FROM finish();
