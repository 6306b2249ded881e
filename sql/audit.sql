-- The audit log: append-only, hash-chained, partitioned by month.
--
-- The script makes only the default partition; the dispatcher adds one for each month. Those are
-- not members of the extension, so that pg_dump carries them as they are. The primary key is theirs
-- and not the parent's: a restore would get it twice, from the parent and from the dump.

CREATE TABLE hotswap.audit_event (
	tenant_id uuid NOT NULL,
	subject_id uuid NOT NULL,
	seq integer NOT NULL,
	at timestamptz NOT NULL,
	subject text NOT NULL,
	event text NOT NULL,
	before text,
	after text,
	person text NOT NULL,
	role name NOT NULL,
	pid integer NOT NULL,
	client_addr inet,
	application_name text NOT NULL,
	reason text,
	detail jsonb,
	previous_hash bytea,
	hash bytea NOT NULL
) PARTITION BY RANGE (at);
CREATE TABLE hotswap.audit_event_default PARTITION OF hotswap.audit_event
	(PRIMARY KEY (tenant_id, subject_id, seq, at)) DEFAULT;
COMMENT ON TABLE hotswap.audit_event IS 'what happened, to what, by whom; written in the transaction of the change';
COMMENT ON TABLE hotswap.audit_event_default IS 'events of months that have no partition of their own';
COMMENT ON COLUMN hotswap.audit_event.subject_id IS 'the deployment or tenant whose chain this event belongs to';
COMMENT ON COLUMN hotswap.audit_event.seq IS 'place in that chain, from 1 without gaps';
COMMENT ON COLUMN hotswap.audit_event.previous_hash IS 'hash of the event before it in the chain';

CREATE FUNCTION hotswap.audit_guard() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_audit_guard';
COMMENT ON FUNCTION hotswap.audit_guard() IS
'Trigger that refuses to change or remove audit events (55000), for the owner too; only the retention job passes.';
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON hotswap.audit_event
	FOR EACH ROW EXECUTE FUNCTION hotswap.audit_guard();
CREATE TRIGGER audit_guard_truncate BEFORE TRUNCATE ON hotswap.audit_event
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.audit_guard();
CREATE TRIGGER audit_guard_truncate BEFORE TRUNCATE ON hotswap.audit_event_default
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.audit_guard();
COMMENT ON TRIGGER audit_guard ON hotswap.audit_event IS 'the log is append-only';
COMMENT ON TRIGGER audit_guard_truncate ON hotswap.audit_event IS 'the log is append-only';
COMMENT ON TRIGGER audit_guard_truncate ON hotswap.audit_event_default IS 'the log is append-only';

CREATE FUNCTION hotswap.verify_audit(tenant uuid DEFAULT NULL, OUT tenant_id uuid, OUT subject_id uuid,
		OUT seq integer, OUT problem text) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_verify_audit';
COMMENT ON FUNCTION hotswap.verify_audit(uuid) IS
'Recomputes the hash chains of the audit log and returns, for each broken one, the first event that was altered or removed; no row means that the log is whole. tenant: NULL for all. Needs the capability viewer there. Errors: 42501 not allowed. Reads the whole log; locks nothing.';
