-- How approvals stand.

CREATE FUNCTION hotswap.wait_for_approval(deployment uuid, environment text DEFAULT NULL,
		timeout interval DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_wait_for_approval';
COMMENT ON FUNCTION hotswap.wait_for_approval(uuid, text, interval) IS
'Blocks until an approval (environment NULL: the next on the path) has been decided, or the time is over (NULL: no limit), and returns its status.';
GRANT EXECUTE ON FUNCTION hotswap.wait_for_approval TO PUBLIC;

CREATE FUNCTION hotswap.approval_state(tenant uuid, deployment uuid, environment text, round integer,
		OUT counted integer, OUT missing integer, OUT may_vote text[])
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_approval_state';
COMMENT ON FUNCTION hotswap.approval_state(uuid, uuid, text, integer) IS
'For the view approvals: how many votes count now, how many are missing, and which login roles may still vote (none when it is decided).';
GRANT EXECUTE ON FUNCTION hotswap.approval_state TO PUBLIC;

CREATE VIEW hotswap.approvals WITH (security_barrier) AS
SELECT t.tenant_id, a.deployment_id, a.module, a.version, a.environment, a.round, a.status, s.counted,
	s.missing, s.may_vote,
	ARRAY(SELECT v.person || CASE v.decision WHEN 'reject' THEN ' (reject)' ELSE '' END
		FROM hotswap.approval_vote v
		WHERE v.tenant_id = t.tenant_id AND v.deployment_id = a.deployment_id
		AND v.environment = a.environment AND v.round = a.round ORDER BY v.at) AS voters,
	a.requested_by, a.opened_at, a.expires_at,
	CASE a.status WHEN 'pending' THEN greatest(a.expires_at - pg_catalog.now(), '0'::interval) END AS time_left,
	a.decided_at, a.decided_by, a.reason, a.used_at, a.steps, a.roles, a.release,
	coalesce((SELECT pg_catalog.bool_and(coalesce((s ->> 'transactional')::boolean, true))
		FROM pg_catalog.jsonb_array_elements(a.steps) s),
		(SELECT v.transactional FROM hotswap.module_version v WHERE v.tenant_id = t.tenant_id
		AND v.module = a.module AND v.version = a.version), true) AS transactional
FROM hotswap.visible_tenants() t (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (a.deployment_id, a.environment, a.round) a.*, d.module,
			d.version, d.requested_by, d.release
		FROM hotswap.approval a
			JOIN hotswap.deployment d ON d.tenant_id = t.tenant_id AND d.id = a.deployment_id
		WHERE a.tenant_id = t.tenant_id OFFSET 0) a
	LEFT JOIN LATERAL (SELECT * FROM hotswap.approval_state(t.tenant_id, a.deployment_id, a.environment, a.round)
		WHERE a.status = 'pending') s ON true;
COMMENT ON VIEW hotswap.approvals IS 'approvals: their votes, what is missing, who may still vote, and how much time is left';
GRANT SELECT ON hotswap.approvals TO PUBLIC;
