-- Notices of approvals, for systems outside.

CREATE TYPE hotswap.notification_event AS ENUM
	('requested', 'approved', 'rejected', 'expired', 'bypassed');
COMMENT ON TYPE hotswap.notification_event IS 'what has happened to an approval';

CREATE TABLE hotswap.notification (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	id uuid NOT NULL,
	event hotswap.notification_event NOT NULL,
	at timestamptz NOT NULL,
	delivered_at timestamptz,
	environment text NOT NULL,
	concerns text[] NOT NULL,
	reason text,
	PRIMARY KEY (tenant_id, deployment_id, id)
);
CREATE INDEX notification_outbox ON hotswap.notification (tenant_id, id)
	WHERE delivered_at IS NULL;
COMMENT ON TABLE hotswap.notification IS 'the outbox: written in the transaction of the event';
COMMENT ON COLUMN hotswap.notification.concerns IS 'the roles that may vote, or the person that requested the deployment';

CREATE FUNCTION hotswap.take_notifications(max integer DEFAULT 100, tenant uuid DEFAULT NULL,
		OUT id uuid, OUT event hotswap.notification_event, OUT at timestamptz, OUT deployment_id uuid,
		OUT environment text, OUT concerns text[], OUT reason text) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_take_notifications';
COMMENT ON FUNCTION hotswap.take_notifications(integer, uuid) IS
'Marks up to max (1 to 10,000) notices as delivered and returns them, oldest first. Several consumers may call it at once and get different ones; when the transaction rolls back they are due again. Errors: 22023 bad argument. Locks the notices it returns.';

CREATE VIEW hotswap.notifications WITH (security_barrier) AS
SELECT n.tenant_id, n.id, n.at, n.event, n.deployment_id, d.module, d.version, n.environment, n.concerns,
	n.reason, n.delivered_at
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.notification n ON n.tenant_id = v.tenant_id
	JOIN hotswap.deployment d ON d.tenant_id = n.tenant_id AND d.id = n.deployment_id;
COMMENT ON VIEW hotswap.notifications IS 'the outbox: a notice for each event of an approval; see take_notifications()';
