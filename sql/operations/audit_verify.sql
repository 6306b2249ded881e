-- Is the audit log whole?

CREATE FUNCTION hotswap.verify_audit(tenant uuid DEFAULT NULL, OUT tenant_id uuid, OUT subject_id uuid,
		OUT seq integer, OUT problem text) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_verify_audit';
COMMENT ON FUNCTION hotswap.verify_audit(uuid) IS
'Returns, for each broken hash chain of the audit log (tenant NULL: of all), the first event that was altered or removed; no row: the log is whole.';
GRANT EXECUTE ON FUNCTION hotswap.verify_audit TO PUBLIC;
