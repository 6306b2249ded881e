-- The audit log: its guard, and its view.

CREATE FUNCTION hotswap.audit_guard() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_audit_guard';
COMMENT ON FUNCTION hotswap.audit_guard() IS
'Trigger that refuses to change or remove audit events (55000), for the owner too; only the retention job passes.';

CREATE VIEW hotswap.audit_log WITH (security_barrier) AS
SELECT v.tenant_id, a.at, a.subject, a.subject_id, a.seq, a.event, a.before, a.after, a.person, a.role,
	a.pid, a.client_addr, a.application_name, a.reason, a.detail
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (e.subject_id, e.seq, e.at) e.* FROM hotswap.audit_event e
		WHERE e.tenant_id = v.tenant_id) a;
COMMENT ON VIEW hotswap.audit_log IS 'the audit log without its hashes';
GRANT SELECT ON hotswap.audit_log TO PUBLIC;

CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON hotswap.audit_event
	FOR EACH ROW EXECUTE FUNCTION hotswap.audit_guard();
ALTER TABLE hotswap.audit_event ENABLE ALWAYS TRIGGER audit_guard;
COMMENT ON TRIGGER audit_guard ON hotswap.audit_event IS 'the log is append-only';

CREATE TRIGGER audit_guard_truncate BEFORE TRUNCATE ON hotswap.audit_event
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.audit_guard();
ALTER TABLE hotswap.audit_event ENABLE ALWAYS TRIGGER audit_guard_truncate;
COMMENT ON TRIGGER audit_guard_truncate ON hotswap.audit_event IS 'the log is append-only';

CREATE TRIGGER audit_guard_truncate BEFORE TRUNCATE ON hotswap.audit_event_default
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.audit_guard();
ALTER TABLE hotswap.audit_event_default ENABLE ALWAYS TRIGGER audit_guard_truncate;
COMMENT ON TRIGGER audit_guard_truncate ON hotswap.audit_event_default IS 'the log is append-only';
