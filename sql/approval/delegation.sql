-- Votes that are lent.

CREATE FUNCTION hotswap.delegate_approval(delegate regrole, until timestamptz, reason text,
		tenant uuid DEFAULT NULL) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_delegate_approval';
COMMENT ON FUNCTION hotswap.delegate_approval(regrole, timestamptz, text, uuid) IS
'Lends the right to vote of the login role to another role and its members until a time, and returns the id of the delegation.';
GRANT EXECUTE ON FUNCTION hotswap.delegate_approval TO PUBLIC;

CREATE FUNCTION hotswap.revoke_delegation(delegation uuid, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_revoke_delegation';
COMMENT ON FUNCTION hotswap.revoke_delegation(uuid, uuid) IS
'Ends a delegation early; votes that were cast with it still count.';
GRANT EXECUTE ON FUNCTION hotswap.revoke_delegation TO PUBLIC;

CREATE VIEW hotswap.delegations WITH (security_barrier) AS
SELECT v.tenant_id, g.id, g.delegator, g.delegate, g.created_at, g.until, g.revoked_at, g.reason,
	g.revoked_at IS NULL AND g.until > pg_catalog.now() AS in_force
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (d.id) d.* FROM hotswap.approval_delegation d
		WHERE d.tenant_id = v.tenant_id) g;
COMMENT ON VIEW hotswap.delegations IS 'votes that approvers have lent to others';
GRANT SELECT ON hotswap.delegations TO PUBLIC;
