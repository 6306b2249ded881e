-- Bypasses and overrides await somebody else's look.

CREATE FUNCTION hotswap.close_bypass_review(deployment uuid, environment text, comment text,
		on_behalf_of text DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_close_bypass_review';
COMMENT ON FUNCTION hotswap.close_bypass_review(uuid, text, text, text) IS
'Records, with a comment, that somebody else has looked at a bypass, or at an override of windows.';
GRANT EXECUTE ON FUNCTION hotswap.close_bypass_review TO PUBLIC;

CREATE VIEW hotswap.bypass_reviews WITH (security_barrier) AS
SELECT v.tenant_id, r.deployment_id, r.module, r.version, r.environment, r.decided_at AS bypassed_at,
	r.decided_by AS bypassed_by, r.reason, r.ticket, r.status, r.what, r.release
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (
		(SELECT DISTINCT ON (a.deployment_id, a.environment, a.round) a.deployment_id,
			d.module, d.version, a.environment, a.decided_at, a.decided_by, a.reason, a.ticket, d.status,
			'approval' AS what, d.release
		FROM hotswap.approval a
			JOIN hotswap.deployment d ON d.tenant_id = v.tenant_id AND d.id = a.deployment_id
		WHERE a.tenant_id = v.tenant_id AND a.status = 'bypassed' AND a.review_closed_at IS NULL)
		UNION ALL
		(SELECT DISTINCT ON (o.deployment_id, o.id) o.deployment_id,
			d.module, d.version, o.environment, o.overridden_at, o.overridden_by, o.reason, o.ticket, d.status,
			'windows', d.release
		FROM hotswap.freeze_override o
			JOIN hotswap.deployment d ON d.tenant_id = v.tenant_id AND d.id = o.deployment_id
		WHERE o.tenant_id = v.tenant_id AND o.review_closed_at IS NULL)
		OFFSET 0) r;
COMMENT ON VIEW hotswap.bypass_reviews IS 'bypasses and overrides that nobody else has looked at yet; see close_bypass_review()';
GRANT SELECT ON hotswap.bypass_reviews TO PUBLIC;
