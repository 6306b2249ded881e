-- Releases: versions of several modules under one name.

CREATE FUNCTION hotswap.publish_release(name text, modules text[], tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_publish_release';
COMMENT ON FUNCTION hotswap.publish_release(text, text[], uuid) IS
'Stores an immutable set of versions, each given as module=version, and returns its SHA-256 in hex; a version may be a tag.';
GRANT EXECUTE ON FUNCTION hotswap.publish_release TO PUBLIC;

CREATE VIEW hotswap.releases WITH (security_barrier) AS
SELECT v.tenant_id, r.name, pg_catalog.encode(r.digest, 'hex') AS digest, r.modules, r.published_at, r.published_by
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.name) t.*,
			ARRAY(SELECT m.module || '=' || m.version FROM hotswap.release_module m
				WHERE m.tenant_id = v.tenant_id AND m.release = t.name
				ORDER BY m.module COLLATE "C") AS modules
		FROM hotswap.release t WHERE t.tenant_id = v.tenant_id OFFSET 0) r;
COMMENT ON VIEW hotswap.releases IS 'releases, each with its modules and their versions';
GRANT SELECT ON hotswap.releases TO PUBLIC;
