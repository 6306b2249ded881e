-- What is installed of routed modules, and who gets it.

CREATE VIEW hotswap.routes WITH (security_barrier) AS
SELECT v.tenant_id, n.environment, s.node_id, n.name AS node, s.module, s.version, s.slot,
	CASE WHEN s.retired_at IS NOT NULL THEN 0 WHEN r.slot = s.slot THEN r.share
		WHEN r.other_slot = s.slot THEN 10000 - r.share ELSE 0 END AS share,
	CASE WHEN s.retired_at IS NULL THEN r.created_at END AS since,
	CASE WHEN s.retired_at IS NULL THEN r.deployment_id END AS deployment_id,
	s.installed_at, s.retired_at,
	(SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace c
		JOIN pg_catalog.pg_class m ON m.relnamespace = c.oid AND m.relname = 'hotswap_slot_' || s.generation
		JOIN pg_catalog.pg_locks l ON l.relation = m.oid AND l.locktype = 'relation' AND l.granted
			AND l.mode = 'AccessShareLock'
			AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
		WHERE c.nspname = s.slot)::integer AS transactions,
	CASE WHEN s.retired_at IS NULL AND r.slot = s.slot THEN r.roles END AS roles
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.node_id, t.module, t.slot) t.* FROM hotswap.route_slot t
		WHERE t.tenant_id = v.tenant_id OFFSET 0) s
	JOIN LATERAL (SELECT DISTINCT ON (t.id) t.* FROM hotswap.node t WHERE t.tenant_id = v.tenant_id) n
		ON n.id = s.node_id
	LEFT JOIN LATERAL (SELECT DISTINCT ON (t.node_id, t.module) t.* FROM hotswap.route t
		WHERE t.tenant_id = v.tenant_id AND t.node_id = s.node_id AND t.module = s.module
		ORDER BY t.node_id, t.module, t.epoch DESC OFFSET 0) r ON true;
COMMENT ON VIEW hotswap.routes IS 'installed versions of routed modules on nodes, which callers get, and how many transactions have called them';
GRANT SELECT ON hotswap.routes TO PUBLIC;

CREATE VIEW hotswap.entries WITH (security_barrier) AS
SELECT v.tenant_id, s.node_id, s.module, e.entry,
	ARRAY(SELECT t.version FROM hotswap.route_slot t
		JOIN pg_catalog.pg_namespace c ON c.nspname = t.slot
		JOIN pg_catalog.pg_proc f ON f.pronamespace = c.oid AND f.proname = e.proname
			AND f.proargtypes = e.proargtypes
		WHERE t.tenant_id = v.tenant_id AND t.node_id = s.node_id AND t.module = s.module
		ORDER BY t.generation) AS versions
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.node_id, t.module) t.* FROM hotswap.route_slot t
		WHERE t.tenant_id = v.tenant_id OFFSET 0) s
	CROSS JOIN LATERAL (SELECT p.oid::regprocedure::text AS entry, p.proname, p.proargtypes FROM pg_catalog.pg_proc p
		WHERE p.prolang = (SELECT l.oid FROM pg_catalog.pg_language l WHERE l.lanname = 'hotswap')
		AND pg_catalog.split_part(p.prosrc, ' ', 4) = s.node_id::text
		AND pg_catalog.split_part(p.prosrc, ' ', 6) = pg_catalog.format('"%s"', s.module) OFFSET 0) e;
COMMENT ON VIEW hotswap.entries IS 'entries of routed modules, and the installed versions that have a function for each';
GRANT SELECT ON hotswap.entries TO PUBLIC;
