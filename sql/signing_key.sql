-- Signing keys, and the signatures of versions.

CREATE TYPE hotswap.signature_algorithm AS ENUM ('ed25519', 'rsa-pss-sha256');
COMMENT ON TYPE hotswap.signature_algorithm IS
'how a key signs: ed25519 = Ed25519 (RFC 8032); rsa-pss-sha256 = RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of any length';

CREATE TABLE hotswap.signing_key (
	tenant_id uuid NOT NULL REFERENCES hotswap.tenant,
	name text NOT NULL,
	algorithm hotswap.signature_algorithm NOT NULL,
	public_key text NOT NULL,
	fingerprint bytea NOT NULL CHECK (pg_catalog.length(fingerprint) = 32),
	valid tstzrange NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	created_by text NOT NULL,
	revoked_at timestamptz,
	revoked_by text,
	revoke_reason text,
	PRIMARY KEY (tenant_id, name),
	UNIQUE (tenant_id, fingerprint)
);
COMMENT ON TABLE hotswap.signing_key IS 'public keys of those who sign versions; revoked once, never changed otherwise, never removed';
COMMENT ON COLUMN hotswap.signing_key.public_key IS 'SubjectPublicKeyInfo in PEM form';
COMMENT ON COLUMN hotswap.signing_key.fingerprint IS 'SHA-256 of the key in DER form';
COMMENT ON COLUMN hotswap.signing_key.valid IS 'when its signatures count';

CREATE TABLE hotswap.version_signature (
	tenant_id uuid NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	signing_key text NOT NULL,
	signature bytea NOT NULL,
	signed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	signed_by text NOT NULL,
	PRIMARY KEY (tenant_id, module, version, signing_key),
	FOREIGN KEY (tenant_id, module, version) REFERENCES hotswap.module_version,
	FOREIGN KEY (tenant_id, signing_key) REFERENCES hotswap.signing_key
);
COMMENT ON TABLE hotswap.version_signature IS 'signatures of versions, at most one by each key; only added to';
COMMENT ON COLUMN hotswap.version_signature.signed_at IS 'when publish_version() took it';

CREATE VIEW hotswap.signing_keys WITH (security_barrier) AS
SELECT k.tenant_id, k.name, k.algorithm, pg_catalog.encode(k.fingerprint, 'hex') AS fingerprint, k.valid,
	k.created_at, k.created_by, k.revoked_at, k.revoked_by, k.revoke_reason, k.public_key
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.signing_key k ON k.tenant_id = v.tenant_id;
COMMENT ON VIEW hotswap.signing_keys IS 'signing keys, the revoked ones too';

CREATE VIEW hotswap.signatures WITH (security_barrier) AS
SELECT s.tenant_id, s.module, s.version, s.signing_key,
	k.revoked_at IS NULL AND k.valid @> pg_catalog.clock_timestamp() AS counts, s.signed_at, s.signed_by
FROM hotswap.visible_tenants() v (tenant_id)
	JOIN hotswap.version_signature s ON s.tenant_id = v.tenant_id
	JOIN hotswap.signing_key k ON k.tenant_id = s.tenant_id AND k.name = s.signing_key;
COMMENT ON VIEW hotswap.signatures IS 'which versions are signed by which keys, and whether the key counts now';

CREATE FUNCTION hotswap.add_signing_key(name text, algorithm text, public_key text,
		valid tstzrange DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_add_signing_key';
COMMENT ON FUNCTION hotswap.add_signing_key(text, text, text, tstzrange, uuid) IS
'Makes a public key known, whose signatures of versions count from now on, and returns its fingerprint: the SHA-256 of its DER form in hex. name: as a module''s; algorithm: ed25519 or rsa-pss-sha256; public_key: one PUBLIC KEY in PEM form of at most 8191 bytes, RSA of at least 2048 bits; valid: when signatures count, NULL for always. The same again writes nothing. Only for those who have admin. Errors: 22023 bad argument, 23505 the name belongs to another key or the key has another name, 55000 the key is revoked, P0002 no such tenant, 42501 not allowed, YH003 tenant not active. Locks the tenant row; audited.';

CREATE FUNCTION hotswap.revoke_signing_key(name text, reason text, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_revoke_signing_key';
COMMENT ON FUNCTION hotswap.revoke_signing_key(text, text, uuid) IS
'Revokes a signing key for good: its signatures count no more, those given before neither. A deployment that needs one of them fails when its next stage with that need starts; one that is in the middle of such a stage ends it. Only for those who have admin. Errors: 22023 bad argument, P0002 no such key or tenant, 55000 it is revoked already, 42501 not allowed, YH003 the tenant is deprovisioning or deleted. Locks the tenant row and the key; audited.';

CREATE FUNCTION hotswap.module_signing_payload(module text, version text, deploy_sql text,
		verify_sql text DEFAULT NULL, revert_sql text DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'hotswap_module_signing_payload';
COMMENT ON FUNCTION hotswap.module_signing_payload(text, text, text, text, text, uuid) IS
'Returns what has to be signed for publish_version() with the same arguments: five lines, each with a line feed at its end: hotswap-module-v1, the tenant''s id, the module, the version, and the SHA-256 that publish_version() returns. Looks nothing up. Errors: 22023 bad argument.';
