-- Notices of what happens to deployments and approvals, for systems outside.

CREATE FUNCTION hotswap.take_notifications(max integer DEFAULT 100, tenant uuid DEFAULT NULL,
		OUT id uuid, OUT event hotswap.notification_event, OUT at timestamptz, OUT deployment_id uuid,
		OUT environment text, OUT concerns text[], OUT reason text) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_take_notifications';
COMMENT ON FUNCTION hotswap.take_notifications(integer, uuid) IS
'Marks up to max notices of the outbox as delivered and returns them, oldest first; concurrent callers get different ones, and a rollback makes them due again.';
GRANT EXECUTE ON FUNCTION hotswap.take_notifications TO PUBLIC;

CREATE VIEW hotswap.notifications WITH (security_barrier) AS
SELECT v.tenant_id, n.id, n.at, n.event, n.deployment_id, n.module, n.version, n.environment, n.concerns,
	n.reason, n.delivered_at, n.release
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (n.deployment_id, n.id) n.*, d.module, d.version,
			d.release
		FROM hotswap.notification n
			JOIN hotswap.deployment d ON d.tenant_id = v.tenant_id AND d.id = n.deployment_id
		WHERE n.tenant_id = v.tenant_id) n;
COMMENT ON VIEW hotswap.notifications IS 'the outbox: a notice for each event of an approval, and for what else people have to know of a deployment; see take_notifications()';
GRANT SELECT ON hotswap.notifications TO PUBLIC;
