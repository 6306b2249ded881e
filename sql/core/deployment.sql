-- Deployments and the queue, as people and monitoring see them.

-- The deployments that a role sees, the newest first. Who sees all tenants reads the table in that order; who does not,
-- one visible tenant after the other (see all_tenants.sql). Both inner queries have the order as well, or the planner
-- would not look for it.
CREATE VIEW hotswap.seen_deployments WITH (security_barrier) AS
SELECT d.tenant_id, d.id, d.module, d.version, d.environment, d.status, d.priority, d.requested_by,
	d.requested_at, d.run_at, d.start_by, d.started_at, d.finished_at, d.cancel_requested_at,
	d.cancel_reason, d.sqlstate, d.message, d.idempotency_key, d.metadata, d.rollback_sqlstate,
	d.rollback_message, d.kind, d.rolls_back, d.reason, d.nodes, d.allow_revert, d.only_target, d.reapply,
	d.overtake, d.heads, d.nodes_behind, d.on_failure, d.release
FROM ((SELECT t.* FROM hotswap.visible_tenants() v (tenant_id)
			CROSS JOIN LATERAL (SELECT DISTINCT ON (t.id) t.* FROM hotswap.deployment t
				WHERE t.tenant_id = v.tenant_id) t
		WHERE NOT hotswap.sees_all_tenants() ORDER BY t.requested_at DESC)
	UNION ALL
	(SELECT t.* FROM hotswap.deployment t
		WHERE hotswap.sees_all_tenants() AND hotswap.sees_tenant(t.tenant_id) ORDER BY t.requested_at DESC)
	ORDER BY requested_at DESC) d
ORDER BY d.requested_at DESC;
COMMENT ON VIEW hotswap.seen_deployments IS 'the rows of deployments that the current role sees: what the view deployments is made of';

-- No barrier itself: all of its rows are seen, and what comes from other tables is looked up for those that are left in
-- the end, not for those that a condition leaves out.
CREATE VIEW hotswap.deployments AS
SELECT d.tenant_id, d.id, d.module, d.version, d.environment, d.status, d.priority,
	(SELECT pg_catalog.count(*) FROM hotswap.stage s
		WHERE s.tenant_id = d.tenant_id AND s.deployment_id = d.id
		AND s.status IN ('succeeded', 'skipped'))::integer AS stages_done,
	(SELECT pg_catalog.count(*) FROM hotswap.stage s
		WHERE s.tenant_id = d.tenant_id AND s.deployment_id = d.id)::integer AS stages_total,
	(SELECT s.kind || coalesce(' ' || s.environment, '') FROM hotswap.stage s
		WHERE s.tenant_id = d.tenant_id AND s.deployment_id = d.id
		AND s.status IN ('waiting_approval', 'running', 'failed') ORDER BY s.ordinal LIMIT 1) AS current_stage,
	d.requested_by, d.requested_at, d.run_at, d.start_by, d.started_at, d.finished_at,
	d.cancel_requested_at, d.cancel_reason, d.sqlstate, d.message, d.idempotency_key, d.metadata,
	d.rollback_sqlstate, d.rollback_message,
	(SELECT f.put_right_by FROM hotswap.failed_rollback f
		WHERE f.tenant_id = d.tenant_id AND f.deployment_id = d.id) AS put_right_by,
	(SELECT f.acknowledged_at FROM hotswap.failed_rollback f
		WHERE f.tenant_id = d.tenant_id AND f.deployment_id = d.id) AS acknowledged_at,
	d.kind, d.rolls_back, d.reason, d.nodes, d.allow_revert, d.only_target, d.reapply, d.overtake, d.heads,
	d.nodes_behind, d.on_failure, d.release,
	(SELECT pg_catalog.count(*) FROM hotswap.task t
		WHERE t.tenant_id = d.tenant_id AND t.deployment_id = d.id AND t.kind = 'swap' AND t.steps > 0
		AND t.status = 'succeeded'
		AND t.stage = (SELECT pg_catalog.max(s.ordinal) FROM hotswap.stage s WHERE s.tenant_id = d.tenant_id
			AND s.deployment_id = d.id AND s.kind = 'deploy' AND s.started_at IS NOT NULL))::integer AS nodes_done,
	(SELECT pg_catalog.count(*) FROM hotswap.task t
		WHERE t.tenant_id = d.tenant_id AND t.deployment_id = d.id AND t.kind = 'swap' AND t.steps > 0
		AND t.stage = (SELECT pg_catalog.max(s.ordinal) FROM hotswap.stage s WHERE s.tenant_id = d.tenant_id
			AND s.deployment_id = d.id AND s.kind = 'deploy' AND s.started_at IS NOT NULL))::integer AS nodes_total
FROM hotswap.seen_deployments d;
COMMENT ON VIEW hotswap.deployments IS 'deployments, how far they are, and why they ended';
GRANT SELECT ON hotswap.deployments TO PUBLIC;

CREATE VIEW hotswap.queue WITH (security_barrier) AS
SELECT v.tenant_id, q.deployment_id, q.module, q.version, q.environment, q.status, q.priority, q.due_at,
	q.requested_at, q.release
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (w.deployment_id) w.deployment_id, d.module, d.version,
			d.environment, d.status, w.priority, w.due_at, d.requested_at, d.release
		FROM hotswap.work_item w
			CROSS JOIN LATERAL (SELECT * FROM hotswap.deployment d
				WHERE d.tenant_id = w.tenant_id AND d.id = w.deployment_id OFFSET 0) d
		WHERE w.tenant_id = v.tenant_id) q;
COMMENT ON VIEW hotswap.queue IS 'deployments that have not ended';
GRANT SELECT ON hotswap.queue TO PUBLIC;
