-- Nodes that stay at a version for a time.

CREATE FUNCTION hotswap.pin_node(node uuid, module text, version text, until timestamptz, reason text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_pin_node';
COMMENT ON FUNCTION hotswap.pin_node(uuid, text, text, timestamptz, text) IS
'Lets a node stay at the version of a module that it runs until a time: deployments leave it out.';
GRANT EXECUTE ON FUNCTION hotswap.pin_node TO PUBLIC;

CREATE FUNCTION hotswap.unpin_node(node uuid, module text, reason text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_unpin_node';
COMMENT ON FUNCTION hotswap.unpin_node(uuid, text, text) IS
'Ends what pin_node() has begun: the next deployment of the module comes to the node again.';
GRANT EXECUTE ON FUNCTION hotswap.unpin_node TO PUBLIC;

CREATE VIEW hotswap.node_pins WITH (security_barrier) AS
SELECT v.tenant_id, n.id AS node_id, n.environment, n.name AS node, p.module, p.version, p.until, p.reason,
	p.pinned_at, p.pinned_by
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.id) t.* FROM hotswap.node t
		WHERE t.tenant_id = v.tenant_id AND t.removed_at IS NULL) n
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.module) t.* FROM hotswap.node_pin t
		WHERE t.tenant_id = v.tenant_id AND t.node_id = n.id AND t.until > pg_catalog.now() OFFSET 0) p;
COMMENT ON VIEW hotswap.node_pins IS 'nodes that stay at a version of a module, whatever is deployed';
GRANT SELECT ON hotswap.node_pins TO PUBLIC;
