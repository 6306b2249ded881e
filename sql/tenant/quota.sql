-- Quotas of tenants, and what they have used.

-- The one place that says which quota holds and how much is used. Who reads only some of the columns
-- pays only for those.
CREATE VIEW hotswap.quota_limits WITH (security_barrier) AS
SELECT t.id AS tenant_id, r.name AS resource, r.counted,
	CASE WHEN q.tenant_id IS NULL THEN l.amount ELSE q.amount END AS amount,
	q.tenant_id IS NOT NULL AS own,
	CASE
		WHEN NOT r.counted THEN coalesce(u.used, 0)
		WHEN r.name = 'concurrent_deployments' THEN (
			SELECT pg_catalog.count(*) FROM hotswap.work_item w WHERE w.tenant_id = t.id
			AND CASE WHEN w.status IS NULL THEN (SELECT d.status FROM hotswap.deployment d
				WHERE d.tenant_id = w.tenant_id AND d.id = w.deployment_id) ELSE w.status END
				NOT IN ('scheduled', 'pending_approval', 'queued'))
		WHEN r.name = 'modules' THEN (
			SELECT pg_catalog.count(*) FROM hotswap.module m WHERE m.tenant_id = t.id)
		WHEN r.name = 'nodes' THEN (
			SELECT pg_catalog.count(*) FROM hotswap.node n WHERE n.tenant_id = t.id AND n.removed_at IS NULL)
		WHEN r.name = 'stored_bytes' THEN (
			SELECT coalesce(pg_catalog.sum(coalesce(pg_catalog.octet_length(v.deploy_sql), 0)::bigint + coalesce(pg_catalog.octet_length(v.artifact), 0) + coalesce(pg_catalog.octet_length(v.verify_sql), 0)
				+ coalesce(pg_catalog.octet_length(v.revert_sql), 0) + coalesce(pg_catalog.octet_length(v.install_sql), 0)), 0)::bigint
			FROM hotswap.module_version v WHERE v.tenant_id = t.id)
	END AS used
FROM hotswap.tenant t
	CROSS JOIN hotswap.resource r
	LEFT JOIN hotswap.quota q ON q.tenant_id = t.id AND q.resource = r.name
	LEFT JOIN hotswap.tier_quota l ON l.tier = t.tier AND l.resource = r.name
	LEFT JOIN hotswap.quota_usage u ON u.tenant_id = t.id AND u.resource = r.name;
COMMENT ON VIEW hotswap.quota_limits IS 'the quota of each tenant and resource (its own, else its tier''s, else unlimited: NULL) and how much is used';

CREATE FUNCTION hotswap.set_quota(tenant uuid, resource text, amount bigint) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_quota';
COMMENT ON FUNCTION hotswap.set_quota(uuid, text, bigint) IS
'Gives a tenant a quota of its own, in place of its tier''s; NULL: unlimited. Less than what it uses refuses only further use.';
GRANT EXECUTE ON FUNCTION hotswap.set_quota TO PUBLIC;

CREATE FUNCTION hotswap.clear_quota(tenant uuid, resource text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_clear_quota';
COMMENT ON FUNCTION hotswap.clear_quota(uuid, text) IS
'Takes back set_quota(): the quota of the tier holds again.';
GRANT EXECUTE ON FUNCTION hotswap.clear_quota TO PUBLIC;

CREATE FUNCTION hotswap.consume_quota(tenant uuid, resource text, amount bigint) RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_consume_quota';
COMMENT ON FUNCTION hotswap.consume_quota(uuid, text, bigint) IS
'Uses so much more of a resource, exactly under concurrency, and returns what is left, NULL: unlimited; 53400 when not so much is left.';
GRANT EXECUTE ON FUNCTION hotswap.consume_quota TO PUBLIC;

CREATE FUNCTION hotswap.release_quota(tenant uuid, resource text, amount bigint) RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_release_quota';
COMMENT ON FUNCTION hotswap.release_quota(uuid, text, bigint) IS
'Gives back what consume_quota() used, and returns what is left, NULL: unlimited.';
GRANT EXECUTE ON FUNCTION hotswap.release_quota TO PUBLIC;

CREATE VIEW hotswap.quotas WITH (security_barrier) AS
SELECT v.tenant_id, l.resource, l.amount AS quota, l.own, l.used,
	CASE WHEN l.amount IS NOT NULL THEN greatest(l.amount - l.used, 0) END AS "left"
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (q.resource) q.* FROM hotswap.quota_limits q
		WHERE q.tenant_id = v.tenant_id OFFSET 0) l;
COMMENT ON VIEW hotswap.quotas IS 'quotas of tenants, what is used and what is left; quota and left are NULL where it is unlimited';
GRANT SELECT ON hotswap.quotas TO PUBLIC;
