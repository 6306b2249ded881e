-- Tokens, and who took which lock.

CREATE FUNCTION hotswap.check_token(resource text, token bigint) RETURNS boolean
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_check_token';
COMMENT ON FUNCTION hotswap.check_token(text, bigint) IS
'Returns true if the token is that of the present (or last) holder of the named lock or lease, and raises YH002 otherwise.';
GRANT EXECUTE ON FUNCTION hotswap.check_token TO PUBLIC;

CREATE FUNCTION hotswap.lock_list(OUT key bigint, OUT resource text, OUT lease boolean, OUT pid integer,
		OUT token bigint, OUT since timestamptz) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_lock_list';
COMMENT ON FUNCTION hotswap.lock_list() IS
'For the view locks: which locks the sessions took or await in this database, as far as the current role sees their tenants. Empty without shared_preload_libraries.';
GRANT EXECUTE ON FUNCTION hotswap.lock_list TO PUBLIC;
