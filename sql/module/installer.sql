-- Installers that come after their versions.

CREATE FUNCTION hotswap.publish_installer(module text, version text, install_sql text,
		signature bytea DEFAULT NULL, signing_key text DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_publish_installer';
COMMENT ON FUNCTION hotswap.publish_installer(text, text, text, bytea, text, uuid) IS
'Adds an installer to a version that is there, whose digest stays, and returns the installer''s SHA-256 in hex.';
GRANT EXECUTE ON FUNCTION hotswap.publish_installer TO PUBLIC;

CREATE FUNCTION hotswap.installer_signing_payload(module text, version text, install_sql text,
		tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_installer_signing_payload';
COMMENT ON FUNCTION hotswap.installer_signing_payload(text, text, text, uuid) IS
'Returns the text that has to be signed for publish_installer() with the same arguments.';
GRANT EXECUTE ON FUNCTION hotswap.installer_signing_payload TO PUBLIC;
