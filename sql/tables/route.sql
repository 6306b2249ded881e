-- Which version of a routed module callers get.

CREATE SEQUENCE hotswap.epoch_seq;
COMMENT ON SEQUENCE hotswap.epoch_seq IS 'numbers the rows of route; who takes one holds a lock on this sequence until its commit';
SELECT pg_catalog.pg_extension_config_dump('hotswap.epoch_seq', '');

CREATE TABLE hotswap.route (
	tenant_id uuid NOT NULL,
	node_id uuid NOT NULL,
	module text NOT NULL,
	epoch bigint NOT NULL CHECK (epoch > 0),
	slot text NOT NULL,
	generation bigint NOT NULL,
	version text NOT NULL,
	other_slot text,
	other_generation bigint,
	other_version text,
	share integer NOT NULL DEFAULT 10000 CHECK (share BETWEEN 0 AND 10000),
	roles regrole[],
	deployment_id uuid,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (tenant_id, node_id, module, epoch),
	CHECK (pg_catalog.num_nulls(other_slot, other_generation, other_version) IN (0, 3)),
	CHECK (share = 10000 OR other_slot IS NOT NULL)
);
CREATE UNIQUE INDEX route_epoch ON hotswap.route (epoch);
COMMENT ON TABLE hotswap.route IS 'which version of a routed module is called on a node: insert-only, the row with the highest epoch counts';
COMMENT ON COLUMN hotswap.route.epoch IS 'rows are committed in the order of their epochs: those up to a number are one state of the whole route';
COMMENT ON COLUMN hotswap.route.slot IS 'the schema that callers get';
COMMENT ON COLUMN hotswap.route.generation IS 'what of the slot it is: a slot is used for one version after the other';
COMMENT ON COLUMN hotswap.route.other_slot IS 'what callers outside of the share get; NULL: share is everybody';
COMMENT ON COLUMN hotswap.route.share IS 'of 10,000 callers, those that get the slot';
COMMENT ON COLUMN hotswap.route.roles IS 'these and their members get the slot whatever the share';
COMMENT ON COLUMN hotswap.route.deployment_id IS 'NULL: no deployment';
ALTER TABLE hotswap.route ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN module SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.route', '');

CREATE SEQUENCE hotswap.generation_seq;
COMMENT ON SEQUENCE hotswap.generation_seq IS 'numbers what is installed into slots';
SELECT pg_catalog.pg_extension_config_dump('hotswap.generation_seq', '');

CREATE TABLE hotswap.route_slot (
	tenant_id uuid NOT NULL,
	node_id uuid NOT NULL,
	module text NOT NULL,
	slot text NOT NULL,
	generation bigint NOT NULL,
	version text NOT NULL,
	digest bytea NOT NULL CHECK (pg_catalog.length(digest) = 32),
	entry_schema text NOT NULL,
	inventory text[] NOT NULL,
	installed_at timestamptz NOT NULL,
	retired_at timestamptz,
	retired_xid xid8,
	PRIMARY KEY (tenant_id, node_id, module, slot)
);
COMMENT ON TABLE hotswap.route_slot IS 'the schemas into which versions of routed modules are installed, one version after the other';
COMMENT ON COLUMN hotswap.route_slot.generation IS 'a number that no other installation had';
COMMENT ON COLUMN hotswap.route_slot.entry_schema IS 'where its entries are';
COMMENT ON COLUMN hotswap.route_slot.inventory IS 'what the version has made in it';
COMMENT ON COLUMN hotswap.route_slot.retired_at IS 'since when no new caller gets it; NULL: they do';
COMMENT ON COLUMN hotswap.route_slot.retired_xid IS 'the transaction that saw to that: an older snapshot may still get it';
ALTER TABLE hotswap.route_slot ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN module SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.route_slot', '');
