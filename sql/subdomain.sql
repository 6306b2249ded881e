-- Subdomains that no tenant can have.

CREATE TABLE hotswap.reserved_subdomain (
	name text NOT NULL PRIMARY KEY
);
COMMENT ON TABLE hotswap.reserved_subdomain IS 'subdomains that no new tenant gets; the usual ones are made at the first use';

CREATE FUNCTION hotswap.reserve_subdomain(name text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_reserve_subdomain';
COMMENT ON FUNCTION hotswap.reserve_subdomain(text) IS
'Keeps new tenants from having a subdomain; a tenant that has it keeps it. name: as in create_tenant(); one that is reserved already changes nothing. Only for those who have admin everywhere. Errors: 22023 bad argument, 42501 not allowed. Locks the installation; audited.';

CREATE FUNCTION hotswap.unreserve_subdomain(name text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_unreserve_subdomain';
COMMENT ON FUNCTION hotswap.unreserve_subdomain(text) IS
'Takes back reserve_subdomain(). Only for those who have admin everywhere. Errors: 22023 bad argument, 42501 not allowed, P0002 it is not reserved. Locks the installation; audited.';

CREATE FUNCTION hotswap.find_tenant(subdomain text) RETURNS uuid
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_find_tenant';
COMMENT ON FUNCTION hotswap.find_tenant(text) IS
'The tenant with a subdomain, in any case of letters. Errors: 22023 not a subdomain, P0002 there is none that the caller may see. Locks nothing.';
