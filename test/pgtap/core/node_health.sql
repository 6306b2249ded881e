-- Is a node healthy, and is an environment (src/core/node_health.c)?
SELECT plan(33);

CREATE ROLE core_node_health LOGIN;
SELECT format('CREATE SCHEMA %I AUTHORIZATION core_node_health', s)
FROM unnest('{a,b,c,d}'::text[]) s
\gexec
SELECT hotswap.register_node('qa', 'n' || i, run_as => 'core_node_health', schema => s)
FROM unnest('{a,b,c,d}'::text[]) WITH ORDINALITY u (s, i) \g /dev/null
CREATE FUNCTION id_of(n text) RETURNS uuid LANGUAGE sql AS
	'SELECT id FROM hotswap.node WHERE name = n';
-- what a node reported so long ago
CREATE FUNCTION report(n text, ago interval, cpu real = NULL, memory real = NULL,
		requests bigint = NULL, errors bigint = NULL, digest bytea = NULL) RETURNS void
	LANGUAGE sql AS $$
	INSERT INTO hotswap.node_metric SELECT '00000000-0000-7000-8000-000000000001', id_of(n), at,
		true, (extract(epoch FROM at - timestamptz '2000-01-01 00:00+00')::bigint / 86400) % 9,
		cpu, memory, NULL, requests, errors, digest
	FROM (SELECT date_trunc('second', clock_timestamp() - ago) AS at) t $$;
CREATE FUNCTION health(n text) RETURNS text LANGUAGE sql AS $$
	SELECT DISTINCT concat_ws(': ', health, nullif(array_to_string(unhealthy_because, ', '), ''))
	FROM hotswap.nodes WHERE name = n $$;
CREATE FUNCTION of_qa() RETURNS text LANGUAGE sql AS
	$$SELECT health FROM hotswap.environments WHERE name = 'qa'$$;

-- Nobody reports; then somebody does.
SELECT is(health('n1'), 'unknown', 'nobody has reported');
SELECT is(of_qa(), 'unknown', 'of no node');
SELECT hotswap.heartbeat(id_of('n1')) \g /dev/null
SELECT is(health('n1'), 'healthy', 'it is there');
SELECT is(of_qa(), 'healthy', 'those that do not report are not unhealthy');

-- Silent.
SELECT report('n2', '3 min') \g /dev/null
SELECT is(health('n2'), 'unhealthy: it has fallen silent', 'not for two minutes');
SELECT is(of_qa(), 'unhealthy', 'one is enough');
SELECT hotswap.set_health_policy('qa', '10 min') \g /dev/null
SELECT is(health('n2'), 'healthy', 'where more is allowed');
SELECT hotswap.set_health_policy('qa', NULL) \g /dev/null
SELECT is(health('n2'), 'unknown', 'where silence is allowed, nothing is known');
SELECT hotswap.set_health_policy('qa', measure => 'tables') \g /dev/null
SELECT is(health('n2') = 'unhealthy: it has fallen silent', false,
	'what hotswap measures by itself cannot be silent');
SELECT hotswap.set_health_policy('qa') \g /dev/null
DELETE FROM hotswap.node_metric;
SELECT report('n2', '8 days') \g /dev/null
SELECT is(health('n2'), 'unknown', 'after a week it is forgotten');

-- The mean of what was reported in that time.
DELETE FROM hotswap.node_metric;
SELECT report('n1', '10 s', cpu => 100, memory => 10),
	report('n1', '40 s', cpu => 79, memory => 10),
	report('n1', '3 min', cpu => 100, memory => 100) \g /dev/null
SELECT is(health('n1'), 'healthy', 'a single report is no illness');
SELECT report('n1', '20 s', cpu => 100, memory => 10) \g /dev/null
SELECT is(health('n1'), 'unhealthy: CPU is at 93.0 %, more than 90 %', 'several are');
SELECT report('n1', '30 s', cpu => 0, memory => 100), report('n1', '31 s', memory => 100),
	report('n2', '5 s', memory => 91) \g /dev/null
SELECT is(health('n2'), 'unhealthy: memory is at 91.0 %, more than 90 %', 'memory');
SELECT hotswap.set_health_policy('qa', max_memory => NULL) \g /dev/null
SELECT is(health('n2'), 'healthy', 'if somebody asks');
SELECT hotswap.set_health_policy('qa') \g /dev/null

-- Errors.
SELECT report('n3', '10 s', requests => 10, errors => 10) \g /dev/null
SELECT is(health('n3'), 'healthy', 'ten requests say nothing');
SELECT report('n3', '20 s', requests => 190, errors => 0), report('n3', '25 s', requests => 1000)
	\g /dev/null
SELECT is(health('n3'), 'healthy', 'five of a hundred may fail');
SELECT report('n3', '30 s', requests => 0, errors => 0), report('n3', '31 s', requests => 20,
	errors => 20) \g /dev/null
SELECT is(health('n3'), 'unhealthy: 13.6 % of 220 requests failed, more than 5 %', 'not more');

-- The environment: two of four are ill.
SELECT hotswap.set_health_policy('qa', min_healthy => 75) \g /dev/null
SELECT is(of_qa(), 'unhealthy', 'half of them are ill');
SELECT hotswap.set_health_policy('qa', min_healthy => 50) \g /dev/null
SELECT is(of_qa(), 'healthy', 'which may be');
SELECT hotswap.set_health_policy('qa', min_healthy => 51) \g /dev/null
SELECT is(of_qa(), 'unhealthy', 'or may not');

-- What runs is not what was brought there.
SELECT hotswap.publish_version('m', '1', 'SELECT 1') AS one,
	hotswap.publish_version('m', '2', 'SELECT 2') AS two \gset
-- Its nodes are ill, and report: at once, by no health.
SELECT hotswap.configure_environment('qa', strategy => 'direct') \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'given version 1');
DELETE FROM hotswap.node_metric;
SELECT report('n4', '10 s', digest => decode(:'one', 'hex')) \g /dev/null
SELECT is(health('n4'), 'healthy', 'the same');
DELETE FROM hotswap.node_metric;
SELECT report('n4', '10 s', digest => decode(:'two', 'hex')),
	report('n4', '130 s', digest => decode(:'two', 'hex')) \g /dev/null
SELECT is(health('n4'), 'healthy', 'what it said before the swap does not matter');
UPDATE hotswap.node_module SET swapped_at = now() - interval '1 h';
SELECT is(health('n4'), 'unhealthy: it runs something else than was brought to it: ' || :'two',
	'for two minutes something else');
SELECT report('n4', '5 s', digest => decode(:'one', 'hex')) \g /dev/null
SELECT is(health('n4'), 'healthy', 'until it is right again');
SELECT report('n4', '2 s', digest => decode(:'two', 'hex')) \g /dev/null
SELECT is(health('n4'), 'healthy', 'once wrong is not for two minutes');
SELECT report('n3', '130 s', digest => decode(:'two', 'hex')),
	report('n3', '1 s') \g /dev/null
UPDATE hotswap.node_module SET digest = NULL WHERE node_id = id_of('n3');
SELECT is(health('n3'), 'healthy', 'where nothing was brought nothing is wrong');

-- An agent knows the artifact, not the version.
SELECT hotswap.register_node('qa', 'n5', 'agent', 'core_node_health', shared_role => true)
	\g /dev/null
SELECT hotswap.publish_artifact('site', '1', 'one') \g /dev/null
INSERT INTO hotswap.node_module (tenant_id, node_id, deployment_id, swapped_at, module, version,
	digest)
SELECT v.tenant_id, id_of('n5'), :'d', now() - interval '1 h', v.module, v.version, v.digest
FROM hotswap.module_version v WHERE v.module = 'site';
SELECT report('n5', '130 s', digest => sha256('one')), report('n5', '1 s', digest => sha256('one'))
	\g /dev/null
SELECT is(health('n5'), 'healthy', 'it runs the artifact that was brought to it');
DELETE FROM hotswap.node_metric;
SELECT report('n5', '130 s', digest => sha256('two')), report('n5', '1 s', digest => sha256('two'))
	\g /dev/null
SELECT is(health('n5'), 'unhealthy: it runs something else than was brought to it: '
	|| encode(sha256('two'), 'hex'), 'it runs another one');

-- Refused.
SELECT throws_ok('SELECT hotswap.node_problems(NULL, NULL)', '22023', '"tenant" must not be null',
	'no tenant');
SELECT is(hotswap.node_problems('00000000-0000-7000-8000-000000000001', gen_random_uuid()), NULL,
	'a node that is not there');
SELECT is(as_role('core_node_health', format('SELECT hotswap.node_problems(%L, %L)',
	'00000000-0000-7000-8000-000000000001', id_of('n1'))), '42501', 'who sees nothing');
SELECT is(as_role('core_node_health', format('SELECT hotswap.environment_health(%L, %L)',
	'00000000-0000-7000-8000-000000000001', 'qa')), '42501', 'of the environment neither');
SELECT * FROM finish();
