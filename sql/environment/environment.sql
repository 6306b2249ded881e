-- Environments: where modules are deployed to, in rank order.

CREATE FUNCTION hotswap.configure_environment(name text, rank integer DEFAULT NULL,
		strategy text DEFAULT NULL, revert_on_failure boolean DEFAULT NULL,
		require_signature boolean DEFAULT NULL, allow_revert text DEFAULT NULL,
		may_skip_environments boolean DEFAULT NULL, rollback_needs_approval boolean DEFAULT NULL,
		rollback_within interval DEFAULT NULL, max_failed text DEFAULT NULL,
		bring_up_needs_approval boolean DEFAULT NULL, freeze_stops_rollback boolean DEFAULT NULL,
		rehearse_without_approval boolean DEFAULT NULL, require_rehearsal boolean DEFAULT NULL,
		rehearse_max_lock interval DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_configure_environment';
COMMENT ON FUNCTION hotswap.configure_environment(text, integer, text, boolean, boolean, text, boolean, boolean, interval, text, boolean, boolean, boolean, boolean, interval, uuid) IS
'Changes an environment, or makes it when rank is given and it does not exist; NULL leaves what is there.';
GRANT EXECUTE ON FUNCTION hotswap.configure_environment TO PUBLIC;

CREATE VIEW hotswap.usual_environments WITH (security_barrier) AS
SELECT e.name, e.rank, e.min_approvals
FROM (VALUES ('development', 10, 0), ('qa', 20, 0), ('staging', 30, 1), ('production', 40, 1))
	e (name, rank, min_approvals);
COMMENT ON VIEW hotswap.usual_environments IS 'what a tenant begins with';

CREATE VIEW hotswap.environments WITH (security_barrier) AS
SELECT v.tenant_id, e.name, e.rank, e.strategy, e.revert_on_failure, e.require_signature, e.min_approvals, e.approvers,
	e.expires_after, e.allow_self_approval, e.require_comment, e.max_open_reviews,
	(SELECT pg_catalog.count(*) FROM hotswap.node n WHERE n.tenant_id = v.tenant_id
		AND n.environment = e.name AND n.removed_at IS NULL)::integer AS nodes,
	coalesce(e.allow_revert::text, CASE WHEN e.min_approvals > 0 THEN 'no' ELSE 'operator' END) AS allow_revert,
	e.may_skip_environments, e.rollback_needs_approval, e.rollback_within, e.max_failed,
	e.bring_up_needs_approval, e.freeze_stops_rollback, e.rehearse_without_approval, e.require_rehearsal,
	e.rehearse_max_lock, e.silent_after, e.max_cpu, e.max_memory, e.max_error_rate,
	e.min_healthy, e.metrics_from, e.measure, hotswap.environment_health(v.tenant_id, e.name) AS health,
	e.agent_lease, e.agent_attempts, e.claim_within,
	e.first_wave, e.wave_step, e.first_bake, e.bake, e.bake_last, e.pause_timeout, e.health_timeout,
	e.confidence, e.more_errors, e.more_latency, e.more_cpu, e.more_memory, e.looks, e.adaptive, e.min_bake,
	e.require_metrics, e.canary_by, e.max_parallel, e.order_by
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.name) t.* FROM hotswap.environment t
		WHERE t.tenant_id = v.tenant_id OFFSET 0) e
UNION ALL
SELECT '00000000-0000-7000-8000-000000000001', u.name, u.rank, 'auto'::text::hotswap.strategy, true, false, u.min_approvals, NULL,
	'24 h', false, false, NULL, 0, CASE WHEN u.min_approvals > 0 THEN 'no' ELSE 'operator' END, false, false, '7 d', NULL,
	false, false, false, false, '500 ms', '2 min', 90, 90, 5, NULL, NULL, NULL, 'unknown', '30 s', 3, '10 min',
	NULL, NULL, NULL, NULL, NULL, '24 h', '5 min', 0.95, 50, 100, 30, 30, 5,
	false, '5 min', false, 'nodes', 0, '{}'
FROM hotswap.usual_environments u WHERE NOT EXISTS (SELECT FROM hotswap.installation);
COMMENT ON VIEW hotswap.environments IS 'environments and how many nodes they have; in a new database those of the tenant "default", which its first call makes';
GRANT SELECT ON hotswap.environments TO PUBLIC;
