-- Tiers, the resources that can be limited, and how much of each a tier gives.

CREATE FUNCTION hotswap.configure_tier(name text, rank integer DEFAULT NULL, weight integer DEFAULT NULL,
		monthly_price_cents integer DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_configure_tier';
COMMENT ON FUNCTION hotswap.configure_tier(text, integer, integer, integer) IS
'Changes a tier, or makes it when rank is given and it does not exist; NULL leaves what is there. weight is its tenants'' share of the executors.';
GRANT EXECUTE ON FUNCTION hotswap.configure_tier TO PUBLIC;

CREATE FUNCTION hotswap.set_tier_quota(tier text, resource text, amount bigint) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_tier_quota';
COMMENT ON FUNCTION hotswap.set_tier_quota(text, text, bigint) IS
'Sets how much of a resource a tier gives to each tenant that has no quota of its own; NULL: unlimited.';
GRANT EXECUTE ON FUNCTION hotswap.set_tier_quota TO PUBLIC;

CREATE FUNCTION hotswap.define_resource(name text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_define_resource';
COMMENT ON FUNCTION hotswap.define_resource(text) IS
'Defines another resource that can be limited, and that consume_quota() and release_quota() count; again it changes nothing.';
GRANT EXECUTE ON FUNCTION hotswap.define_resource TO PUBLIC;

CREATE FUNCTION hotswap.upgrade_tier(tenant uuid, tier text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_upgrade_tier';
COMMENT ON FUNCTION hotswap.upgrade_tier(uuid, text) IS
'Moves a tenant to a tier of strictly higher rank.';
GRANT EXECUTE ON FUNCTION hotswap.upgrade_tier TO PUBLIC;

CREATE FUNCTION hotswap.downgrade_tier(tenant uuid, tier text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_downgrade_tier';
COMMENT ON FUNCTION hotswap.downgrade_tier(uuid, text) IS
'Moves a tenant to a tier of strictly lower rank, if what it uses fits there; its own quotas stay.';
GRANT EXECUTE ON FUNCTION hotswap.downgrade_tier TO PUBLIC;

CREATE VIEW hotswap.tiers WITH (security_barrier) AS
SELECT t.name, t.rank, t.weight, t.monthly_price_cents,
	(SELECT coalesce(pg_catalog.jsonb_object_agg(q.resource, q.amount), '{}') FROM hotswap.tier_quota q
		WHERE q.tier = t.name) AS quotas
FROM (SELECT DISTINCT ON (o.name) o.* FROM hotswap.tier o OFFSET 0) t
WHERE EXISTS (SELECT FROM hotswap.visible_tenants());
COMMENT ON VIEW hotswap.tiers IS 'tiers and what they give; a resource that is not in quotas is unlimited';
GRANT SELECT ON hotswap.tiers TO PUBLIC;
