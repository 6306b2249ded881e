-- Deployments that have ended, by plain INSERT, older than two days: one in a hundred has failed, and belongs to the
-- default tenant; the others to :tenants more. bare.id_of() makes their ids.
INSERT INTO hotswap.tenant (id, name, status, subdomain, tier)
	SELECT md5(n::text)::uuid, 't' || n, 'active', 't' || n, 'enterprise' FROM generate_series(1, :tenants) n;
CREATE FUNCTION bare.id_of(at timestamptz, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT (lpad(to_hex((1000 * extract(epoch FROM at))::bigint), 12, '0') || '70008'
		|| lpad(to_hex(n), 15, '0'))::uuid
$$;
CREATE TEMP TABLE made AS
SELECT x.at, bare.id_of(x.at, x.n) AS id, x.n % 100 = 1 AS failed, 'm' || x.n % :modules AS module,
	'v' || x.n % 20 AS version, CASE WHEN x.n % 100 = 1 THEN '00000000-0000-7000-8000-000000000001'
		ELSE md5((1 + x.n % :tenants)::text)::uuid END AS tenant
FROM (SELECT n, now() - interval '2 d' - interval '1 s' * (:finished - n) AS at
	FROM generate_series(1, :finished) n) x;
INSERT INTO hotswap.deployment (tenant_id, id, status, priority, audit_seq, requested_at, started_at, finished_at,
	audit_hash, module, version, environment, requested_by, run_by_role, login, metadata, sqlstate, message)
SELECT tenant, id, CASE WHEN failed THEN 'failed' ELSE 'succeeded' END::hotswap.deployment_status, 0, 4, at,
	at + '5 ms', at + '10 ms', sha256(''), module, version, 'development', 'postgres', 'postgres', 'postgres', '{}',
	CASE WHEN failed THEN '22012' END, CASE WHEN failed THEN 'division by zero' END FROM made;
INSERT INTO hotswap.stage (tenant_id, deployment_id, ordinal, kind, status, environment, started_at, finished_at)
SELECT tenant, id, 4, 'deploy', CASE WHEN failed THEN 'failed' ELSE 'succeeded' END::hotswap.stage_status,
	'development', at + '5 ms', at + '10 ms' FROM made;
INSERT INTO hotswap.task (tenant_id, deployment_id, stage, ordinal, kind, status, wave, attempt, node_id, started_at,
	finished_at, steps, swap_from)
SELECT tenant, id, 4, 1, 'swap', CASE WHEN failed THEN 'failed' ELSE 'succeeded' END::hotswap.task_status, 1, 1,
	(SELECT id FROM hotswap.node), at + '5 ms', at + '10 ms', 1, 0 FROM made;
VACUUM ANALYZE hotswap.deployment, hotswap.stage, hotswap.task, hotswap.tenant;
