-- Who may do what: roles and their capabilities in a tenant.

CREATE TYPE hotswap.capability AS ENUM ('approver', 'break_glass', 'impersonator', 'admin');
COMMENT ON TYPE hotswap.capability IS
'approver: votes on approvals; break_glass: bypasses them; impersonator: speaks for other persons (on_behalf_of); admin: sets policies and grants access. Members of the role that owns the extension have all of them.';

CREATE TABLE hotswap.access (
	tenant_id uuid NOT NULL REFERENCES hotswap.tenant,
	role regrole NOT NULL,
	capability hotswap.capability NOT NULL,
	PRIMARY KEY (tenant_id, capability, role)
);
COMMENT ON TABLE hotswap.access IS 'capabilities of roles; members of a role have them too';

CREATE FUNCTION hotswap.grant_access(role regrole, capability text, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_grant_access';
COMMENT ON FUNCTION hotswap.grant_access(regrole, text, uuid) IS
'Gives a role, and with it its members, a capability in a tenant: approver, break_glass, impersonator or admin; again it changes nothing. Only for those who have admin. Errors: 22023 bad argument, P0002 no such role or tenant, 42501 not allowed, YH003 tenant not active. Locks the tenant row; audited.';

CREATE FUNCTION hotswap.revoke_access(role regrole, capability text, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_revoke_access';
COMMENT ON FUNCTION hotswap.revoke_access(regrole, text, uuid) IS
'Takes a capability back that grant_access() gave. Votes that were cast with it count no more. Only for those who have admin. Errors: 22023 bad argument, P0002 no such grant or tenant, 42501 not allowed, YH003 tenant not active. Locks the tenant row; audited.';
