-- Fencing: tokens of locks, and who has or awaits which (src/lock/fence.c).
SELECT plan(13);

-- Arguments.
SELECT results_eq(format('SELECT code, message FROM refusal(%L)', q),
	format('VALUES (''22023''::text, %L::text)', m), q) FROM (VALUES
	('SELECT hotswap.check_token(''x'', NULL)', '"token" must not be null'),
	('SELECT hotswap.check_token(NULL, 1)', '"resource" must not be null')) v (q, m);

-- A lock that is taken twice.
SELECT hotswap.acquire_lock('a') AS t1 \gset
SELECT hotswap.acquire_lock('a', '0') AS t2 \gset
SELECT ok(:t2 > :t1, 'tokens grow');
SELECT results_eq('SELECT resource, key, kind, mode, state, pid, role::text COLLATE "default",
	token, blocked_by FROM hotswap.locks',
	format('VALUES (''a'', hotswap.lock_key(''a''), ''lock'', ''exclusive'', ''held'',
		pg_backend_pid(), current_user::text COLLATE "default", %s::bigint, ''{}''::integer[])',
	:t2), 'the view');
SELECT is((SELECT since <= clock_timestamp() AND since > now() - interval '1 minute'
	AND application_name = 'psql' FROM hotswap.locks), true, 'since when and by which application');
SELECT ok(hotswap.check_token('a', :t1) AND hotswap.check_token('a', :t2),
	'who takes it again keeps the first token');

-- The token of the last time is stale.
SELECT hotswap.release_lock('a'), hotswap.release_lock('a') \g /dev/null
SELECT hotswap.acquire_lock('a') AS t3 \gset
SELECT is((SELECT code FROM refusal(format('SELECT hotswap.check_token(''a'', %s)', :t2))),
	'YH002', 'the token of the last time is stale');
SELECT results_eq(format('SELECT message, detail
	FROM refusal(''SELECT hotswap.check_token(''''a'''', %s)'')', :t2),
	format('VALUES (''token %s of "a" is stale'', ''Token %s has been given out since.'')', :t2,
		:t3), 'and says so');
SELECT is((SELECT code FROM refusal(format('SELECT hotswap.check_token(''a'', %s + 1)',
	:t3))), 'YH002', 'one that was never given');
SELECT is((SELECT code FROM refusal('SELECT hotswap.check_token(''unheard of'', 1)')),
	'YH002', 'of a lock that nobody has taken');
SELECT ok(hotswap.release_lock('a') AND hotswap.check_token('a', :t3),
	'after the release, as long as nobody else has taken it');

-- A target table that refuses the late holder in one statement.
CREATE TABLE target (id int PRIMARY KEY, value text, fence bigint NOT NULL DEFAULT 0);
INSERT INTO target VALUES (1, 'old');
SELECT is((SELECT code FROM refusal(format('UPDATE target SET value = ''late''
	WHERE id = 1 AND hotswap.check_token(''a'', %s)', :t2))), 'YH002',
	'an UPDATE by a late holder');
UPDATE target SET value = 'new' WHERE id = 1 AND hotswap.check_token('a', :t3);
SELECT is((SELECT value FROM target), 'new', 'and one by the present holder');
SELECT * FROM finish();
