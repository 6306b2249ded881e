-- Who may do what: roles and their capabilities in a tenant, or in all of them.

CREATE TYPE hotswap.capability AS ENUM
	('viewer', 'agent', 'deployer', 'approver', 'operator', 'break_glass', 'impersonator', 'admin');
COMMENT ON TYPE hotswap.capability IS
'viewer: sees the tenant; agent: an application or another process outside, which takes locks, leases, idempotency keys and notifications; deployer: publishes versions, requests, cancels and retries deployments, and what an agent may; operator: nodes, hooks, and what a deployer may; approver: votes on approvals; break_glass: bypasses them; impersonator: speaks for other persons (on_behalf_of); admin: environments, policies, access, and what an operator may. All see the tenant. Whoever has the privileges of the role that owns the extension has all of them.';

CREATE TABLE hotswap.access (
	tenant_id uuid REFERENCES hotswap.tenant,
	role regrole NOT NULL,
	capability hotswap.capability NOT NULL,
	UNIQUE NULLS NOT DISTINCT (tenant_id, capability, role)
);
COMMENT ON TABLE hotswap.access IS 'capabilities of roles; who has the privileges of a role has them too';
COMMENT ON COLUMN hotswap.access.tenant_id IS 'NULL: for all tenants';

CREATE FUNCTION hotswap.access_changed() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_access_changed';
COMMENT ON FUNCTION hotswap.access_changed() IS
'Trigger that tells all sessions, at commit, to ask the tables again who may do what.';
CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON hotswap.access
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
COMMENT ON TRIGGER access_changed ON hotswap.access IS 'a capability is given or taken';
CREATE TRIGGER access_changed AFTER INSERT OR DELETE OR TRUNCATE ON hotswap.tenant
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
COMMENT ON TRIGGER access_changed ON hotswap.tenant IS 'those who have something in all tenants see one more';

CREATE FUNCTION hotswap.grant_access(role regrole, capability text, tenant uuid DEFAULT NULL,
		all_tenants boolean DEFAULT false) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_grant_access';
COMMENT ON FUNCTION hotswap.grant_access(regrole, text, uuid, boolean) IS
'Gives a role, and who has its privileges, a capability in a tenant: viewer, agent, deployer, approver, operator, break_glass, impersonator or admin; again it changes nothing. all_tenants: in all of them, future ones too; tenant must be NULL then. Only for those who have admin there. Errors: 22023 bad argument, P0002 no such role or tenant, 42501 not allowed, YH003 the tenant is deprovisioning or deleted. Locks the tenant row; audited.';

CREATE FUNCTION hotswap.revoke_access(role regrole, capability text, tenant uuid DEFAULT NULL,
		all_tenants boolean DEFAULT false) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_revoke_access';
COMMENT ON FUNCTION hotswap.revoke_access(regrole, text, uuid, boolean) IS
'Takes a capability back that grant_access() gave with the same arguments; at commit it is gone for all sessions. Votes that were cast with it count no more. Only for those who have admin there. Errors: 22023 bad argument, P0002 no such grant or tenant, 42501 not allowed, YH003 the tenant is deprovisioning or deleted. Locks the tenant row; audited.';

CREATE FUNCTION hotswap.visible_tenants_support(internal) RETURNS internal
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_visible_tenants_support';
COMMENT ON FUNCTION hotswap.visible_tenants_support(internal) IS
'Tells the planner how many rows visible_tenants() returns.';

CREATE FUNCTION hotswap.visible_tenants() RETURNS SETOF uuid
	LANGUAGE c STABLE PARALLEL UNSAFE SUPPORT hotswap.visible_tenants_support
	AS 'MODULE_PATHNAME', 'hotswap_visible_tenants';
COMMENT ON FUNCTION hotswap.visible_tenants() IS
'The tenants that the current role sees: those in which it has a capability, may vote by the policy of an environment, or was lent a vote. Every view joins it.';
