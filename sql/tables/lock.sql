-- Tokens, leases and idempotency keys.

CREATE SEQUENCE hotswap.token_seq AS bigint MAXVALUE 9007199254740991;
COMMENT ON SEQUENCE hotswap.token_seq IS 'tokens: each value stands for 1024 of them, the first of which is 1024 times the value';
SELECT pg_catalog.pg_extension_config_dump('hotswap.token_seq', '');

CREATE TABLE hotswap.idempotency_key (
	tenant_id uuid NOT NULL,
	scope text NOT NULL,
	key text NOT NULL,
	fingerprint bytea NOT NULL,
	deployment_id uuid,
	expires_at timestamptz NOT NULL,
	response jsonb,
	PRIMARY KEY (tenant_id, scope, key)
);
CREATE INDEX idempotency_key_expires_at ON hotswap.idempotency_key USING brin (expires_at);
COMMENT ON TABLE hotswap.idempotency_key IS 'keys that were used, the fingerprint of the request and what it returned';
COMMENT ON COLUMN hotswap.idempotency_key.scope IS 'deploy for keys of deploy(); any other is an application''s';
COMMENT ON COLUMN hotswap.idempotency_key.response IS 'what an application stored as its answer; NULL as long as it has not';
COMMENT ON COLUMN hotswap.idempotency_key.fingerprint IS 'SHA-256 over all arguments that matter, metadata in canonical form';
SELECT pg_catalog.pg_extension_config_dump('hotswap.idempotency_key', '');

CREATE TABLE hotswap.lease (
	tenant_id uuid NOT NULL,
	resource text NOT NULL,
	token bigint NOT NULL,
	acquired_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	holder text NOT NULL,
	role name NOT NULL,
	pid integer NOT NULL,
	application_name text NOT NULL,
	PRIMARY KEY (tenant_id, resource)
) WITH (fillfactor = 50);
COMMENT ON TABLE hotswap.lease IS 'leases that are not over; a row is removed when its lease ends. expires_at is not indexed, so that a renewal updates the row in place';
COMMENT ON COLUMN hotswap.lease.holder IS 'login role of the session that took it';
COMMENT ON COLUMN hotswap.lease.pid IS 'server process of that session; behind a pooler it may serve others by now';
SELECT pg_catalog.pg_extension_config_dump('hotswap.lease', '');
