-- Modules and their immutable versions.

CREATE FUNCTION hotswap.publish_version(module text, version text, deploy_sql text,
		verify_sql text DEFAULT NULL, revert_sql text DEFAULT NULL,
		signature bytea DEFAULT NULL, signing_key text DEFAULT NULL,
		parents text[] DEFAULT NULL, install_sql text DEFAULT NULL,
		metadata jsonb DEFAULT '{}', transactional boolean DEFAULT true,
		requires text[] DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_publish_version';
COMMENT ON FUNCTION hotswap.publish_version(text, text, text, text, text, bytea, text, text[], text, jsonb, boolean, text[], uuid) IS
'Stores an immutable version of a module, its scripts parsed at once, and returns their SHA-256 in hex; the module is made when it is new.';
GRANT EXECUTE ON FUNCTION hotswap.publish_version TO PUBLIC;
