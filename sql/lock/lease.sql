-- Leases.

CREATE FUNCTION hotswap.lease_lock(resource text, ttl interval, timeout interval DEFAULT NULL) RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_lease_lock';
COMMENT ON FUNCTION hotswap.lease_lock(text, interval, interval) IS
'Takes a lease, a lock that ends after ttl unless it is renewed, waiting at most timeout (NULL: no limit), and returns its token; NULL when the time is over.';
GRANT EXECUTE ON FUNCTION hotswap.lease_lock TO PUBLIC;

CREATE PROCEDURE hotswap.await_lease(resource text, ttl interval, timeout interval DEFAULT NULL, INOUT token bigint DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'hotswap_await_lease';
COMMENT ON PROCEDURE hotswap.await_lease(text, interval, interval, bigint) IS
'Like lease_lock(), without keeping a snapshot while it waits: for long waits, and beside indexes that are built concurrently. Not inside a transaction block.';
GRANT EXECUTE ON PROCEDURE hotswap.await_lease TO PUBLIC;

CREATE FUNCTION hotswap.renew_lease(resource text, token bigint, ttl interval) RETURNS timestamptz
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_renew_lease';
COMMENT ON FUNCTION hotswap.renew_lease(text, bigint, interval) IS
'Lets a lease end ttl from now, and returns that time.';
GRANT EXECUTE ON FUNCTION hotswap.renew_lease TO PUBLIC;

CREATE FUNCTION hotswap.release_lease(resource text, token bigint) RETURNS boolean
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_release_lease';
COMMENT ON FUNCTION hotswap.release_lease(text, bigint) IS
'Ends a lease, and wakes at commit who waits for it; returns false if it was over already or somebody else''s.';
GRANT EXECUTE ON FUNCTION hotswap.release_lease TO PUBLIC;
