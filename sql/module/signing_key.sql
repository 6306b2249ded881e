-- Signing keys, and the signatures of versions.

CREATE FUNCTION hotswap.add_signing_key(name text, algorithm text, public_key text,
		valid tstzrange DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_add_signing_key';
COMMENT ON FUNCTION hotswap.add_signing_key(text, text, text, tstzrange, uuid) IS
'Makes a public key known (ed25519 or rsa-pss-sha256, in PEM form), whose signatures of versions count from now on, and returns its fingerprint.';
GRANT EXECUTE ON FUNCTION hotswap.add_signing_key TO PUBLIC;

CREATE FUNCTION hotswap.revoke_signing_key(name text, reason text, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_revoke_signing_key';
COMMENT ON FUNCTION hotswap.revoke_signing_key(text, text, uuid) IS
'Revokes a signing key for good, with a reason: its signatures count no more, those given before neither.';
GRANT EXECUTE ON FUNCTION hotswap.revoke_signing_key TO PUBLIC;

CREATE FUNCTION hotswap.module_signing_payload(module text, version text, deploy_sql text DEFAULT NULL,
		verify_sql text DEFAULT NULL, revert_sql text DEFAULT NULL, parents text[] DEFAULT NULL,
		install_sql text DEFAULT NULL, transactional boolean DEFAULT true,
		requires text[] DEFAULT NULL, digest text DEFAULT NULL, uri text DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_module_signing_payload';
COMMENT ON FUNCTION hotswap.module_signing_payload(text, text, text, text, text, text[], text, boolean, text[], text, text, uuid) IS
'Returns the text that has to be signed for publish_version() or publish_artifact() with the same arguments. Looks up the parents alone.';
GRANT EXECUTE ON FUNCTION hotswap.module_signing_payload TO PUBLIC;

CREATE VIEW hotswap.signing_keys WITH (security_barrier) AS
SELECT v.tenant_id, k.name, k.algorithm, pg_catalog.encode(k.fingerprint, 'hex') AS fingerprint, k.valid,
	k.created_at, k.created_by, k.revoked_at, k.revoked_by, k.revoke_reason, k.public_key
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (t.name) t.* FROM hotswap.signing_key t
		WHERE t.tenant_id = v.tenant_id OFFSET 0) k;
COMMENT ON VIEW hotswap.signing_keys IS 'signing keys, the revoked ones too';
GRANT SELECT ON hotswap.signing_keys TO PUBLIC;

CREATE VIEW hotswap.signatures WITH (security_barrier) AS
SELECT v.tenant_id, s.module, s.version, s.signing_key,
	s.revoked_at IS NULL AND s.valid @> pg_catalog.clock_timestamp() AS counts, s.signed_at, s.signed_by
FROM hotswap.visible_tenants() v (tenant_id)
	CROSS JOIN LATERAL (SELECT DISTINCT ON (s.module, s.version, s.signing_key) s.*, k.revoked_at, k.valid
		FROM hotswap.version_signature s
			JOIN hotswap.signing_key k ON k.tenant_id = v.tenant_id AND k.name = s.signing_key
		WHERE s.tenant_id = v.tenant_id OFFSET 0) s;
COMMENT ON VIEW hotswap.signatures IS 'which versions are signed by which keys, and whether the key counts now';
GRANT SELECT ON hotswap.signatures TO PUBLIC;
