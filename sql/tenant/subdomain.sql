-- Subdomains.

CREATE FUNCTION hotswap.reserve_subdomain(name text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_reserve_subdomain';
COMMENT ON FUNCTION hotswap.reserve_subdomain(text) IS
'Keeps new tenants from having a subdomain; a tenant that has it keeps it.';
GRANT EXECUTE ON FUNCTION hotswap.reserve_subdomain TO PUBLIC;

CREATE FUNCTION hotswap.unreserve_subdomain(name text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_unreserve_subdomain';
COMMENT ON FUNCTION hotswap.unreserve_subdomain(text) IS
'Takes back reserve_subdomain().';
GRANT EXECUTE ON FUNCTION hotswap.unreserve_subdomain TO PUBLIC;

CREATE FUNCTION hotswap.find_tenant(subdomain text) RETURNS uuid
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_find_tenant';
COMMENT ON FUNCTION hotswap.find_tenant(text) IS
'Returns the tenant with a subdomain, in any case of letters.';
GRANT EXECUTE ON FUNCTION hotswap.find_tenant TO PUBLIC;
