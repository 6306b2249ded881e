-- The same request again and again.
SELECT hotswap.deploy('m0', 'v0', 'development', idempotency_key => 'again');
