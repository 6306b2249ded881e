-- A request that nobody has sent before.
SELECT hotswap.deploy('m0', 'v0', 'development', idempotency_key => gen_random_uuid()::text);
