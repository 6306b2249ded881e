-- Versions that are taken back.

CREATE FUNCTION hotswap.withdraw_version(module text, version text, reason text, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_withdraw_version';
COMMENT ON FUNCTION hotswap.withdraw_version(text, text, text, uuid) IS
'Takes a version back that nothing needs and no protected environment has seen, with a reason; its name is free again.';
GRANT EXECUTE ON FUNCTION hotswap.withdraw_version TO PUBLIC;
