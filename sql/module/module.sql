-- Modules and their immutable versions.

CREATE FUNCTION hotswap.publish_version(module text, version text, deploy_sql text,
		verify_sql text DEFAULT NULL, revert_sql text DEFAULT NULL,
		signature bytea DEFAULT NULL, signing_key text DEFAULT NULL,
		parents text[] DEFAULT NULL, install_sql text DEFAULT NULL,
		metadata jsonb DEFAULT '{}', transactional boolean DEFAULT true,
		requires text[] DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_publish_version';
COMMENT ON FUNCTION hotswap.publish_version(text, text, text, text, text, bytea, text, text[], text, jsonb, boolean, text[], uuid) IS
'Stores an immutable version of a module, its scripts parsed at once, and returns their SHA-256 in hex; the module is made when it is new.';
GRANT EXECUTE ON FUNCTION hotswap.publish_version TO PUBLIC;

CREATE VIEW hotswap.modules WITH (security_barrier) AS
SELECT v.tenant_id, m.name, m.is_graph,
	(SELECT pg_catalog.count(*) FROM hotswap.module_version n
		WHERE n.tenant_id = v.tenant_id AND n.module = m.name)::integer AS versions,
	(SELECT n.version FROM hotswap.module_version n
		WHERE n.tenant_id = v.tenant_id AND n.module = m.name ORDER BY n.ordinal DESC LIMIT 1) AS latest,
	m.created_at, m.routed, m.retain_versions, m.retain_for
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.name) t.* FROM hotswap.module t
		WHERE t.tenant_id = v.tenant_id OFFSET 0) m;
COMMENT ON VIEW hotswap.modules IS 'modules, how many versions each has, the one that was published last, and how they are called';
GRANT SELECT ON hotswap.modules TO PUBLIC;

-- A module's rows are looked for by the key, whose columns have no statistics: there may be very many.

CREATE VIEW hotswap.versions WITH (security_barrier) AS
SELECT v.tenant_id, m.module, m.version, m.ordinal, m.parents, m.deploy_sql, m.verify_sql, m.revert_sql,
	m.install_sql, m.transactional, m.requires,
	ARRAY(SELECT t.tag FROM hotswap.version_tag t WHERE t.tenant_id = v.tenant_id AND t.module = m.module
		AND t.version = m.version ORDER BY t.tag COLLATE "C") AS tags,
	m.metadata, pg_catalog.encode(m.digest, 'hex') AS digest,
	pg_catalog.encode(m.install_digest, 'hex') AS install_digest,
	ARRAY(SELECT k.name FROM hotswap.version_signature s
			JOIN hotswap.signing_key k ON k.tenant_id = v.tenant_id AND k.name = s.signing_key
		WHERE s.tenant_id = v.tenant_id AND s.module = m.module AND s.version = m.version
			AND k.revoked_at IS NULL AND k.valid @> pg_catalog.clock_timestamp()
		ORDER BY k.name COLLATE "C") AS signatures,
	pg_catalog.octet_length(m.deploy_sql)::bigint + coalesce(pg_catalog.octet_length(m.verify_sql), 0)
		+ coalesce(pg_catalog.octet_length(m.revert_sql), 0)
		+ coalesce(pg_catalog.octet_length(m.install_sql), 0) AS size,
	m.published_at, m.published_by, m.install_published_at, m.install_published_by,
	ARRAY(SELECT k.name FROM hotswap.installer_signature s
			JOIN hotswap.signing_key k ON k.tenant_id = v.tenant_id AND k.name = s.signing_key
		WHERE s.tenant_id = v.tenant_id AND s.module = m.module AND s.version = m.version
			AND k.revoked_at IS NULL AND k.valid @> pg_catalog.clock_timestamp()
		ORDER BY k.name COLLATE "C") AS install_signatures
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.module, t.version) t.* FROM hotswap.module_version t
		WHERE t.tenant_id = v.tenant_id) m;
COMMENT ON VIEW hotswap.versions IS 'versions with their scripts: what was, or is to be, approved and deployed';
GRANT SELECT ON hotswap.versions TO PUBLIC;
