-- Removing many deployments does not walk through what was removed just now, though a snapshot
-- keeps it in the indexes (src/operations/retention.c).
SELECT plan(4);
SET client_min_messages = error;
SELECT hotswap.register_node('development', 'n', run_as => current_user::regrole),
	hotswap.publish_version('m', '1', 'SELECT 1') \g /dev/null
CALL hotswap.work();
INSERT INTO hotswap.tenant (id, name, status, subdomain)
	SELECT md5(n::text)::uuid, 't' || n, 'active', 't' || n FROM generate_series(1, 3) n;
INSERT INTO hotswap.deployment (tenant_id, id, status, priority, audit_seq, requested_at,
	finished_at, audit_hash, module, version, environment, requested_by, run_by_role, login,
	metadata)
SELECT md5((1 + n % 3)::text)::uuid,
	('01000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'succeeded', 0, 1,
	'2020-01-01', '2020-01-01', sha256(''), 'm', '1', 'development', 'x', 'x', 'x', '{}'
FROM generate_series(1, 6000) n;
VACUUM ANALYZE hotswap.deployment;
CREATE FUNCTION entries_read() RETURNS bigint LANGUAGE sql AS $$
	SELECT pg_stat_force_next_flush();
	SELECT idx_tup_read FROM pg_stat_user_indexes
	WHERE indexrelid = 'hotswap.deployment_pkey'::regclass
$$;
SELECT dblink_connect('s', connection_of(current_user)) \g /dev/null
SELECT dblink_exec('s', 'BEGIN ISOLATION LEVEL REPEATABLE READ') \g /dev/null
SELECT r FROM dblink('s', 'SELECT count(*)::int FROM hotswap.deployment') d (r int) \g /dev/null
SELECT entries_read() \g /dev/null
SELECT entries_read() AS before \gset

-- When hotswap keeps house.
CALL hotswap.work();
SELECT is((SELECT count(*) FROM hotswap.deployment), 0::bigint, 'all are gone');
SELECT is((SELECT r FROM dblink('s', 'SELECT count(*)::int FROM hotswap.deployment') d (r int)),
	6000, 'for whoever has no snapshot from before');
SELECT entries_read() \g /dev/null
SELECT cmp_ok(entries_read() - :before, '>=', 6000::bigint, 'each was found');
SELECT cmp_ok(entries_read() - :before, '<', 100000::bigint, 'and read a few times');
SELECT dblink_exec('s', 'COMMIT') \g /dev/null
SELECT * FROM finish();
