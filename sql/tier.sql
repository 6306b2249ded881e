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
