SELECT hotswap.activate_tenant(hotswap.create_tenant('t' || n, 't' || n, 'a@example.org', 'enterprise'))
FROM generate_series(1, :tenants) n;
SELECT hotswap.grant_access('pg_monitor', 'viewer', id) FROM hotswap.tenant WHERE subdomain IS NOT NULL;
