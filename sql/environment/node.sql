-- Nodes: the targets in an environment, and what runs on them.

CREATE FUNCTION hotswap.register_node(environment text, name text, kind text DEFAULT 'database',
		run_as regrole DEFAULT NULL, schema text DEFAULT NULL, labels jsonb DEFAULT '{}',
		search_path text[] DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_register_node';
COMMENT ON FUNCTION hotswap.register_node(text, text, text, regrole, text, jsonb, text[], uuid) IS
'Adds a node, a role (NULL: the caller) and a schema (NULL: the role''s search_path), to an environment and returns its id.';
GRANT EXECUTE ON FUNCTION hotswap.register_node TO PUBLIC;

CREATE FUNCTION hotswap.remove_node(node uuid) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_remove_node';
COMMENT ON FUNCTION hotswap.remove_node(uuid) IS
'Takes a node out of its environment; what was swapped in stays in the database.';
GRANT EXECUTE ON FUNCTION hotswap.remove_node TO PUBLIC;

CREATE VIEW hotswap.nodes WITH (security_barrier) AS
SELECT v.tenant_id, n.id, n.environment, n.name, n.kind, n.run_as, n.schema, n.labels,
	m.module, m.version, m.deployment_id, m.swapped_at,
	coalesce((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = n.run_as), false) AS superuser,
	n.search_path, CASE WHEN hotswap.node_problems(v.tenant_id, n.id) IS NULL THEN 'unknown'
		WHEN hotswap.node_problems(v.tenant_id, n.id) = '{}' THEN 'healthy' ELSE 'unhealthy' END AS health,
	hotswap.node_problems(v.tenant_id, n.id) AS unhealthy_because
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.id) t.* FROM hotswap.node t
		WHERE t.tenant_id = v.tenant_id AND t.removed_at IS NULL) n
	LEFT JOIN LATERAL (
		SELECT DISTINCT ON (nm.module) nm.module, nm.version, nm.deployment_id, nm.swapped_at
		FROM hotswap.node_module nm
		WHERE nm.tenant_id = v.tenant_id AND nm.node_id = n.id
		ORDER BY nm.module, nm.swap DESC OFFSET 0) m ON true;
COMMENT ON VIEW hotswap.nodes IS 'nodes and what runs on them, a row for each module';
GRANT SELECT ON hotswap.nodes TO PUBLIC;

CREATE VIEW hotswap.node_history WITH (security_barrier) AS
SELECT v.tenant_id, n.id AS node_id, n.environment, n.name AS node, h.module, h.swap, h.step, h.direction,
	h.version, h.heads, h.deployment_id, h.swapped_at AS at
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.id) t.* FROM hotswap.node t WHERE t.tenant_id = v.tenant_id) n
	CROSS JOIN LATERAL (SELECT DISTINCT ON (nm.module, nm.swap) nm.* FROM hotswap.node_module nm
		WHERE nm.tenant_id = v.tenant_id AND nm.node_id = n.id OFFSET 0) h;
COMMENT ON VIEW hotswap.node_history IS 'what came to nodes and went, a row for each step, of removed nodes as well';
GRANT SELECT ON hotswap.node_history TO PUBLIC;
