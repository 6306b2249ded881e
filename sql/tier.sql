-- Tiers, the resources that can be limited, and how much of each a tier gives.

CREATE TABLE hotswap.tier (
	name text NOT NULL PRIMARY KEY,
	rank integer NOT NULL UNIQUE CHECK (rank BETWEEN 1 AND 1000),
	weight integer NOT NULL CHECK (weight BETWEEN 1 AND 1000),
	monthly_price_cents integer NOT NULL CHECK (monthly_price_cents >= 0)
);
COMMENT ON TABLE hotswap.tier IS 'what tenants can subscribe to, in rank order; the usual ones are made at the first use';
COMMENT ON COLUMN hotswap.tier.weight IS 'share of the executors that a tenant of this tier gets while others wait as well';

CREATE TABLE hotswap.resource (
	name text NOT NULL PRIMARY KEY,
	counted boolean NOT NULL
);
COMMENT ON TABLE hotswap.resource IS 'what can be limited';
COMMENT ON COLUMN hotswap.resource.counted IS 'hotswap counts it itself; otherwise consume_quota() and release_quota() do';

CREATE TABLE hotswap.tier_quota (
	tier text NOT NULL REFERENCES hotswap.tier,
	resource text NOT NULL REFERENCES hotswap.resource,
	amount bigint NOT NULL CHECK (amount >= 0),
	PRIMARY KEY (tier, resource)
);
COMMENT ON TABLE hotswap.tier_quota IS 'how much a tier gives; without a row: unlimited';

CREATE FUNCTION hotswap.configure_tier(name text, rank integer DEFAULT NULL, weight integer DEFAULT NULL,
		monthly_price_cents integer DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_configure_tier';
COMMENT ON FUNCTION hotswap.configure_tier(text, integer, integer, integer) IS
'Changes a tier, or makes it when rank is given and it does not exist; a new one limits nothing until set_tier_quota(). name: 1 to 63 characters, letters, digits and . _ + -; rank: 1 to 1000, unique, upgrades go up; weight: 1 to 1000, its tenants'' share of the executors, a new one''s 1; monthly_price_cents: not negative, a new one''s 0; NULL leaves what is there. Only for those who have admin everywhere. Errors: 22023 bad argument, 42501 not allowed, P0002 no such tier and no rank given, 23505 rank taken. Locks the installation and the tier; audited with before and after.';

CREATE FUNCTION hotswap.set_tier_quota(tier text, resource text, amount bigint) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_tier_quota';
COMMENT ON FUNCTION hotswap.set_tier_quota(text, text, bigint) IS
'Sets how much of a resource a tier gives to each tenant that has no quota of its own; NULL: unlimited. Less than what a tenant uses refuses only further use. Only for those who have admin everywhere. Errors: 22023 bad argument, 42501 not allowed, P0002 no such tier or resource. Locks the installation and the quota; audited with before and after.';

CREATE FUNCTION hotswap.define_resource(name text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_define_resource';
COMMENT ON FUNCTION hotswap.define_resource(text) IS
'Defines another resource that can be limited, and that consume_quota() and release_quota() count; again it changes nothing. name: 1 to 63 characters, letters, digits and . _ + -. Only for those who have admin everywhere. Errors: 22023 bad argument, 42501 not allowed. Locks the installation; audited.';

CREATE FUNCTION hotswap.upgrade_tier(tenant uuid, tier text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_upgrade_tier';
COMMENT ON FUNCTION hotswap.upgrade_tier(uuid, text) IS
'Moves a tenant to a tier of strictly higher rank. Only for those who have admin everywhere. Errors: 22023 bad argument, 42501 not allowed, P0002 no such tenant or tier, 55000 the rank is not higher, YH003 tenant not active. Locks the tenant row; audited with before and after.';

CREATE FUNCTION hotswap.downgrade_tier(tenant uuid, tier text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_downgrade_tier';
COMMENT ON FUNCTION hotswap.downgrade_tier(uuid, text) IS
'Moves a tenant to a tier of strictly lower rank, if what it uses fits there; its own quotas stay. Only for those who have admin everywhere. Errors: 22023 bad argument, 42501 not allowed, P0002 no such tenant or tier, 55000 the rank is not lower, 53400 it uses more than the tier gives (the resource is named), YH003 tenant not active. Locks the tenant row and, against consume_quota(), what the tenant uses; audited with before and after.';
