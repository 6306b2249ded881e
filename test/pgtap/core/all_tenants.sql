-- What is asked of many deployments and of a long queue reads few rows.
SELECT plan(23);

-- Given a hundred tenants with two hundred deployments each, one in a hundred of which failed,
-- and who sees what.
SELECT hotswap.register_node('development', 'many', run_as => session_user::text::regrole),
	hotswap.publish_version('m', '1', 'SELECT 1') \g /dev/null
CREATE ROLE hotswap_test_all_tenants_ola;
CREATE ROLE hotswap_test_all_tenants_vera;
SELECT hotswap.stop_dispatching('made-up rows') \g /dev/null
INSERT INTO hotswap.tenant (id, name, status, subdomain)
	SELECT md5(n::text)::uuid, 't' || n, 'active', 't' || n FROM generate_series(1, 100) n;
SELECT hotswap.grant_access('hotswap_test_all_tenants_vera', 'viewer', md5('7')::uuid) \g /dev/null
INSERT INTO hotswap.access VALUES (NULL, 'hotswap_test_all_tenants_ola', 'operator');
INSERT INTO hotswap.deployment (tenant_id, id, status, priority, audit_seq, requested_at,
	finished_at, audit_hash, module, version, environment, requested_by, run_by_role, login,
	metadata)
SELECT md5((1 + n % 100)::text)::uuid,
	('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
	CASE WHEN n / 100 % 100 = 1 THEN 'failed' ELSE 'succeeded' END::hotswap.deployment_status, 0, 1,
	now() - interval '1 s' * (30000 - n), now(), sha256(''), 'm', '1', 'development', 'x', 'x', 'x',
	'{}'
FROM generate_series(1, 20000) n;
VACUUM ANALYZE hotswap.deployment, hotswap.stage, hotswap.tenant;

-- How a query comes to the deployments, and how many it reads.
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query;
END $$;
CREATE FUNCTION rows_read(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	line text;
	part text[];
	scanned boolean = false;
	n numeric = 0;
BEGIN
	FOR line IN SELECT plan_of(query) LOOP
		part = regexp_match(line, '\(actual rows=([\d.]+) loops=(\d+)\)');
		IF line ~ '->' THEN
			scanned = line ~ 'Scan.* on deployment ';
		END IF;
		IF scanned AND part IS NOT NULL THEN
			n = n + part[1]::numeric * part[2]::numeric;
		END IF;
		part = regexp_match(line, 'Rows Removed by Filter: (\d+)');
		IF scanned AND part IS NOT NULL THEN
			n = n + part[1]::numeric;
		END IF;
	END LOOP;
	RETURN n;
END $$;
SELECT 'SELECT * FROM hotswap.deployments ORDER BY requested_at DESC LIMIT 20' AS newest,
	$$SELECT * FROM hotswap.deployments WHERE status = 'failed'
		ORDER BY requested_at DESC LIMIT 20$$
		AS failed,
	format('SELECT * FROM hotswap.deployments WHERE id = %L', id) AS one
	FROM hotswap.deployment WHERE tenant_id = md5('7')::uuid LIMIT 1 \gset
SET jit = off;

-- When somebody asks who sees all.
SET ROLE hotswap_test_all_tenants_ola;
SELECT ok(hotswap.sees_all_tenants(), 'who has a capability for all tenants sees all');
SELECT is(cardinality(hotswap.seen_tenants()), 101, 'the default one is among them');
SELECT ok(hotswap.sees_tenant(md5('8')::uuid), 'each');
SELECT ok(NOT hotswap.sees_tenant(gen_random_uuid()), 'but none that there is not');
SELECT cmp_ok(rows_read(:'newest'), '<=', 20::numeric, 'the newest are read, and no others');
SELECT cmp_ok(rows_read(:'failed'), '<=', 12000::numeric, 'those that failed from the newest on');
SELECT is_empty(format('SELECT FROM plan_of(%L) l WHERE l ~ ''Seq Scan on deployment''', :'newest'),
	'the table is not read as a whole');
SELECT cmp_ok(rows_read(:'one'), '<=', 1::numeric, 'a deployment is found by its id');
SELECT is((SELECT count(*) FROM hotswap.deployments), 20000::bigint, 'all are there');
PREPARE counted AS SELECT count(*) FROM hotswap.deployments;
SET plan_cache_mode = force_generic_plan;
EXECUTE counted \g /dev/null
RESET ROLE;
SELECT results_eq('SELECT id FROM hotswap.deployments ORDER BY requested_at DESC LIMIT 20',
	'SELECT id FROM hotswap.deployment ORDER BY requested_at DESC LIMIT 20',
	'the newest are those');

-- When somebody asks who sees one tenant, even with the plan of somebody else.
SET ROLE hotswap_test_all_tenants_vera;
SELECT ok(NOT hotswap.sees_all_tenants(), 'who sees one does not see all');
SELECT is(hotswap.seen_tenants(), ARRAY[md5('7')::uuid], 'but the one');
SELECT ok(NOT hotswap.sees_tenant(md5('8')::uuid), 'and no other');
SELECT results_eq('EXECUTE counted', 'VALUES (200::bigint)',
	'a plan of who sees all shows no more');
SELECT cmp_ok(rows_read(:'newest'), '<=', 200::numeric,
	'what the tenant has is read, and no others');
SELECT is_empty(format('SELECT FROM plan_of(%L) l WHERE l ~ ''deployment_requested|sees_''',
	:'newest'), 'the plan does not tell of a way to the others');
DEALLOCATE counted;
PREPARE counted AS SELECT count(*) FROM hotswap.deployments;
EXECUTE counted \g /dev/null
RESET ROLE;
INSERT INTO hotswap.access VALUES (NULL, 'hotswap_test_all_tenants_vera', 'viewer');
SET ROLE hotswap_test_all_tenants_vera;
SELECT results_eq('EXECUTE counted', 'VALUES (20000::bigint)', 'a plan shows what is seen later');
RESET ROLE;
RESET plan_cache_mode;

-- Given a long queue: what was requested, and one that says nothing of its deployment.
SELECT count(hotswap.deploy('m', '1', 'development')) FROM generate_series(1, 1000) \g /dev/null
SELECT id AS last FROM hotswap.deployment WHERE status = 'queued' ORDER BY id DESC LIMIT 1 \gset
UPDATE hotswap.work_item SET status = NULL, module = NULL, requested_at = NULL
	WHERE deployment_id = :'last';
VACUUM ANALYZE hotswap.work_item, hotswap.deployment;
CREATE FUNCTION looked_up() RETURNS bigint LANGUAGE sql AS $$
	SELECT pg_stat_force_next_flush();
	SELECT idx_tup_read FROM pg_stat_user_indexes
	WHERE indexrelid = 'hotswap.deployment_pkey'::regclass
$$;

-- When it is asked how it is, few deployments are looked up; the dispatcher has seen them all.
CALL until($$(SELECT a.state = 'idle' AND a.wait_event_type = 'Extension' FROM pg_stat_activity a
	JOIN hotswap.workers w USING (pid) WHERE w.kind = 'dispatcher'
	AND w.database = current_database())$$);
SELECT looked_up() \g /dev/null
SELECT looked_up() AS before \gset
SELECT matches((SELECT detail FROM hotswap.health() WHERE component = 'queue'),
	'^1000 waiting or scheduled, 0 running, the oldest queued since', 'health() counts all');
SELECT is((SELECT used FROM hotswap.quotas WHERE resource = 'concurrent_deployments'
	AND tenant_id = '00000000-0000-7000-8000-000000000001'), 0::bigint, 'quotas what runs');
SELECT looked_up() \g /dev/null
SELECT cmp_ok(looked_up() - :before, '<=', 10::bigint, 'without a look at each');
SELECT is((SELECT count(*) FROM (SELECT * FROM hotswap.queue LIMIT 20) q), 20::bigint, 'a few');
SELECT looked_up() \g /dev/null
SELECT cmp_ok(looked_up() - :before, '<=', 50::bigint, 'are looked up, and no others');
SELECT is((SELECT count(*) FROM hotswap.explain(:'last')
	WHERE reason = 'another deployment goes first'), 100::bigint,
	'a hundred that go first are named');
SELECT * FROM finish();
