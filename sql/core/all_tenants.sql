-- Whether the current role sees all tenants, for views that show them in another order than by tenant.

CREATE FUNCTION hotswap.sees_all_tenants_support(internal) RETURNS internal
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_sees_all_tenants_support';
COMMENT ON FUNCTION hotswap.sees_all_tenants_support(internal) IS
'Tells the planner that a role does not see all tenants.';

CREATE FUNCTION hotswap.sees_all_tenants() RETURNS boolean
	LANGUAGE c STABLE PARALLEL UNSAFE SUPPORT hotswap.sees_all_tenants_support
	AS 'MODULE_PATHNAME', 'hotswap_sees_all_tenants';
COMMENT ON FUNCTION hotswap.sees_all_tenants() IS
'Returns whether the current role has a capability for all tenants. The view deployments asks.';
GRANT EXECUTE ON FUNCTION hotswap.sees_all_tenants TO PUBLIC;

-- Volatile, or the planner would run it to make an estimate.
CREATE FUNCTION hotswap.seen_tenants() RETURNS uuid[]
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_seen_tenants';
COMMENT ON FUNCTION hotswap.seen_tenants() IS
'Returns visible_tenants() as an array: what sees_tenant() looks for in an index.';
GRANT EXECUTE ON FUNCTION hotswap.seen_tenants TO PUBLIC;

CREATE FUNCTION hotswap.sees_tenant_support(internal) RETURNS internal
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_sees_tenant_support';
COMMENT ON FUNCTION hotswap.sees_tenant_support(internal) IS
'Tells the planner how sees_tenant() is looked up in an index.';

CREATE FUNCTION hotswap.sees_tenant(tenant uuid) RETURNS boolean
	LANGUAGE c STABLE STRICT PARALLEL UNSAFE SUPPORT hotswap.sees_tenant_support
	AS 'MODULE_PATHNAME', 'hotswap_sees_tenant';
COMMENT ON FUNCTION hotswap.sees_tenant(uuid) IS
'Returns whether a tenant is one of visible_tenants(). The view deployments asks.';
GRANT EXECUTE ON FUNCTION hotswap.sees_tenant TO PUBLIC;
