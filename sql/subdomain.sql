-- Subdomains that no tenant can have.

CREATE TABLE hotswap.reserved_subdomain (
	name text NOT NULL PRIMARY KEY
);
COMMENT ON TABLE hotswap.reserved_subdomain IS 'subdomains that no new tenant gets; the usual ones are made at the first use';
