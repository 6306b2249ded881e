-- Rollbacks, and the versions that they hold.

CREATE FUNCTION hotswap.rollback(deployment uuid, reason text) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_rollback';
COMMENT ON FUNCTION hotswap.rollback(uuid, text) IS
'Requests that each node of a deployment''s environment goes back to what it ran before it, and returns the id of the new deployment; the versions are held.';
GRANT EXECUTE ON FUNCTION hotswap.rollback TO PUBLIC;

CREATE FUNCTION hotswap.release_version(environment text, module text, version text, reason text,
		tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_release_version';
COMMENT ON FUNCTION hotswap.release_version(text, text, text, text, uuid) IS
'Lets a version that a rollback took back come to an environment again.';
GRANT EXECUTE ON FUNCTION hotswap.release_version TO PUBLIC;

CREATE VIEW hotswap.held_versions WITH (security_barrier) AS
SELECT v.tenant_id, h.environment, h.module, h.version, h.held_at, h.held_by, h.deployment_id, h.reason
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.environment, t.module, t.version) t.* FROM hotswap.held_version t
		WHERE t.tenant_id = v.tenant_id OFFSET 0) h;
COMMENT ON VIEW hotswap.held_versions IS 'versions that a rollback took back in an environment, and that do not come again by themselves';
GRANT SELECT ON hotswap.held_versions TO PUBLIC;
