-- Idempotency keys.

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

CREATE FUNCTION hotswap.claim_idempotency_key(scope text, key text, request jsonb, ttl interval DEFAULT NULL,
		wait boolean DEFAULT true, tenant uuid DEFAULT NULL,
		OUT is_new boolean, OUT response jsonb, OUT in_progress boolean) RETURNS record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_claim_idempotency_key';
COMMENT ON FUNCTION hotswap.claim_idempotency_key(text, text, jsonb, interval, boolean, uuid) IS
'Claims a key for a request of the application. is_new: the caller is the first, has to do the work, and stores the answer with store_idempotent_response() in the same transaction. Otherwise response is the stored answer, and in_progress is true if there is none yet. While the transaction of another caller with the key is open, this one waits for its end, and becomes the first if it is rolled back; with wait => false it returns at once, in_progress. scope, key: 1 to 255 characters; the scope deploy is hotswap''s own. request: whatever makes two requests the same one. ttl: how long the key is remembered, NULL: hotswap.idempotency_ttl. Errors: 22023 bad argument; YH001 the key was used with another request; P0002, YH003 tenant; 40001 REPEATABLE READ and claimed after the snapshot; 40P01, 55P03, 57014 as for any lock; 25006 read-only. Writes idempotency_key.';

CREATE FUNCTION hotswap.store_idempotent_response(scope text, key text, response jsonb, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_store_idempotent_response';
COMMENT ON FUNCTION hotswap.store_idempotent_response(text, text, jsonb, uuid) IS
'Stores the answer to the request of a claimed key; whoever brings the key from the commit on gets it. response: at most 1 MB as text. Errors: 22023 bad argument, P0002 the key is not claimed or its time is over, 55000 an answer is stored already, 25006 read-only. Locks the key. Writes idempotency_key.';
