-- Who may do what: capabilities of roles in a tenant, or in all of them.

CREATE FUNCTION hotswap.grant_access(role regrole, capability text, tenant uuid DEFAULT NULL,
		all_tenants boolean DEFAULT false) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_grant_access';
COMMENT ON FUNCTION hotswap.grant_access(regrole, text, uuid, boolean) IS
'Gives a role, and who has its privileges, a capability in a tenant (NULL: the session''s) or, with all_tenants, in all of them, future ones too.';
GRANT EXECUTE ON FUNCTION hotswap.grant_access TO PUBLIC;

CREATE FUNCTION hotswap.revoke_access(role regrole, capability text, tenant uuid DEFAULT NULL,
		all_tenants boolean DEFAULT false) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_revoke_access';
COMMENT ON FUNCTION hotswap.revoke_access(regrole, text, uuid, boolean) IS
'Takes back a capability that grant_access() gave with the same arguments; at commit it is gone for all sessions.';
GRANT EXECUTE ON FUNCTION hotswap.revoke_access TO PUBLIC;
