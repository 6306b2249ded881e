-- Tenants, as people and monitoring see them.

CREATE VIEW hotswap.tenants WITH (security_barrier) AS
SELECT v.tenant_id AS id, t.name, t.subdomain, t.contact_email, t.tier, t.status, t.status_reason, t.status_changed_at,
	t.created_at, t.metadata
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (o.id) o.* FROM hotswap.tenant o WHERE o.id = v.tenant_id) t;
COMMENT ON VIEW hotswap.tenants IS 'tenants, deleted ones too: who they are, their tier and status';
GRANT SELECT ON hotswap.tenants TO PUBLIC;
