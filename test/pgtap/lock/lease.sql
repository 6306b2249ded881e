-- Leases in one session: src/lock/lease.c. Waiting is tested in test/t/lock/lock.pl.
SELECT plan(25);

-- Arguments.
SELECT results_eq(format('SELECT code, message FROM refusal(%L)', q),
	format('VALUES (''22023''::text, %L::text)', m), q) FROM (VALUES
	('SELECT hotswap.lease_lock(NULL, ''1 s'')', '"resource" must not be null'),
	('SELECT hotswap.lease_lock('' '', ''1 s'')', '"resource" must not be blank'),
	('SELECT hotswap.lease_lock(''l'', NULL)', '"ttl" must not be null'),
	('SELECT hotswap.lease_lock(''l'', ''0'')', '"ttl" must be positive'),
	('SELECT hotswap.lease_lock(''l'', ''-1 s'')', '"ttl" must be positive'),
	('SELECT hotswap.lease_lock(''l'', ''1 s'', ''-1 s'')', '"timeout" must not be negative'),
	('CALL hotswap.await_lease(''l'', ''0'')', '"ttl" must be positive'),
	('SELECT hotswap.renew_lease(''l'', NULL, ''1 s'')', '"token" must not be null'),
	('SELECT hotswap.renew_lease(''l'', 1, ''0'')', '"ttl" must be positive'),
	('SELECT hotswap.release_lease(NULL, 1)', '"resource" must not be null'),
	('SELECT hotswap.release_lease(''l'', NULL)', '"token" must not be null')) v (q, m);
SELECT throws_ok('CALL hotswap.await_lease(''l'', ''1 s'')', '2D000',
	'await_lease() cannot be called inside a transaction block', 'CALL in a transaction');

-- Taken, and not to be had a second time.
SELECT hotswap.lease_lock('l', '1 hour') AS t \gset
SELECT results_eq('SELECT resource, key, kind, state, pid, token, expires_at - since, blocked_by
	FROM hotswap.locks',
	format('VALUES (''l'', hotswap.lock_key(''l''), ''lease'', ''held'', pg_backend_pid(),
		%s::bigint, ''1 hour''::interval, ''{}''::integer[])', :t), 'the view');
SELECT is(hotswap.lease_lock('l', '1 hour', '0'), NULL, 'it cannot be taken twice');
SELECT ok(hotswap.acquire_lock('l', '0') > :t,
	'a lock of the same name is another thing, with tokens of the same kind');
SELECT is((SELECT code FROM refusal(format('SELECT hotswap.check_token(''l'', %s)', :t))),
	'YH002', 'who uses one name for both is told by the newest of either');
SELECT is(hotswap.release_all_locks(), 1, 'locks are released, leases are not');

-- Renewed, by its token only.
SELECT is((SELECT code FROM refusal('SELECT hotswap.renew_lease(''l'', 1, ''1 s'')')),
	'YH002', 'with the token of somebody else');
SELECT ok(hotswap.renew_lease('l', :t, '2 hours') > now() + interval '110 minutes', 'renewed');

-- Another tenant.
SET hotswap.tenant = '01900000-0000-7000-8000-000000000001';
SELECT ok(hotswap.lease_lock('l', '1 hour', '0') > :t,
	'the lease of another tenant is another one');
RESET hotswap.tenant;

-- Over.
UPDATE hotswap.lease SET expires_at = clock_timestamp();
SELECT is((SELECT code FROM refusal(format('SELECT hotswap.check_token(''l'', %s)', :t))),
	'YH002', 'what is over is over, before it is removed as well');
SELECT is(hotswap.release_lease('l', :t), false, 'it is too late to release it');

-- In which transactions.
BEGIN READ ONLY;
SELECT throws_ok('SELECT hotswap.lease_lock(''l'', ''1 s'')', '25006', NULL,
	'a lease in a read-only transaction');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ok(hotswap.lease_lock('r', '1 hour') > 0, 'REPEATABLE READ may take what is free');
SELECT is((SELECT code FROM refusal('SELECT hotswap.lease_lock(''r'', ''1 hour'')')),
	'55000', 'but cannot wait');
ROLLBACK;
SELECT * FROM finish();
