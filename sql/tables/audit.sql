-- The audit log: append-only, hash-chained, partitioned by month.
--
-- The script makes only the default partition; the dispatcher adds one for each month. Those are
-- not members of the extension, so that pg_dump carries them as they are. The primary key is
-- theirs and not the parent's: a restore would get it twice, from the parent and from the dump.

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
ALTER TABLE hotswap.audit_event ALTER COLUMN subject_id SET STATISTICS 0, ALTER COLUMN seq SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.audit_event IS 'what happened, to what, by whom; written in the transaction of the change';
COMMENT ON COLUMN hotswap.audit_event.subject_id IS 'the deployment or tenant whose chain this event belongs to';
COMMENT ON COLUMN hotswap.audit_event.seq IS 'place in that chain, from 1 without gaps';
COMMENT ON COLUMN hotswap.audit_event.previous_hash IS 'hash of the event before it in the chain';

CREATE TABLE hotswap.audit_event_default PARTITION OF hotswap.audit_event
	(PRIMARY KEY (tenant_id, subject_id, seq, at)) DEFAULT;
COMMENT ON TABLE hotswap.audit_event_default IS 'events of months that have no partition of their own';
ALTER TABLE hotswap.audit_event_default ALTER COLUMN subject_id SET STATISTICS 0, ALTER COLUMN seq SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.audit_event_default', '');
