-- Deployments that take their nodes in waves: how far they are, and how people turn them.

CREATE FUNCTION hotswap.pause(deployment uuid, reason text) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_pause';
COMMENT ON FUNCTION hotswap.pause(uuid, text) IS
'Holds a deployment before its next wave or stage, with a reason, and returns its status: running until what runs has ended.';
GRANT EXECUTE ON FUNCTION hotswap.pause TO PUBLIC;

CREATE FUNCTION hotswap.resume(deployment uuid, reason text) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_resume';
COMMENT ON FUNCTION hotswap.resume(uuid, text) IS
'Takes back a pause(), with a reason, and returns the status; the deployment goes on when nothing else pauses it.';
GRANT EXECUTE ON FUNCTION hotswap.resume TO PUBLIC;

CREATE FUNCTION hotswap.promote(deployment uuid, reason text, "full" boolean DEFAULT false,
		wave integer DEFAULT NULL) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_promote';
COMMENT ON FUNCTION hotswap.promote(uuid, text, boolean, integer) IS
'Ends the bake of a wave now, the given one or that of the call, or all that are to come (full), with a reason; returns the status.';
GRANT EXECUTE ON FUNCTION hotswap.promote TO PUBLIC;

CREATE FUNCTION hotswap.skip_node(deployment uuid, node uuid, reason text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_skip_node';
COMMENT ON FUNCTION hotswap.skip_node(uuid, uuid, text) IS
'Leaves out a node whose wave has not begun, with a reason; it counts as one that stays behind.';
GRANT EXECUTE ON FUNCTION hotswap.skip_node TO PUBLIC;

CREATE VIEW hotswap.rollouts WITH (security_barrier) AS
SELECT v.tenant_id, r.deployment_id, r.stage, s.environment, r.strategy, r.wave, r.waves, n.nodes,
	n.nodes_done, n.nodes_failed, n.nodes_skipped, 100 * n.nodes_done / greatest(n.nodes, 1) AS percent,
	r.bake_until, r.bake_left, r.gate, r.promoted, r.hurried,
	CASE WHEN r.wave = 0 AND r.first_share IS NOT NULL THEN 0
		ELSE least(10000, r.first_share::bigint + (r.wave - 1) * r.share_step::bigint)::integer END AS share
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.deployment_id, t.stage) t.* FROM hotswap.rollout t
		WHERE t.tenant_id = v.tenant_id) r
	JOIN LATERAL (SELECT DISTINCT ON (t.deployment_id, t.ordinal) t.* FROM hotswap.stage t
		WHERE t.tenant_id = v.tenant_id) s ON s.deployment_id = r.deployment_id AND s.ordinal = r.stage
	CROSS JOIN LATERAL (SELECT pg_catalog.count(*)::integer AS nodes,
			(pg_catalog.count(*) FILTER (WHERE t.status = 'succeeded'))::integer AS nodes_done,
			(pg_catalog.count(*) FILTER (WHERE t.status = 'failed'))::integer AS nodes_failed,
			(pg_catalog.count(*) FILTER (WHERE t.status = 'skipped'))::integer AS nodes_skipped
		FROM hotswap.task t WHERE t.tenant_id = v.tenant_id AND t.deployment_id = r.deployment_id
		AND t.stage = r.stage AND t.kind = 'swap' AND t.steps > 0) n;
COMMENT ON VIEW hotswap.rollouts IS 'stages that take their nodes in waves, and how far they are';
GRANT SELECT ON hotswap.rollouts TO PUBLIC;

CREATE VIEW hotswap.pauses WITH (security_barrier) AS
SELECT v.tenant_id, p.deployment_id, p.kind, p.since, p.ends_at, p.paused_by, p.reason
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.deployment_id, t.kind) t.* FROM hotswap.pause t
		WHERE t.tenant_id = v.tenant_id) p;
COMMENT ON VIEW hotswap.pauses IS 'why deployments are paused, and until when at most';
GRANT SELECT ON hotswap.pauses TO PUBLIC;

CREATE VIEW hotswap.analyses WITH (security_barrier) AS
SELECT v.tenant_id, a.deployment_id, a.stage, s.environment, a.wave, a.look, a.at, a.metric, a.method, a.verdict,
	a.gate, a.nodes_with, a.nodes_without, a.level_with, a.level_without, a.difference, a.at_least, a.at_most,
	a.threshold, a.p, a.alpha, a.detectable, a.baseline_since, a.since, a.left_out, a.reason,
	nullif(a.function, '') AS function, pg_catalog.encode(a.function_digest, 'hex') AS function_digest
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.deployment_id, t.stage, t.at, t.metric, t.function) t.* FROM hotswap.analysis t
		WHERE t.tenant_id = v.tenant_id) a
	JOIN LATERAL (SELECT DISTINCT ON (t.deployment_id, t.ordinal) t.* FROM hotswap.stage t
		WHERE t.tenant_id = v.tenant_id) s ON s.deployment_id = a.deployment_id AND s.ordinal = a.stage;
COMMENT ON VIEW hotswap.analyses IS 'what was measured after the waves of rollouts, and what it was taken for';
GRANT SELECT ON hotswap.analyses TO PUBLIC;
