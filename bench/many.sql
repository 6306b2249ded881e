-- Many deployments, by plain INSERT: :finished that have ended, one in a hundred failed, in :tenants tenants and
-- the default one, which has a hundredth of them, and :queued that wait in the default tenant. The line must be
-- stopped.
INSERT INTO hotswap.tenant (id, name, status, subdomain, tier)
	SELECT md5(n::text)::uuid, 't' || n, 'active', 't' || n, 'enterprise' FROM generate_series(1, :tenants) n;
CREATE FUNCTION bare.id_of(at timestamptz, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT (lpad(to_hex((1000 * extract(epoch FROM at))::bigint), 12, '0') || '7000' || '8'
		|| lpad(to_hex(n), 15, '0'))::uuid
$$;
CREATE TEMP TABLE made AS
SELECT n, at, bare.id_of(at, n) AS id, n > :finished AS queued,
	CASE WHEN n > :finished OR n % 100 = 1 THEN '00000000-0000-7000-8000-000000000001'
		ELSE md5((1 + n % :tenants)::text)::uuid END AS tenant,
	'm' || n % :modules AS module, 'v' || n % 20 AS version
FROM (SELECT n, now() - interval '1 second' * (:finished + :queued - n) AS at
	FROM generate_series(1, :finished + :queued) n) x;
INSERT INTO hotswap.deployment (tenant_id, id, status, priority, audit_seq, requested_at, started_at, finished_at,
	audit_hash, module, version, environment, requested_by, run_by_role, login, metadata, sqlstate, message)
SELECT tenant, id, CASE WHEN queued THEN 'queued' WHEN n % 100 = 1 THEN 'failed' ELSE 'succeeded' END
	::hotswap.deployment_status, 0, 4, at, CASE WHEN NOT queued THEN at + '5 ms' END,
	CASE WHEN NOT queued THEN at + '10 ms' END, sha256(''), module, version, 'development', 'postgres', 'postgres',
	'postgres', '{}', CASE WHEN NOT queued AND n % 100 = 1 THEN '22012' END,
	CASE WHEN NOT queued AND n % 100 = 1 THEN 'division by zero' END FROM made;
INSERT INTO hotswap.stage (tenant_id, deployment_id, ordinal, kind, status, environment, started_at, finished_at)
SELECT tenant, id, 4, 'deploy', 'succeeded', 'development', at + '5 ms', at + '10 ms' FROM made WHERE NOT queued;
INSERT INTO hotswap.task (tenant_id, deployment_id, stage, ordinal, kind, status, wave, attempt, node_id, started_at,
	finished_at, steps, swap_from)
SELECT tenant, id, 4, 1, 'swap', 'succeeded', 1, 1, (SELECT id FROM hotswap.node), at + '5 ms', at + '10 ms', 1, 0
FROM made WHERE NOT queued;
INSERT INTO hotswap.work_item (tenant_id, deployment_id, due_at, priority)
SELECT tenant, id, at, 0 FROM made WHERE queued;
