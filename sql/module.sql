-- Modules and their immutable versions.

CREATE TABLE hotswap.module (
	tenant_id uuid NOT NULL REFERENCES hotswap.tenant,
	name text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE hotswap.module IS 'named units of code';

CREATE TABLE hotswap.module_version (
	tenant_id uuid NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	digest bytea NOT NULL CHECK (pg_catalog.length(digest) = 32),
	published_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	published_by text NOT NULL,
	deploy_sql text NOT NULL,
	verify_sql text,
	revert_sql text,
	PRIMARY KEY (tenant_id, module, version),
	FOREIGN KEY (tenant_id, module) REFERENCES hotswap.module
);
COMMENT ON TABLE hotswap.module_version IS 'what can be deployed: scripts and their digest, never changed once published';
COMMENT ON COLUMN hotswap.module_version.digest IS 'SHA-256 over the three scripts, each with its length in front';

CREATE FUNCTION hotswap.publish_version(module text, version text, deploy_sql text,
		verify_sql text DEFAULT NULL, revert_sql text DEFAULT NULL,
		signature bytea DEFAULT NULL, signing_key text DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_publish_version';
COMMENT ON FUNCTION hotswap.publish_version(text, text, text, text, text, bytea, text, uuid) IS
'Stores an immutable version of a module and returns its SHA-256 in hex; the module is made when it is new. module and version: 1 to 63 characters, letters, digits and . _ + - (the first one a letter or digit); scripts: SQL of at most 16 MB each, parsed at once by the server''s grammar, without transaction control and without statements that cannot run in a transaction block. signature, signing_key: a signature of what module_signing_payload() returns for the other arguments, and the name of its key; both or neither. The same content again returns the same digest and writes nothing, but a signature by a key that has not signed the version yet is added. Errors: 22023 bad argument, P0002 no such key or tenant, 42501 not allowed, 55000 the key is revoked or not valid now, YH010 the signature does not verify, 42601 syntax (with position), 0A000 a statement that a script may not contain (with position), 23505 the version exists with other content, 53400 the quota of modules or stored_bytes is exceeded, YH003 tenant not active. Locks the module and the tenant row; audited.';
