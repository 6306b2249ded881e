-- Modules and versions, signing keys and signatures, and the rules for scripts.

CREATE TABLE hotswap.module (
	tenant_id uuid NOT NULL,
	name text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	is_graph boolean NOT NULL DEFAULT false,
	versions integer NOT NULL DEFAULT 0,
	history bytea CHECK (pg_catalog.length(history) = 32),
	requires text[],
	routed boolean NOT NULL DEFAULT false,
	retain_versions integer NOT NULL DEFAULT 2 CHECK (retain_versions BETWEEN 0 AND 20),
	retain_for interval NOT NULL DEFAULT '0',
	PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE hotswap.module IS 'named units of code';
COMMENT ON COLUMN hotswap.module.is_graph IS 'its versions have parents; the first one decides. false: each is complete in itself';
COMMENT ON COLUMN hotswap.module.versions IS 'the ordinal that was given last';
COMMENT ON COLUMN hotswap.module.history IS 'SHA-256 over what it was before and what was published or withdrawn last: two copies that are equal here know the same versions';
COMMENT ON COLUMN hotswap.module.requires IS 'the modules that its versions ask for, or ask to be without; NULL: none';
COMMENT ON COLUMN hotswap.module.routed IS 'each version is installed into a schema of its own, and called through entries';
COMMENT ON COLUMN hotswap.module.retain_versions IS 'earlier versions that stay installed on a node, to go back to';
COMMENT ON COLUMN hotswap.module.retain_for IS 'how long an earlier version stays in any case';
CREATE INDEX module_requires ON hotswap.module (tenant_id) WHERE requires IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('hotswap.module', '');

CREATE TABLE hotswap.module_version (
	tenant_id uuid NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	digest bytea NOT NULL CHECK (pg_catalog.length(digest) = 32),
	published_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	published_by text NOT NULL,
	deploy_sql text,
	verify_sql text,
	revert_sql text,
	findings json,
	findings_digest bytea CHECK (pg_catalog.length(findings_digest) = 32),
	ordinal integer,
	parents text[],
	install_sql text,
	install_digest bytea CHECK (pg_catalog.length(install_digest) = 32),
	transactional boolean NOT NULL DEFAULT true,
	requires text[],
	metadata jsonb NOT NULL DEFAULT '{}',
	install_published_at timestamptz,
	install_published_by text,
	artifact bytea,
	artifact_digest bytea CHECK (pg_catalog.length(artifact_digest) = 32),
	artifact_uri text,
	artifact_size bigint,
	PRIMARY KEY (tenant_id, module, version)
);
CREATE INDEX module_version_installer ON hotswap.module_version (tenant_id, module)
	WHERE install_sql IS NOT NULL;
COMMENT ON TABLE hotswap.module_version IS 'what can be deployed: scripts and their digest, never changed once published';
COMMENT ON COLUMN hotswap.module_version.digest IS 'SHA-256 over the scripts, each with its length in front, and over what else says what is done: see the manual';
COMMENT ON COLUMN hotswap.module_version.findings IS 'what the static rules are about in the scripts, found when they were published; written again after an update';
COMMENT ON COLUMN hotswap.module_version.findings_digest IS 'SHA-256 over the version''s digest, the rules and the server''s grammar, and findings; they count only if it fits';
COMMENT ON COLUMN hotswap.module_version.ordinal IS 'order of publication in the module, from 1';
COMMENT ON COLUMN hotswap.module_version.parents IS 'the versions that the deploy script builds on, empty: the first of a chain; NULL: the version is complete in itself';
COMMENT ON COLUMN hotswap.module_version.install_sql IS 'takes nothing to this version in one go; for nodes that run nothing of the module';
COMMENT ON COLUMN hotswap.module_version.install_digest IS 'SHA-256 over the version''s digest and the installer, which may have been published after it';
COMMENT ON COLUMN hotswap.module_version.install_published_at IS 'of an installer that came after the version, whose digest does not cover it; NULL: it came with it, or there is none';
COMMENT ON COLUMN hotswap.module_version.transactional IS 'false: each statement is a transaction of its own';
COMMENT ON COLUMN hotswap.module_version.requires IS 'what a node has to run, or must not run, of other modules before';
COMMENT ON COLUMN hotswap.module_version.deploy_sql IS 'NULL: it has an artifact and is for agents alone';
COMMENT ON COLUMN hotswap.module_version.artifact IS 'what agents install, stored so that a part can be read; NULL: it is at artifact_uri, or there is none';
COMMENT ON COLUMN hotswap.module_version.artifact_digest IS 'its SHA-256, which is part of digest; NULL: there is none';
ALTER TABLE hotswap.module_version ALTER COLUMN artifact SET STORAGE EXTERNAL;
ALTER TABLE hotswap.module_version ALTER COLUMN module SET STATISTICS 0, ALTER COLUMN version SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.module_version', '');

CREATE TABLE hotswap.withdrawn_version (
	tenant_id uuid NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	ordinal integer NOT NULL,
	digest bytea NOT NULL CHECK (pg_catalog.length(digest) = 32),
	published_at timestamptz NOT NULL,
	published_by text NOT NULL,
	withdrawn_at timestamptz NOT NULL,
	withdrawn_by text NOT NULL,
	reason text NOT NULL,
	PRIMARY KEY (tenant_id, module, ordinal)
);
COMMENT ON TABLE hotswap.withdrawn_version IS 'versions that were taken back before they were applied in a protected environment; their names are free again';
SELECT pg_catalog.pg_extension_config_dump('hotswap.withdrawn_version', '');

CREATE TABLE hotswap.version_tag (
	tenant_id uuid NOT NULL,
	module text NOT NULL,
	tag text NOT NULL,
	version text NOT NULL,
	tagged_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	tagged_by text NOT NULL,
	PRIMARY KEY (tenant_id, module, tag)
);
CREATE INDEX version_tag_version ON hotswap.version_tag (tenant_id, module, version);
COMMENT ON TABLE hotswap.version_tag IS 'other names of versions, never changed; a name is that of a version or of a tag';
SELECT pg_catalog.pg_extension_config_dump('hotswap.version_tag', '');

CREATE TABLE hotswap.release (
	tenant_id uuid NOT NULL,
	name text NOT NULL,
	digest bytea NOT NULL CHECK (pg_catalog.length(digest) = 32),
	published_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	published_by text NOT NULL,
	PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE hotswap.release IS 'versions of several modules that are deployed as one, never changed once published';
COMMENT ON COLUMN hotswap.release.digest IS 'SHA-256 over its modules, their versions and the digests of these, in the order of the modules'' names';
SELECT pg_catalog.pg_extension_config_dump('hotswap.release', '');

CREATE TABLE hotswap.release_module (
	tenant_id uuid NOT NULL,
	release text NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	PRIMARY KEY (tenant_id, release, module)
);
COMMENT ON TABLE hotswap.release_module IS 'the modules of a release, each with its version';
SELECT pg_catalog.pg_extension_config_dump('hotswap.release_module', '');

CREATE TYPE hotswap.signature_algorithm AS ENUM ('ed25519', 'rsa-pss-sha256');
COMMENT ON TYPE hotswap.signature_algorithm IS
'how a key signs: ed25519 = Ed25519 (RFC 8032); rsa-pss-sha256 = RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of any length';

CREATE TABLE hotswap.signing_key (
	tenant_id uuid NOT NULL,
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
SELECT pg_catalog.pg_extension_config_dump('hotswap.signing_key', '');

CREATE TABLE hotswap.version_signature (
	tenant_id uuid NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	signing_key text NOT NULL,
	signature bytea NOT NULL,
	signed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	signed_by text NOT NULL,
	PRIMARY KEY (tenant_id, module, version, signing_key)
);
COMMENT ON TABLE hotswap.version_signature IS 'signatures of versions, at most one by each key; only added to';
COMMENT ON COLUMN hotswap.version_signature.signed_at IS 'when publish_version() took it';
SELECT pg_catalog.pg_extension_config_dump('hotswap.version_signature', '');

CREATE TABLE hotswap.installer_signature (
	tenant_id uuid NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	signing_key text NOT NULL,
	signature bytea NOT NULL,
	signed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	signed_by text NOT NULL,
	PRIMARY KEY (tenant_id, module, version, signing_key)
);
COMMENT ON TABLE hotswap.installer_signature IS 'signatures of installers that came after their versions, at most one by each key; only added to';
SELECT pg_catalog.pg_extension_config_dump('hotswap.installer_signature', '');

CREATE TYPE hotswap.static_rule AS ENUM ('security_definer_search_path', 'grant_to_public', 'alter_system',
	'copy_program', 'create_extension', 'untrusted_language', 'drop_table', 'truncate', 'dynamic_do', 'secret_in_script',
	'inlined_function', 'broken_body');
COMMENT ON TYPE hotswap.static_rule IS 'what scripts are scanned for; see rule_list()';

CREATE TYPE hotswap.rule_action AS ENUM ('off', 'warn', 'deny');
COMMENT ON TYPE hotswap.rule_action IS
'what happens when a script does it: off = nothing; warn = the stage scan and the audit log say so; deny = the stage scan fails';

CREATE TABLE hotswap.environment_rule (
	tenant_id uuid NOT NULL,
	environment text NOT NULL,
	rule hotswap.static_rule NOT NULL,
	action hotswap.rule_action NOT NULL,
	PRIMARY KEY (tenant_id, environment, rule)
);
COMMENT ON TABLE hotswap.environment_rule IS 'actions that were set; where there is none, the rule has its usual action';
SELECT pg_catalog.pg_extension_config_dump('hotswap.environment_rule', '');
