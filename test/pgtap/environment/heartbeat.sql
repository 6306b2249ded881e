-- What nodes report: heartbeat() (src/environment/heartbeat.c).
SELECT plan(36);

CREATE ROLE environment_heartbeat_node LOGIN;
CREATE ROLE environment_heartbeat_other LOGIN;
CREATE ROLE environment_heartbeat_prober LOGIN;
CREATE ROLE environment_heartbeat_boss LOGIN;
CREATE SCHEMA n AUTHORIZATION environment_heartbeat_node;
CREATE SCHEMA o AUTHORIZATION environment_heartbeat_other;
SELECT hotswap.grant_access('environment_heartbeat_boss', 'operator'),
	hotswap.grant_access('environment_heartbeat_other', 'deployer') \g /dev/null
SELECT hotswap.register_node('qa', 'n', run_as => 'environment_heartbeat_node', schema => 'n') AS n,
	hotswap.register_node('qa', 'o', run_as => 'environment_heartbeat_other', schema => 'o') AS o
	\gset
CREATE FUNCTION beat(role text, node uuid, more text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT as_role(named(role), format('SELECT hotswap.heartbeat(%L%s)', node, more)) $$;

-- What cannot be.
SELECT throws_ok(format('SELECT hotswap.heartbeat(%L, %s)', :'n', q), '22023', m, q)
FROM (VALUES ($$cpu => 'NaN'$$, '"cpu" is out of range: NaN'),
	($$cpu => 'infinity'$$, '"cpu" is out of range: Infinity'),
	('cpu => 100.1', '"cpu" is out of range: 100.1'),
	('memory => -1', '"memory" is out of range: -1'),
	($$latency_ms => 'infinity'$$, '"latency_ms" is out of range: Infinity'),
	($$latency_ms => 'NaN'$$, '"latency_ms" is out of range: NaN'),
	('requests => -1', '"requests" must not be negative: -1'),
	('requests => 10, errors => 11', '"errors" is out of range: 11'),
	('requests => 10, errors => -1', '"errors" is out of range: -1'),
	('errors => 1', '"errors" is out of range: 1'),
	($$digest => 'abc'$$, 'invalid value for "digest": "abc"'),
	(format('digest => %L', repeat('xy', 32)),
		format('invalid value for "digest": "%s"', repeat('xy', 32))),
	($$details => '[]'$$, '"details" must be a JSON object'),
	($$details => jsonb_build_object('a', repeat('x', 8192))$$, '"details" is too large')) v (q, m);
SELECT throws_ok('SELECT hotswap.heartbeat(NULL)', '22023', '"node" must not be null', 'no node');
SELECT throws_ok($$SELECT hotswap.heartbeat('00000000-0000-7000-8000-00000000dead')$$, 'P0002',
	'node "00000000-0000-7000-8000-00000000dead" does not exist', 'one that is not there');
SELECT is_empty('SELECT FROM hotswap.node_metrics', 'nothing was written');

-- Who may: the node's role, without any capability, and operators.
SELECT is(beat('node', :'n', $$, 12.5, 50, 3.5, 1000, 2, repeat('ab', 32), '{"a": 1}'$$), '',
	'the role of the node');
SELECT results_eq('SELECT node, cpu, memory, latency_ms, requests, errors, digest, details, counts
	FROM hotswap.node_metrics', $$VALUES ('n', 12.5::real, 50::real, 3.5::real, 1000::bigint,
		2::bigint, repeat('ab', 32), '{"a": 1}'::jsonb, true)$$, 'is what it says');
SELECT ok(at BETWEEN now() - interval '1 min' AND now() AND at = date_trunc('second', at),
	'in whole seconds of the server') FROM hotswap.node_metrics;
SELECT is(beat('node', :'o'), '42501', 'not of another node');
SELECT is(beat('node', '00000000-0000-7000-8000-00000000dead'), '42501',
	'nor whether there is one');
SELECT is(beat('other', :'n'), '42501', 'a deployer may not');
SELECT is(beat('boss', :'o'), '', 'an operator may');
SELECT is((SELECT count(*) FROM hotswap.node_metrics WHERE node = 'o' AND requests IS NULL
	AND errors IS NULL AND cpu IS NULL AND digest IS NULL), 1::bigint, 'and need not say more');

-- Once a second: of these at least two come in one.
CREATE FUNCTION twice(node uuid) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..3 LOOP
		PERFORM hotswap.heartbeat(node, requests => 7, errors => 0);
	END LOOP;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RETURN SQLERRM;
END $$;
SELECT is(twice(:'n'), 'node "n" has reported in this second already', 'no second one');

-- Somebody else's numbers count where the environment says so.
SELECT hotswap.set_health_policy('qa', metrics_from => 'environment_heartbeat_prober') \g /dev/null
DELETE FROM hotswap.node_metric;
SELECT is(beat('node', :'n', ', requests => 1000, errors => 0'), '',
	'the node says that all is well');
SELECT is(beat('prober', :'n', ', requests => 100, errors => 50'), '',
	'the prober has something else to say, in the same second');
SELECT is(beat('prober', :'o'), '', 'of each node of the environment');
SELECT results_eq($$SELECT requests, counts FROM hotswap.node_metrics WHERE node = 'n' ORDER BY 1$$,
	'VALUES (100::bigint, true), (1000::bigint, false)', 'whose numbers count');
SELECT is((SELECT unhealthy_because FROM hotswap.nodes WHERE name = 'n'),
	'{"50.0 % of 100 requests failed, more than 5 %"}', 'and are believed');

-- A node that is gone; another tenant's.
SELECT hotswap.remove_node(:'o') \g /dev/null
SELECT is(beat('boss', :'o'), 'P0002', 'a node that was removed');
SELECT hotswap.create_tenant('t', 't', 'a@b.c') AS t \gset
SELECT is(beat('node', :'n', format(', tenant => %L', :'t')), '42501', 'not in another tenant');
SELECT throws_ok(format('SELECT hotswap.heartbeat(%L, tenant => %L)', :'n', :'t'), 'P0002', NULL,
	'where it is not');

-- Who sees what.
SELECT is(as_role('environment_heartbeat_boss', 'SELECT count(*) FROM hotswap.node_metrics'), '3',
	'who sees the tenant');
SELECT is(as_role('environment_heartbeat_node', 'SELECT count(*) FROM hotswap.node_metrics'), '0',
	'the node does not');
SELECT * FROM finish();
