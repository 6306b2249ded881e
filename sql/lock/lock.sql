-- Named locks, and the view of all locks and leases.

CREATE FUNCTION hotswap.lock_key(resource text) RETURNS bigint
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'hotswap_lock_key';
COMMENT ON FUNCTION hotswap.lock_key(text) IS
'Returns the key of the advisory lock that stands for a resource: the first 8 bytes of the SHA-256 of its name, least significant first, signed.';
GRANT EXECUTE ON FUNCTION hotswap.lock_key TO PUBLIC;

CREATE FUNCTION hotswap.acquire_lock(resource text, timeout interval DEFAULT NULL, shared boolean DEFAULT false) RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_acquire_lock';
COMMENT ON FUNCTION hotswap.acquire_lock(text, interval, boolean) IS
'Takes a named lock for the session, waiting at most timeout (NULL: no limit), and returns its token, larger than any before; NULL when the time is over.';
GRANT EXECUTE ON FUNCTION hotswap.acquire_lock TO PUBLIC;

CREATE FUNCTION hotswap.acquire_xact_lock(resource text, timeout interval DEFAULT NULL, shared boolean DEFAULT false) RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_acquire_xact_lock';
COMMENT ON FUNCTION hotswap.acquire_xact_lock(text, interval, boolean) IS
'Like acquire_lock(), but the lock is freed at the end of the transaction: the right one behind a pooler in transaction mode.';
GRANT EXECUTE ON FUNCTION hotswap.acquire_xact_lock TO PUBLIC;

CREATE FUNCTION hotswap.acquire_locks(resources text[], timeout interval DEFAULT NULL, shared boolean DEFAULT false) RETURNS bigint[]
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_acquire_locks';
COMMENT ON FUNCTION hotswap.acquire_locks(text[], interval, boolean) IS
'Takes several named locks for the session, all or none, and returns their tokens in the order of the names; NULL when the time is over.';
GRANT EXECUTE ON FUNCTION hotswap.acquire_locks TO PUBLIC;

CREATE PROCEDURE hotswap.await_lock(resource text, timeout interval DEFAULT NULL, shared boolean DEFAULT false, INOUT token bigint DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'hotswap_await_lock';
COMMENT ON PROCEDURE hotswap.await_lock(text, interval, boolean, bigint) IS
'Like acquire_lock(), without keeping a snapshot while it waits: for long waits, and beside indexes that are built concurrently. Not inside a transaction block.';
GRANT EXECUTE ON PROCEDURE hotswap.await_lock TO PUBLIC;

CREATE FUNCTION hotswap.release_lock(resource text, shared boolean DEFAULT false) RETURNS boolean
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_release_lock';
COMMENT ON FUNCTION hotswap.release_lock(text, boolean) IS
'Releases a named lock of the session once, and returns true; false if the session does not have it in this mode.';
GRANT EXECUTE ON FUNCTION hotswap.release_lock TO PUBLIC;

CREATE FUNCTION hotswap.release_all_locks() RETURNS integer
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_release_all_locks';
COMMENT ON FUNCTION hotswap.release_all_locks() IS
'Releases every named lock that the session has taken with acquire_lock() or acquire_locks(), and returns how many locks that were.';
GRANT EXECUTE ON FUNCTION hotswap.release_all_locks TO PUBLIC;

CREATE VIEW hotswap.locks WITH (security_barrier) AS
WITH h AS MATERIALIZED (SELECT * FROM hotswap.lock_list()),
	n AS (SELECT h.key, pg_catalog.max(h.resource) AS resource FROM h WHERE NOT h.lease GROUP BY h.key),
	l AS (SELECT (p.classid::bigint << 32) | p.objid::bigint AS key, p.mode, p.granted, p.waitstart, p.pid
		FROM pg_catalog.pg_locks p
		WHERE p.locktype = 'advisory' AND p.objsubid = 1
		AND p.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())),
	e AS MATERIALIZED (SELECT o.* FROM hotswap.visible_tenants() v (tenant_id)
		CROSS JOIN LATERAL (SELECT DISTINCT ON (t.resource) t.* FROM hotswap.lease t
			WHERE t.tenant_id = v.tenant_id OFFSET 0) o)
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
FROM e
WHERE e.expires_at > pg_catalog.clock_timestamp()
UNION ALL
SELECT i.resource, i.key, 'lease', 'exclusive', 'waiting', i.since, NULL, i.pid, a.usename,
	a.application_name, NULL,
	ARRAY(SELECT e.pid FROM e WHERE e.resource = i.resource)
FROM h i
	LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = i.pid
WHERE i.lease;
COMMENT ON VIEW hotswap.locks IS 'advisory locks and leases of this database: who has them, who waits and for whom; resource is NULL where nobody took the lock by its name, or only for a tenant that the current role does not see';
GRANT SELECT ON hotswap.locks TO PUBLIC;
