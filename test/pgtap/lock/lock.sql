-- Named locks in one session (src/lock/lock.c). Between sessions: test/specs/lock/lock.spec,
-- test/t/lock/lock.pl.
SELECT plan(57);

-- Keys.
SELECT is(hotswap.lock_key(n), ('x'
	|| encode(pg_catalog.substr(reverse_bytes, 1), 'hex'))::bit(64)::bigint,
	'the key of ' || quote_literal(n))
FROM (SELECT n, (SELECT string_agg(substr(sha256(convert_to(n, 'UTF8')), i, 1), ''::bytea
	ORDER BY i DESC) FROM generate_series(1, 8) i) AS reverse_bytes
	FROM unnest(ARRAY['x', 'orders/42', 'Übergrößenträger', repeat('y', 255)]) n) v;
SELECT ok(hotswap.lock_key('x') = 4949498559009812781, 'a key that never changes');

-- Arguments.
SELECT results_eq(format('SELECT code, message FROM refusal(%L)', q),
	format('VALUES (''22023''::text, %L::text)', m), q) FROM (VALUES
	('SELECT hotswap.acquire_lock(NULL)', '"resource" must not be null'),
	('SELECT hotswap.acquire_lock('' '')', '"resource" must not be blank'),
	('SELECT hotswap.acquire_lock(''x'', ''-1 ms'')', '"timeout" must not be negative'),
	('SELECT hotswap.acquire_lock(''x'', shared => NULL)', '"shared" must not be null'),
	('SELECT hotswap.acquire_xact_lock('''')', '"resource" must not be blank'),
	('SELECT hotswap.acquire_xact_lock(''x'', ''-1 s'')', '"timeout" must not be negative'),
	('CALL hotswap.await_lock(NULL)', '"resource" must not be null'),
	('CALL hotswap.await_lock(''x'', ''-1 s'')', '"timeout" must not be negative'),
	('SELECT hotswap.acquire_locks(NULL)', '"resources" must not be null'),
	('SELECT hotswap.acquire_locks(''{x,NULL}'')', '"resource" must not be null'),
	('SELECT hotswap.acquire_locks(''{x," "}'')', '"resource" must not be blank'),
	('SELECT hotswap.acquire_locks(''{x}'', ''-1 s'')', '"timeout" must not be negative'),
	('SELECT hotswap.acquire_locks(array_fill(''x''::text, ''{10001}''))',
		'too many resources: 10001'),
	('SELECT hotswap.release_lock(NULL)', '"resource" must not be null'),
	('SELECT hotswap.release_lock(''x'', NULL)', '"shared" must not be null'),
	('SELECT hotswap.lock_key(NULL)', '"resource" must not be null'),
	('SELECT hotswap.lock_key('''')', '"resource" must not be blank')) v (q, m);
SELECT is((SELECT code FROM refusal('SELECT hotswap.acquire_lock(repeat(''x'', 256))')),
	'22023', 'a name of 256 characters');
SELECT throws_ok('CALL hotswap.await_lock(''x'')', '2D000',
	'await_lock() cannot be called inside a transaction block', 'CALL in a transaction');
SELECT is((SELECT count(*) FROM hotswap.locks), 0::bigint,
	'after all these errors nothing is held');

-- Once, twice, and as often back.
SELECT hotswap.acquire_lock('a') IS NOT NULL AND hotswap.acquire_lock('a', '0')
	IS NOT NULL AS taken \gset
SELECT is(ARRAY[hotswap.release_lock('a'), hotswap.release_lock('a'), hotswap.release_lock('a')],
	'{t,t,f}', 'as often as it was taken');
SELECT is(hotswap.release_lock('never'), false, 'what one does not have');
SELECT is((SELECT count(*) FROM hotswap.locks), 0::bigint, 'it is gone');

-- Shared.
SELECT ok(hotswap.acquire_lock('s', shared => true) IS NOT NULL, 'shared');
SELECT is(ARRAY[hotswap.release_lock('s'), hotswap.release_lock('s', shared => true),
	hotswap.release_lock('s', shared => true)], '{f,t,f}', 'released in its own mode');

-- The native function has the same lock.
SELECT pg_advisory_lock(hotswap.lock_key('n'));
SELECT is((SELECT resource IS NULL AND token IS NULL AND state = 'held' FROM hotswap.locks), true,
	'taken by its key, without a name');
SELECT ok(hotswap.acquire_lock('n') IS NOT NULL, 'the same session takes it by its name');
SELECT is((SELECT count(*) FROM pg_locks
	WHERE locktype = 'advisory' AND objsubid = 1 AND pid = pg_backend_pid()), 1::bigint,
	'it is one lock');
SELECT is(ARRAY[hotswap.release_lock('n'), pg_advisory_unlock(hotswap.lock_key('n'))], '{t,t}',
	'each releases its own');
SELECT pg_advisory_lock(hotswap.lock_key('n'));
SELECT ok(hotswap.release_lock('n'), 'or that of the other');
SELECT pg_advisory_lock(4711);
SELECT hotswap.acquire_lock('b') IS NOT NULL AS taken,
	hotswap.acquire_lock('b') IS NOT NULL AS again,
	hotswap.acquire_lock('c', shared => true) IS NOT NULL AS shared \gset
SELECT is(hotswap.release_all_locks(), 2, 'all that were taken by name');
SELECT is((SELECT array_agg(key) FROM hotswap.locks), '{4711}', 'and no others');
SELECT is(hotswap.release_all_locks(), 0, 'nothing is left');
SELECT hotswap.acquire_lock('b') IS NOT NULL AS taken \gset
SELECT pg_advisory_unlock_all();
SELECT is(hotswap.release_lock('b'), false, 'the server has released all behind our back');
SELECT is(hotswap.release_all_locks(), 0, 'that is known too');

-- Of the transaction.
BEGIN;
SELECT hotswap.acquire_xact_lock('x') IS NOT NULL AS taken \gset
SELECT is(hotswap.release_lock('x'), false, 'it cannot be released');
SELECT hotswap.acquire_lock('x') IS NOT NULL AS taken \gset
SELECT is(ARRAY[hotswap.release_lock('x'), hotswap.release_lock('x')], '{t,f}',
	'but a lock of the session beside it can');
SAVEPOINT s;
SELECT hotswap.acquire_xact_lock('y') IS NOT NULL AS taken,
	hotswap.acquire_lock('z') IS NOT NULL AS session \gset
ROLLBACK TO s;
SELECT is((SELECT array_agg(resource ORDER BY resource) FROM hotswap.locks), '{x,z}',
	'a rollback to a savepoint frees the lock of the transaction, and keeps that of the session');
COMMIT;
SELECT is((SELECT array_agg(resource) FROM hotswap.locks), '{z}',
	'the end of the transaction frees it');
BEGIN READ ONLY;
SELECT ok(hotswap.acquire_xact_lock('x') IS NOT NULL, 'a read-only transaction may lock');
SELECT is(current_setting('transaction_read_only'), 'on', 'and stays read-only');
ROLLBACK;
SELECT is(hotswap.release_all_locks(), 1, 'z');

-- All or none.
SELECT hotswap.acquire_locks('{q,p,q,r}') AS t \gset
SELECT ok((:'t'::bigint[])[1] = (:'t'::bigint[])[3]
	AND (SELECT count(DISTINCT u) FROM unnest(:'t'::bigint[]) u) = 3,
	'a token for each name, in the order of the names');
SELECT ok(hotswap.check_token('q', (:'t'::bigint[])[1])
	AND hotswap.check_token('p', (:'t'::bigint[])[2])
		AND hotswap.check_token('r', (:'t'::bigint[])[4]), 'they are theirs');
SELECT is(ARRAY[hotswap.release_lock('q'), hotswap.release_lock('q')], '{t,f}',
	'a name that occurs twice was taken once');
SELECT is(hotswap.release_all_locks(), 2, 'the other two');
SELECT is(hotswap.acquire_locks('{}'), '{}', 'none at all');

-- A thousand.
SELECT is((SELECT count(DISTINCT hotswap.acquire_lock('many ' || i))
	FROM generate_series(1, 1000) i), 1000::bigint, 'a thousand locks in one session');
SELECT is((SELECT count(DISTINCT resource) FROM hotswap.locks
	WHERE state = 'held' AND token IS NOT NULL), 1000::bigint, 'the view shows them');
SELECT is(hotswap.release_all_locks(), 1000, 'and all are released');
SELECT is((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
	0::bigint, 'for good');

-- Nothing is written.
CREATE TEMP TABLE written AS SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)
	FROM pg_stat_xact_all_tables WHERE schemaname = 'hotswap';
BEGIN;
SELECT hotswap.acquire_lock('w') IS NOT NULL AS taken, hotswap.release_lock('w') AS released \gset
SELECT is((SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_xact_all_tables
	WHERE schemaname = 'hotswap'), 0::numeric, 'no table was written');
COMMIT;
SELECT * FROM finish();
