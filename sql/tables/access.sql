-- Capabilities of roles in a tenant, or in all of them.

CREATE TYPE hotswap.capability AS ENUM
	('viewer', 'agent', 'deployer', 'approver', 'operator', 'break_glass', 'impersonator', 'admin',
	'tester');
COMMENT ON TYPE hotswap.capability IS
'what a role may do in a tenant, each with what it includes: see grant_access()';

CREATE TABLE hotswap.access (
	tenant_id uuid,
	role regrole NOT NULL,
	capability hotswap.capability NOT NULL,
	UNIQUE NULLS NOT DISTINCT (tenant_id, capability, role)
);
-- A key would need a tenant in every row. Logical replication needs to know which row is deleted.
ALTER TABLE hotswap.access REPLICA IDENTITY FULL;
COMMENT ON TABLE hotswap.access IS 'capabilities of roles; who has the privileges of a role has them too';
COMMENT ON COLUMN hotswap.access.tenant_id IS 'NULL: for all tenants';
SELECT pg_catalog.pg_extension_config_dump('hotswap.access', '');
