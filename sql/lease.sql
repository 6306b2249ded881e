-- Leases, and the view of all locks.

CREATE TABLE hotswap.lease (
	tenant_id uuid NOT NULL,
	resource text NOT NULL,
	token bigint NOT NULL,
	acquired_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	holder text NOT NULL,
	role name NOT NULL,
	pid integer NOT NULL,
	application_name text NOT NULL,
	PRIMARY KEY (tenant_id, resource)
) WITH (fillfactor = 50);
COMMENT ON TABLE hotswap.lease IS 'leases that are not over; a row is removed when its lease ends. expires_at is not indexed, so that a renewal updates the row in place';
COMMENT ON COLUMN hotswap.lease.holder IS 'login role of the session that took it';
COMMENT ON COLUMN hotswap.lease.pid IS 'server process of that session; behind a pooler it may serve others by now';

CREATE FUNCTION hotswap.lease_lock(resource text, ttl interval, timeout interval DEFAULT NULL) RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_lease_lock';
COMMENT ON FUNCTION hotswap.lease_lock(text, interval, interval) IS
'Takes a lease: a lock that is a row, belongs to whoever knows its token, and ends after ttl unless it is renewed. It does not depend on a session, so it survives a pooler, and a restart. Counts when the transaction commits. Returns the token, larger than any given before in this database, or NULL when the time is over. Waits without polling. It cannot be taken twice, and does not exclude acquire_lock() of the same name. Leases belong to the tenant of the setting hotswap.tenant. resource: 1 to 255 characters. ttl: positive. timeout: NULL waits without limit, zero tries once. Errors: 22023 bad argument; 55000 it has to wait and the lease is the transaction''s own, the isolation level is not READ COMMITTED, or hotswap is not in shared_preload_libraries; 40001 REPEATABLE READ and taken after the snapshot; 40P01, 55P03, 57014 as for any lock; 25006 read-only. Writes lease.';

CREATE FUNCTION hotswap.renew_lease(resource text, token bigint, ttl interval) RETURNS timestamptz
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_renew_lease';
COMMENT ON FUNCTION hotswap.renew_lease(text, bigint, interval) IS
'Lets a lease end ttl from now, and returns that time. Errors: 22023 bad argument, YH002 the lease is over or somebody else''s, 25006 read-only. Writes lease.';

CREATE FUNCTION hotswap.release_lease(resource text, token bigint) RETURNS boolean
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_release_lease';
COMMENT ON FUNCTION hotswap.release_lease(text, bigint) IS
'Ends a lease, and wakes at commit who waits for it. Returns false if it was over already or somebody else''s. Errors: 22023 bad argument, 25006 read-only. Writes lease.';

CREATE VIEW hotswap.locks WITH (security_barrier) AS
WITH h AS MATERIALIZED (SELECT * FROM hotswap.lock_list()),
	n AS (SELECT h.key, pg_catalog.max(h.resource) AS resource FROM h WHERE NOT h.lease GROUP BY h.key),
	l AS (SELECT (p.classid::bigint << 32) | p.objid::bigint AS key, p.mode, p.granted, p.waitstart, p.pid
		FROM pg_catalog.pg_locks p
		WHERE p.locktype = 'advisory' AND p.objsubid = 1
		AND p.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
SELECT n.resource, l.key, 'lock' AS kind,
	CASE l.mode WHEN 'ExclusiveLock' THEN 'exclusive' ELSE 'shared' END AS mode,
	CASE WHEN l.granted THEN 'held' ELSE 'waiting' END AS state,
	CASE WHEN l.granted THEN h.since ELSE l.waitstart END AS since,
	NULL::timestamptz AS expires_at, l.pid, a.usename AS role, a.application_name,
	CASE WHEN l.granted THEN h.token END AS token,
	CASE WHEN l.granted THEN '{}' ELSE pg_catalog.pg_blocking_pids(l.pid) END AS blocked_by
FROM l
	LEFT JOIN n ON n.key = l.key
	LEFT JOIN h ON h.key = l.key AND h.pid = l.pid AND NOT h.lease
	LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
UNION ALL
SELECT e.resource, hotswap.lock_key(e.resource), 'lease', 'exclusive', 'held', e.acquired_at, e.expires_at,
	e.pid, e.role, e.application_name, e.token, '{}'
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.lease e ON e.tenant_id = v.tenant_id
WHERE e.expires_at > pg_catalog.clock_timestamp()
UNION ALL
SELECT i.resource, i.key, 'lease', 'exclusive', 'waiting', i.since, NULL, i.pid, a.usename,
	a.application_name, NULL,
	ARRAY(SELECT e.pid FROM hotswap.visible_tenants() v (tenant_id)
		JOIN hotswap.lease e ON e.tenant_id = v.tenant_id WHERE e.resource = i.resource)
FROM h i
	LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = i.pid
WHERE i.lease;
COMMENT ON VIEW hotswap.locks IS 'advisory locks and leases of this database: who has them, who waits and for whom; resource is NULL where nobody took the lock by its name, or only for a tenant that the current role does not see';
