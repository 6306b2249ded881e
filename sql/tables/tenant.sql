-- Tenants, tiers and quotas, and what hotswap knows of the installation itself.

CREATE TABLE hotswap.tier (
	name text NOT NULL PRIMARY KEY,
	rank integer NOT NULL UNIQUE CHECK (rank BETWEEN 1 AND 1000),
	weight integer NOT NULL CHECK (weight BETWEEN 1 AND 1000),
	monthly_price_cents integer NOT NULL CHECK (monthly_price_cents >= 0)
);
COMMENT ON TABLE hotswap.tier IS 'what tenants can subscribe to, in rank order; the usual ones are made at the first use';
COMMENT ON COLUMN hotswap.tier.weight IS 'share of the executors that a tenant of this tier gets while others wait as well';
SELECT pg_catalog.pg_extension_config_dump('hotswap.tier', '');

CREATE TABLE hotswap.resource (
	name text NOT NULL PRIMARY KEY,
	counted boolean NOT NULL
);
COMMENT ON TABLE hotswap.resource IS 'what can be limited';
COMMENT ON COLUMN hotswap.resource.counted IS 'hotswap counts it itself; otherwise consume_quota() and release_quota() do';
SELECT pg_catalog.pg_extension_config_dump('hotswap.resource', '');

CREATE TABLE hotswap.tier_quota (
	tier text NOT NULL,
	resource text NOT NULL,
	amount bigint NOT NULL CHECK (amount >= 0),
	PRIMARY KEY (tier, resource)
);
COMMENT ON TABLE hotswap.tier_quota IS 'how much a tier gives; without a row: unlimited';
SELECT pg_catalog.pg_extension_config_dump('hotswap.tier_quota', '');

CREATE TABLE hotswap.reserved_subdomain (
	name text NOT NULL PRIMARY KEY
);
COMMENT ON TABLE hotswap.reserved_subdomain IS 'subdomains that no new tenant gets; the usual ones are made at the first use';
SELECT pg_catalog.pg_extension_config_dump('hotswap.reserved_subdomain', '');

CREATE TYPE hotswap.tenant_status AS ENUM
	('provisioning', 'active', 'suspended', 'deprovisioning', 'deleted');
COMMENT ON TYPE hotswap.tenant_status IS 'life of a tenant; only an active tenant may request deployments';

CREATE TABLE hotswap.tenant (
	id uuid NOT NULL PRIMARY KEY,
	name text NOT NULL,
	status hotswap.tenant_status NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	audit_seq integer NOT NULL DEFAULT 0,
	audit_hash bytea,
	tier text NOT NULL DEFAULT 'free',
	subdomain text UNIQUE,
	contact_email text,
	metadata jsonb NOT NULL DEFAULT '{}',
	status_reason text,
	status_changed_at timestamptz NOT NULL DEFAULT pg_catalog.now()
) WITH (fillfactor = 70);
COMMENT ON TABLE hotswap.tenant IS 'owners of modules, environments, nodes and deployments; the tenant "default" is made at the first use';
COMMENT ON COLUMN hotswap.tenant.subdomain IS 'lower case; NULL: it has none, as the tenant "default" and those that are deleted';
COMMENT ON COLUMN hotswap.tenant.status_reason IS 'why it is suspended or was deprovisioned';
COMMENT ON COLUMN hotswap.tenant.audit_seq IS 'number of the last audit event about the tenant itself';
COMMENT ON COLUMN hotswap.tenant.audit_hash IS 'hash of that event: the head of its chain';
SELECT pg_catalog.pg_extension_config_dump('hotswap.tenant', '');

CREATE TABLE hotswap.quota (
	tenant_id uuid NOT NULL,
	resource text NOT NULL,
	amount bigint CHECK (amount >= 0),
	PRIMARY KEY (tenant_id, resource)
);
COMMENT ON TABLE hotswap.quota IS 'a tenant''s own quotas, in place of those of its tier';
COMMENT ON COLUMN hotswap.quota.amount IS 'NULL: unlimited';
SELECT pg_catalog.pg_extension_config_dump('hotswap.quota', '');

CREATE TABLE hotswap.quota_usage (
	tenant_id uuid NOT NULL,
	resource text NOT NULL,
	used bigint NOT NULL CHECK (used >= 0),
	PRIMARY KEY (tenant_id, resource)
) WITH (fillfactor = 50);
COMMENT ON TABLE hotswap.quota_usage IS 'what was consumed and not released; resources that hotswap counts itself have no row';
SELECT pg_catalog.pg_extension_config_dump('hotswap.quota_usage', '');

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
SELECT pg_catalog.pg_extension_config_dump('hotswap.installation', '');
