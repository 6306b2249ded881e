-- The stages and tasks of deployments, as people and monitoring see them.

CREATE VIEW hotswap.stages WITH (security_barrier) AS
SELECT v.tenant_id, s.deployment_id, s.ordinal, s.kind, s.environment, s.status,
	s.started_at, s.finished_at, s.message
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.deployment_id, t.ordinal) t.* FROM hotswap.stage t
		WHERE t.tenant_id = v.tenant_id) s;
COMMENT ON VIEW hotswap.stages IS 'the steps of each deployment';
GRANT SELECT ON hotswap.stages TO PUBLIC;

CREATE VIEW hotswap.tasks WITH (security_barrier) AS
SELECT v.tenant_id, t.deployment_id, t.stage, t.ordinal, t.stage_kind, t.environment,
	t.kind, t.status, t.wave, t.node, t.hook, t.attempt, t.due_at, t.started_at, t.finished_at,
	t.previous_version, t.sqlstate, t.message, t.detail, t.hint, t.context, t.script, t.position,
	t.step, t.line, t."column", t.excerpt,
	CASE WHEN t.action IS NOT NULL THEN t.progress WHEN t.status = 'running'
		THEN hotswap.task_progress(t.deployment_id, t.stage, t.ordinal, v.tenant_id) END AS progress,
	t.action, t.version_after, t.claimed_by, t.claimed_at, t.lease_until, t.percent,
	pg_catalog.encode(t.installed_digest, 'hex') AS installed_digest, t.result, t.verdict
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.deployment_id, t.stage, t.ordinal) t.*,
			s.kind AS stage_kind, s.environment, n.name AS node
		FROM hotswap.task t
			JOIN hotswap.stage s ON s.tenant_id = v.tenant_id AND s.deployment_id = t.deployment_id
				AND s.ordinal = t.stage
			LEFT JOIN hotswap.node n ON n.tenant_id = v.tenant_id AND n.id = t.node_id
		WHERE t.tenant_id = v.tenant_id) t;
COMMENT ON VIEW hotswap.tasks IS 'each node''s part of each stage, with the last error';
GRANT SELECT ON hotswap.tasks TO PUBLIC;

CREATE VIEW hotswap.rehearsals WITH (security_barrier) AS
SELECT v.tenant_id, r.deployment_id, r.node_id, n.name AS node, r.step, r.module, r.version, r.direction,
	r.duration, r.rows, r.locks
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.deployment_id, t.node_id, t.step) t.*
		FROM hotswap.rehearsal t WHERE t.tenant_id = v.tenant_id) r
	LEFT JOIN LATERAL (SELECT DISTINCT ON (t.id) t.* FROM hotswap.node t
		WHERE t.tenant_id = v.tenant_id) n ON n.id = r.node_id;
COMMENT ON VIEW hotswap.rehearsals IS 'what each step of a rehearsal took on each node';
GRANT SELECT ON hotswap.rehearsals TO PUBLIC;

CREATE VIEW hotswap.rehearsal_locks WITH (security_barrier) AS
SELECT v.tenant_id, r.deployment_id, r.node_id, n.name AS node, r.step, r.version, l.relation, l.mode,
	pg_catalog.make_interval(secs => l.held_ms / 1000) AS held, l.waiters
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.deployment_id, t.node_id, t.step) t.*
		FROM hotswap.rehearsal t WHERE t.tenant_id = v.tenant_id) r
	LEFT JOIN LATERAL (SELECT DISTINCT ON (t.id) t.* FROM hotswap.node t
		WHERE t.tenant_id = v.tenant_id) n ON n.id = r.node_id
	CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(r.locks) l (relation text, mode text,
		held_ms double precision, waiters integer);
COMMENT ON VIEW hotswap.rehearsal_locks IS 'what rehearsals have locked, each relation once, with its strongest lock';
GRANT SELECT ON hotswap.rehearsal_locks TO PUBLIC;
