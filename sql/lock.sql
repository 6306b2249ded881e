-- Named locks and tokens.

CREATE SEQUENCE hotswap.token_seq AS bigint MAXVALUE 9007199254740991;
COMMENT ON SEQUENCE hotswap.token_seq IS 'tokens: each value stands for 1024 of them, the first of which is 1024 times the value';

CREATE FUNCTION hotswap.lock_key(resource text) RETURNS bigint
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'hotswap_lock_key';
COMMENT ON FUNCTION hotswap.lock_key(text) IS
'The key of the advisory lock that stands for a resource: the first 8 bytes of the SHA-256 of its name, least significant first, signed. pg_advisory_lock(hotswap.lock_key(''x'')) and hotswap.acquire_lock(''x'') are the same lock. resource: 1 to 255 characters. Errors: 22023 bad resource.';

CREATE FUNCTION hotswap.acquire_lock(resource text, timeout interval DEFAULT NULL, shared boolean DEFAULT false) RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_acquire_lock';
COMMENT ON FUNCTION hotswap.acquire_lock(text, interval, boolean) IS
'Takes a named lock for the session, waiting without polling, and returns its token, larger than any given before in this database; NULL when the time is over. The lock is an ordinary session-level advisory lock on lock_key(resource): it outlives transactions and rollbacks, can be taken again and must then be released as often, and is freed at the end of the session. resource: 1 to 255 characters. timeout: NULL waits without limit, zero tries once. shared: beside other shared holders. The session''s lock_timeout and statement_timeout apply as well. Errors: 22023 bad argument, 40P01 deadlock, 55P03 lock_timeout of the session, 57014 cancelled or statement_timeout, 53200 no room for another lock, 25006 on a standby. Writes no table.';

CREATE FUNCTION hotswap.acquire_xact_lock(resource text, timeout interval DEFAULT NULL, shared boolean DEFAULT false) RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_acquire_xact_lock';
COMMENT ON FUNCTION hotswap.acquire_xact_lock(text, interval, boolean) IS
'Like acquire_lock(), but the lock is freed at the end of the transaction, or when it is rolled back to a savepoint before the call. The right one behind a pooler in transaction mode. Errors: as acquire_lock(). Writes no table.';

CREATE FUNCTION hotswap.acquire_locks(resources text[], timeout interval DEFAULT NULL, shared boolean DEFAULT false) RETURNS bigint[]
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_acquire_locks';
COMMENT ON FUNCTION hotswap.acquire_locks(text[], interval, boolean) IS
'Takes several named locks for the session, all of them or none, and returns their tokens in the order of the names; NULL when the time was over before all were free. They are taken in the order of their keys, so two calls cannot deadlock with each other. A name that occurs twice is taken once. resources: at most 10,000. timeout: for all together. Errors: as acquire_lock(); none of the locks is kept then. Writes no table.';

CREATE FUNCTION hotswap.release_lock(resource text, shared boolean DEFAULT false) RETURNS boolean
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_release_lock';
COMMENT ON FUNCTION hotswap.release_lock(text, boolean) IS
'Releases a named lock of the session once, and returns true; false if the session does not have it in this mode. A lock of the transaction cannot be released. Errors: 22023 bad argument.';

CREATE FUNCTION hotswap.release_all_locks() RETURNS integer
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_release_all_locks';
COMMENT ON FUNCTION hotswap.release_all_locks() IS
'Releases every named lock that the session has taken with acquire_lock() or acquire_locks(), however often, and returns how many locks that were. Advisory locks that were taken otherwise stay.';

CREATE FUNCTION hotswap.check_token(resource text, token bigint) RETURNS boolean
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_check_token';
COMMENT ON FUNCTION hotswap.check_token(text, bigint) IS
'Returns true if the token is that of the present (or last) holder of the named lock or lease, and raises YH002 otherwise: a newer one has been given out, the lease is over, or nothing is known of the token any more (after a restart, where the lock is lost). Those who share a lock do not make each other''s tokens stale. If the token is that of a lease, nobody else gets the lease before the transaction ends. Errors: 22023 bad argument, YH002 stale token, 55000 token of a lock on a server without shared_preload_libraries.';

CREATE FUNCTION hotswap.lock_list(OUT key bigint, OUT resource text, OUT lease boolean, OUT pid integer,
		OUT token bigint, OUT since timestamptz) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_lock_list';
COMMENT ON FUNCTION hotswap.lock_list() IS
'What sessions that act for a tenant which the current role sees said about the locks that they took or await in this database; it may be out of date. Empty without shared_preload_libraries. See the view locks.';
