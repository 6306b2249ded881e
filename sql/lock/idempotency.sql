-- Idempotency keys of applications.

CREATE FUNCTION hotswap.claim_idempotency_key(scope text, key text, request jsonb, ttl interval DEFAULT NULL,
		wait boolean DEFAULT true, tenant uuid DEFAULT NULL,
		OUT is_new boolean, OUT response jsonb, OUT in_progress boolean) RETURNS record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_claim_idempotency_key';
COMMENT ON FUNCTION hotswap.claim_idempotency_key(text, text, jsonb, interval, boolean, uuid) IS
'Claims a key for a request; returns whether the caller is the first, else the stored answer or that there is none yet. Waits, if told so, for another caller''s transaction.';
GRANT EXECUTE ON FUNCTION hotswap.claim_idempotency_key TO PUBLIC;

CREATE FUNCTION hotswap.store_idempotent_response(scope text, key text, response jsonb, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_store_idempotent_response';
COMMENT ON FUNCTION hotswap.store_idempotent_response(text, text, jsonb, uuid) IS
'Stores the answer to the request of a claimed key; whoever brings the key from the commit on gets it.';
GRANT EXECUTE ON FUNCTION hotswap.store_idempotent_response TO PUBLIC;

CREATE FUNCTION hotswap.release_idempotency_claim(scope text, key text, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_release_idempotency_claim';
COMMENT ON FUNCTION hotswap.release_idempotency_claim(text, text, uuid) IS
'Gives back a key whose claim was committed without an answer, so that it can be claimed again before its time is over.';
GRANT EXECUTE ON FUNCTION hotswap.release_idempotency_claim TO PUBLIC;
