-- What nodes report.

CREATE FUNCTION hotswap.heartbeat(node uuid, cpu double precision DEFAULT NULL, memory double precision DEFAULT NULL,
		latency_ms double precision DEFAULT NULL, requests bigint DEFAULT NULL, errors bigint DEFAULT NULL,
		digest text DEFAULT NULL, details jsonb DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_heartbeat';
COMMENT ON FUNCTION hotswap.heartbeat(uuid, double precision, double precision, double precision, bigint, bigint, text, jsonb, uuid) IS
'Reports that a node is there, and how it is: percent of CPU and memory, latency, requests and errors since the report before, and the SHA-256 of what runs.';
GRANT EXECUTE ON FUNCTION hotswap.heartbeat TO PUBLIC;

CREATE VIEW hotswap.node_metrics WITH (security_barrier) AS
SELECT v.tenant_id, m.node_id, n.environment, n.name AS node, m.at, m.cpu, m.memory, m.latency_ms, m.requests, m.errors,
	pg_catalog.encode(m.digest, 'hex') AS digest, m.details, m.counts
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.node_id, t.at, t.counts, t.slot) t.* FROM hotswap.node_metric t
		WHERE t.tenant_id = v.tenant_id) m
	LEFT JOIN LATERAL (SELECT t.environment, t.name FROM hotswap.node t
		WHERE t.tenant_id = v.tenant_id AND t.id = m.node_id OFFSET 0) n ON true;
COMMENT ON VIEW hotswap.node_metrics IS 'what nodes reported or hotswap has measured in the last seven days';
GRANT SELECT ON hotswap.node_metrics TO PUBLIC;
