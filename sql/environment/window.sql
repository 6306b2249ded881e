-- Times at which deployments to an environment may or may not start.

CREATE FUNCTION hotswap.set_window(environment text, name text, kind text, reason text DEFAULT NULL,
		during tstzrange DEFAULT NULL, days text[] DEFAULT NULL, starts time DEFAULT NULL, ends time DEFAULT NULL,
		time_zone text DEFAULT NULL, modules text[] DEFAULT NULL, tenant uuid DEFAULT NULL,
		all_tenants boolean DEFAULT false) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_window';
COMMENT ON FUNCTION hotswap.set_window(text, text, text, text, tstzrange, text[], time, time, text, text[], uuid, boolean) IS
'Makes or changes a window, once (during) or every week (days, starts, ends, time_zone), in which deployments to an environment may (allow) or may not (deny) start; returns its id.';
GRANT EXECUTE ON FUNCTION hotswap.set_window TO PUBLIC;

CREATE FUNCTION hotswap.remove_window(environment text, name text, tenant uuid DEFAULT NULL,
		all_tenants boolean DEFAULT false) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_remove_window';
COMMENT ON FUNCTION hotswap.remove_window(text, text, uuid, boolean) IS
'Takes away a window that set_window() made with the same environment, name and tenants; what it held up goes on.';
GRANT EXECUTE ON FUNCTION hotswap.remove_window TO PUBLIC;

CREATE FUNCTION hotswap.next_opening(environment text, module text DEFAULT NULL, at timestamptz DEFAULT pg_catalog.now(),
		tenant uuid DEFAULT NULL) RETURNS timestamptz
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_next_opening';
COMMENT ON FUNCTION hotswap.next_opening(text, text, timestamptz, uuid) IS
'Returns the first time from at on when a deployment of the module (NULL: any) may start in the environment, by its windows; infinity: never.';
GRANT EXECUTE ON FUNCTION hotswap.next_opening TO PUBLIC;

CREATE VIEW hotswap.windows WITH (security_barrier) AS
SELECT v.tenant_id, w.id, w.environment, w.name, w.kind, w.reason, w.during, w.days, w.starts, w.ends, w.time_zone,
	w.modules, w.tenant_id IS NULL AS all_tenants, w.created_by, w.created_at
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.id) t.* FROM hotswap.environment_window t
		WHERE (t.tenant_id = v.tenant_id OR t.tenant_id IS NULL) AND t.removed_at IS NULL OFFSET 0) w;
COMMENT ON VIEW hotswap.windows IS 'times at which deployments may or may not start: those of the tenant and those of all tenants';
GRANT SELECT ON hotswap.windows TO PUBLIC;
