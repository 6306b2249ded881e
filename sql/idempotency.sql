-- Idempotency keys.

CREATE TABLE hotswap.idempotency_key (
	tenant_id uuid NOT NULL,
	scope text NOT NULL,
	key text NOT NULL,
	fingerprint bytea NOT NULL,
	deployment_id uuid NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, scope, key)
);
CREATE INDEX idempotency_key_expires_at ON hotswap.idempotency_key USING brin (expires_at);
COMMENT ON TABLE hotswap.idempotency_key IS 'keys that were used, the fingerprint of the request and what it returned';
COMMENT ON COLUMN hotswap.idempotency_key.fingerprint IS 'SHA-256 over all arguments that matter, metadata in canonical form';
