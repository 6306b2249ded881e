-- Idempotency keys of applications in one session: src/lock/idempotency.c. Concurrency:
-- test/specs/lock/idempotency.spec.
SELECT plan(32);

SELECT results_eq(format('SELECT code, message FROM refusal(%L)', q),
	format('VALUES (''22023''::text, %L::text)', m), q) FROM (VALUES
	('SELECT hotswap.claim_idempotency_key(NULL, ''k'', ''1'')', '"scope" must not be null'),
	('SELECT hotswap.claim_idempotency_key('' '', ''k'', ''1'')', '"scope" must not be blank'),
	('SELECT hotswap.claim_idempotency_key(''s'', '''', ''1'')', '"key" must not be blank'),
	('SELECT hotswap.claim_idempotency_key(''s'', ''k'', NULL)', '"request" must not be null'),
	('SELECT hotswap.claim_idempotency_key(''deploy'', ''k'', ''1'')',
		'scope "deploy" is reserved for hotswap.deploy()'),
	('SELECT hotswap.claim_idempotency_key(''s'', ''k'', ''1'', ''0'')', '"ttl" must be positive'),
	('SELECT hotswap.claim_idempotency_key(''s'', ''k'', ''1'', wait => NULL)',
		'"wait" must not be null'),
	('SELECT hotswap.store_idempotent_response(''deploy'', ''k'', ''1'')',
		'scope "deploy" is reserved for hotswap.deploy()'),
	('SELECT hotswap.store_idempotent_response(''s'', ''k'', NULL)',
		'"response" must not be null')) v (q, m);
SELECT is((SELECT code FROM refusal('SELECT hotswap.store_idempotent_response(''s'', ''k'',
	to_jsonb(repeat(''x'', 1048576)))')), '22023', 'a response of more than 1 MB');
SELECT is((SELECT code FROM refusal('SELECT hotswap.store_idempotent_response(''s'', ''k'',
	''1'')')), 'P0002', 'a key that nobody has claimed');
SELECT is((SELECT code FROM refusal('SELECT hotswap.claim_idempotency_key(''s'', ''k'',
	''1'', tenant => ''01900000-0000-7000-8000-00000000dead'')')), 'P0002', 'an unknown tenant');

SELECT results_eq('SELECT * FROM hotswap.claim_idempotency_key(''s'', ''k'',
	''{"a": 1, "b": [2]}'')', 'VALUES (true, NULL::jsonb, false)', 'the first');
SELECT results_eq('SELECT * FROM hotswap.claim_idempotency_key(''s'', ''k'', ''{"b":[2],"a":1}'')',
	'VALUES (false, NULL::jsonb, true)',
	'the same request, written otherwise, before there is an answer');
SELECT is((SELECT code FROM refusal('SELECT hotswap.claim_idempotency_key(''s'', ''k'',
	''{"a": 1, "b": [3]}'')')), 'YH001', 'another request');
SELECT results_eq('SELECT is_new FROM hotswap.claim_idempotency_key(''other'', ''k'', ''2'')',
	'VALUES (true)', 'another scope');
SELECT lives_ok('SELECT hotswap.store_idempotent_response(''s'', ''k'', ''null'')',
	'an answer is stored, even a JSON null');
SELECT results_eq('SELECT * FROM hotswap.claim_idempotency_key(''s'', ''k'',
	''{"a": 1, "b": [2]}'')', 'VALUES (false, ''null''::jsonb, false)', 'and returned');
SELECT is((SELECT code FROM refusal('SELECT hotswap.store_idempotent_response(''s'', ''k'',
	''1'')')), '55000', 'it never changes');

-- Time to live, and the purge.
SELECT results_eq('SELECT is_new FROM hotswap.claim_idempotency_key(''s'', ''short'', ''1'',
	''1 hour'')', 'VALUES (true)', 'with a time of its own');
SELECT is((SELECT expires_at - now() < '61 minutes'
	AND (SELECT expires_at - now() > '23 hours' FROM hotswap.idempotency_key
		WHERE scope = 's' AND key = 'k') FROM hotswap.idempotency_key WHERE key = 'short'), true,
	'else hotswap.idempotency_ttl');
UPDATE hotswap.idempotency_key SET expires_at = now() WHERE scope = 's';
SELECT is((SELECT code FROM refusal('SELECT hotswap.store_idempotent_response(''s'', ''k'',
	''1'')')), 'P0002', 'what is over is over');
SELECT results_eq('SELECT * FROM hotswap.claim_idempotency_key(''s'', ''k'', ''"something else"'')',
	'VALUES (true, NULL::jsonb, false)', 'and can be claimed for something else');
-- A claim that was committed, by somebody who died before there was an answer.
SELECT results_eq('SELECT is_new, in_progress FROM hotswap.claim_idempotency_key(''s'', ''k'',
	''"something else"'')', 'VALUES (false, true)', 'nobody else gets the key');
SELECT lives_ok('SELECT hotswap.release_idempotency_claim(''s'', ''k'')', 'before it is released');
SELECT results_eq('SELECT is_new FROM hotswap.claim_idempotency_key(''s'', ''k'', ''"third"'')',
	'VALUES (true)', 'then it can be claimed again');
SELECT hotswap.store_idempotent_response('s', 'k', '3') \g /dev/null
SELECT is((SELECT code FROM refusal('SELECT hotswap.release_idempotency_claim(''s'', ''k'')')),
	'55000', 'an answer stays');
SELECT is((SELECT code FROM refusal('SELECT hotswap.release_idempotency_claim(''s'', ''none'')')),
	'P0002', 'a key that nobody has claimed');
-- The lock table has room for some thousands.
BEGIN;
SELECT hotswap.claim_idempotency_key('many', 'first', '1') \g /dev/null
CREATE TEMP TABLE held ON COMMIT DROP AS SELECT count(*) FROM pg_locks
	WHERE pid = pg_backend_pid() AND locktype = 'advisory';
SELECT is(count(*) FILTER (WHERE is_new), 1000::bigint, 'many keys in one transaction')
FROM generate_series(1, 1000) i,
	hotswap.claim_idempotency_key('many', i::text, '1', wait => i % 2 = 0);
SELECT is((SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()
	AND locktype = 'advisory'), count, 'take no more locks than one') FROM held;
ROLLBACK;
BEGIN READ ONLY;
SELECT throws_ok('SELECT hotswap.claim_idempotency_key(''s'', ''k'', ''1'')', '25006', NULL,
	'in a read-only transaction');
ROLLBACK;
SELECT is((SELECT count(*) FROM hotswap.idempotency_key WHERE deployment_id IS NOT NULL), 0::bigint,
	'none of them is a deployment''s');
SELECT * FROM finish();
