-- Views for people and monitoring. Everybody may read them, and sees the tenants in which he has a
-- capability: the join with visible_tenants() is a look-up by index for each of them.

CREATE VIEW hotswap.deployments WITH (security_barrier) AS
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
	d.cancel_requested_at, d.cancel_reason, d.sqlstate, d.message, d.idempotency_key, d.metadata
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.deployment d ON d.tenant_id = v.tenant_id;
COMMENT ON VIEW hotswap.deployments IS 'deployments, how far they are, and why they ended';

CREATE VIEW hotswap.stages WITH (security_barrier) AS
SELECT s.tenant_id, s.deployment_id, s.ordinal, s.kind, s.environment, s.status,
	s.started_at, s.finished_at, s.message
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.stage s ON s.tenant_id = v.tenant_id;
COMMENT ON VIEW hotswap.stages IS 'the steps of each deployment';

CREATE VIEW hotswap.tasks WITH (security_barrier) AS
SELECT t.tenant_id, t.deployment_id, t.stage, t.ordinal, s.kind AS stage_kind, s.environment,
	t.kind, t.status, t.wave, n.name AS node, t.hook, t.attempt, t.due_at, t.started_at, t.finished_at,
	t.previous_version, t.sqlstate, t.message, t.detail, t.hint, t.context, t.script, t.position
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.task t ON t.tenant_id = v.tenant_id
	JOIN hotswap.stage s ON s.tenant_id = t.tenant_id AND s.deployment_id = t.deployment_id
		AND s.ordinal = t.stage
	LEFT JOIN hotswap.node n ON n.tenant_id = t.tenant_id AND n.id = t.node_id;
COMMENT ON VIEW hotswap.tasks IS 'each node''s part of each stage, with the last error';

CREATE VIEW hotswap.queue WITH (security_barrier) AS
SELECT w.tenant_id, w.deployment_id, d.module, d.version, d.environment, d.status, w.priority, w.due_at,
	d.requested_at
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.work_item w ON w.tenant_id = v.tenant_id
	JOIN hotswap.deployment d ON d.tenant_id = w.tenant_id AND d.id = w.deployment_id;
COMMENT ON VIEW hotswap.queue IS 'deployments that have not ended';

CREATE VIEW hotswap.environments WITH (security_barrier) AS
SELECT e.tenant_id, e.name, e.rank, e.strategy, e.revert_on_failure, e.require_signature, e.min_approvals, e.approvers,
	e.expires_after, e.allow_self_approval, e.require_comment, e.max_open_reviews,
	(SELECT pg_catalog.count(*) FROM hotswap.node n WHERE n.tenant_id = e.tenant_id
		AND n.environment = e.name AND n.removed_at IS NULL)::integer AS nodes
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.environment e ON e.tenant_id = v.tenant_id;
COMMENT ON VIEW hotswap.environments IS 'environments and how many nodes they have';

CREATE VIEW hotswap.hooks WITH (security_barrier) AS
SELECT h.tenant_id, h.stage, nullif(h.module, '') AS module, h.function
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.hook h ON h.tenant_id = v.tenant_id;
COMMENT ON VIEW hotswap.hooks IS 'registered hooks; module NULL: every module';

CREATE VIEW hotswap.nodes WITH (security_barrier) AS
SELECT n.tenant_id, n.id, n.environment, n.name, n.kind, n.run_as, n.schema, n.labels,
	m.module, m.version, m.deployment_id, m.swapped_at
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.node n ON n.tenant_id = v.tenant_id
	LEFT JOIN LATERAL (
		SELECT DISTINCT ON (nm.module) nm.module, nm.version, nm.deployment_id, nm.swapped_at
		FROM hotswap.node_module nm
		WHERE nm.tenant_id = n.tenant_id AND nm.node_id = n.id
		ORDER BY nm.module, nm.swap DESC) m ON true
WHERE n.removed_at IS NULL;
COMMENT ON VIEW hotswap.nodes IS 'nodes and what runs on them, a row for each module';

CREATE VIEW hotswap.audit_log WITH (security_barrier) AS
SELECT a.tenant_id, a.at, a.subject, a.subject_id, a.seq, a.event, a.before, a.after, a.person, a.role,
	a.pid, a.client_addr, a.application_name, a.reason, a.detail
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.audit_event a ON a.tenant_id = v.tenant_id;
COMMENT ON VIEW hotswap.audit_log IS 'the audit log without its hashes';

CREATE VIEW hotswap.workers WITH (security_barrier) AS
SELECT w.kind, w.pid, w.database, w.role, w.state, w.deployment_id, w.since
FROM hotswap.worker_list() w;
COMMENT ON VIEW hotswap.workers IS 'launcher, dispatchers and executors of the whole cluster; for members of pg_monitor and those who have viewer for all tenants';

CREATE VIEW hotswap.tenants WITH (security_barrier) AS
SELECT t.id, t.name, t.subdomain, t.contact_email, t.tier, t.status, t.status_reason, t.status_changed_at,
	t.created_at, t.metadata
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.tenant t ON t.id = v.tenant_id;
COMMENT ON VIEW hotswap.tenants IS 'tenants, deleted ones too: who they are, their tier and status';

CREATE VIEW hotswap.tiers WITH (security_barrier) AS
SELECT t.name, t.rank, t.weight, t.monthly_price_cents,
	(SELECT coalesce(pg_catalog.jsonb_object_agg(q.resource, q.amount), '{}') FROM hotswap.tier_quota q
		WHERE q.tier = t.name) AS quotas
FROM hotswap.tier t
WHERE EXISTS (SELECT FROM hotswap.visible_tenants());
COMMENT ON VIEW hotswap.tiers IS 'tiers and what they give; a resource that is not in quotas is unlimited';

CREATE VIEW hotswap.quotas WITH (security_barrier) AS
SELECT l.tenant_id, l.resource, l.amount AS quota, l.own, l.used,
	CASE WHEN l.amount IS NOT NULL THEN greatest(l.amount - l.used, 0) END AS "left"
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.quota_limits l ON l.tenant_id = v.tenant_id;
COMMENT ON VIEW hotswap.quotas IS 'quotas of tenants, what is used and what is left; quota and left are NULL where it is unlimited';
