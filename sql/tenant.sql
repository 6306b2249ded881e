-- Tenants, and what hotswap knows of the installation itself.

CREATE TYPE hotswap.tenant_status AS ENUM
	('provisioning', 'active', 'suspended', 'deprovisioning', 'deleted');
COMMENT ON TYPE hotswap.tenant_status IS 'life of a tenant; only an active tenant may request deployments';

CREATE TABLE hotswap.tenant (
	id uuid NOT NULL PRIMARY KEY,
	name text NOT NULL,
	status hotswap.tenant_status NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	audit_seq integer NOT NULL DEFAULT 0,
	audit_hash bytea
);
COMMENT ON TABLE hotswap.tenant IS 'owners of modules, environments, nodes and deployments; the tenant "default" is made at the first use';
COMMENT ON COLUMN hotswap.tenant.audit_seq IS 'number of the last audit event about the tenant itself';
COMMENT ON COLUMN hotswap.tenant.audit_hash IS 'hash of that event: the head of its chain';

CREATE TABLE hotswap.installation (
	singleton boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (singleton),
	system_identifier bigint NOT NULL,
	database_oid oid NOT NULL,
	stop_reason text,
	stopped_by text,
	stopped_at timestamptz,
	audit_horizon timestamptz
);
COMMENT ON TABLE hotswap.installation IS 'which cluster and database these rows were written for (a restored copy does not dispatch until adopt()), and whether the line is stopped';
COMMENT ON COLUMN hotswap.installation.audit_horizon IS 'audit events before this time were removed by retention';

CREATE FUNCTION hotswap.adopt() RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_adopt';
COMMENT ON FUNCTION hotswap.adopt() IS
'Declares that this database may dispatch the deployments it contains. Needed once after a restore into another database or cluster and after pg_upgrade; without need it changes nothing. Writes installation and the audit log; wakes the dispatcher at commit.';

CREATE FUNCTION hotswap.stop_dispatching(reason text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_stop_dispatching';
COMMENT ON FUNCTION hotswap.stop_dispatching(text) IS
'Stops the line in this database at commit: nothing new starts, what runs ends. Survives a restart; shown by health() and explain(). reason: 1 to 10,000 characters. Errors: 22023 reason blank or NULL.';

CREATE FUNCTION hotswap.start_dispatching() RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_start_dispatching';
COMMENT ON FUNCTION hotswap.start_dispatching() IS
'Lets the line go on after stop_dispatching(). Errors: 55000 if it was not stopped.';
