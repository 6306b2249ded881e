-- The state of the audit log in one line, to be kept elsewhere.

CREATE FUNCTION hotswap.audit_head(tenant uuid DEFAULT NULL, since timestamptz DEFAULT NULL,
		OUT starts_at timestamptz, OUT ends_at timestamptz, OUT events bigint, OUT head text)
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_audit_head';
COMMENT ON FUNCTION hotswap.audit_head(uuid, timestamptz) IS
'Returns the number of the audit events in a span of time that nothing is added to any more, and their SHA-256: to be kept outside, for check_audit_head().';
GRANT EXECUTE ON FUNCTION hotswap.audit_head TO PUBLIC;

CREATE FUNCTION hotswap.check_audit_head(starts_at timestamptz, ends_at timestamptz, events bigint, head text,
		tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_check_audit_head';
COMMENT ON FUNCTION hotswap.check_audit_head(timestamptz, timestamptz, bigint, text, uuid) IS
'Returns how the audit log differs from what audit_head() returned once, or that retention has removed some of it; NULL: all of it is there as it was.';
GRANT EXECUTE ON FUNCTION hotswap.check_audit_head TO PUBLIC;
